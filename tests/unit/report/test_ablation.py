"""The table of ablations: paired, named, and what is listed but absent is said."""

import numpy as np
import pytest
import yaml

from bench.analysis import summary
from bench.analysis.score_table import ablation_rows, common_ids
from bench.report.ablation import write_ablations
from bench.report.report_data import load_report_data


def build(tiny, listed=("few",)):
    """optimize_w_plus with variants few (0.02 worse on each image), and more that was listed but not run."""
    known = {"few": "few steps", "more": "more steps"}
    ablations = {n: {"method": "optimize_w_plus", "title": t, "options": {}} for n, t in known.items()}
    (tiny.root / "ablations.yaml").write_text(yaml.safe_dump({"ablations": ablations}))
    params = yaml.safe_load((tiny.root / "params.yaml").read_text())
    params["ablations"] = {name: "optimize_w_plus" for name in listed}
    (tiny.root / "params.yaml").write_text(yaml.safe_dump(params))
    if "few" in listed:
        base = tiny.values["optimize_w_plus"]
        worse = {m: {i: v + 0.02 for i, v in list(column.items())[:4]} for m, column in base.items()}
        tiny.add_run("optimize_w_plus", worse, variant="few")
    summary.aggregate(tiny.store, "toy", tiny.config)
    return load_report_data(tiny.root, "toy")


def test_a_variant_stands_beside_its_method(tiny):
    report = build(tiny, ["few", "more"])
    files = write_ablations(report, tiny.root / "reports")
    text = files[0].read_text()
    row = next(line for line in text.splitlines() if line.startswith("| few steps"))
    assert "| 4 |" in row and "<sub>+0.0200</sub>" in row, "every image is 0.02 worse: no spread, no interval"
    assert "| as it is | 4 |" in text, "on the images its variants have"
    assert "without scores: `optimize_w_plus.more`" in text
    assert r"\begin{tabular}" in files[1].read_text()
    assert report.labels("tiny_set") == ["optimize_w_plus", "copy_input", "latent_avg"], "not in Table 1"


def test_ablations_do_not_make_the_common_set_smaller(tiny):
    """The variant has 4 of the 5 images all methods have; one of it alone has no method and counts."""
    report = build(tiny)
    assert report.shared_ids("tiny_set") == tiny.ids[:5]
    common = report.summary[report.summary["protocol"].str.contains("@")]
    assert set(common["protocol"]) == {"strict32@common5"} and set(common["variant"]) == {""}
    assert set(report.summary.loc[report.summary["variant"] == "few", "n"]) == {4}, "its own lines are there"
    assert len(common_ids(report.scores, "tiny_set")) == 4
    assert ablation_rows(["hfgi.few", "e4e", "e4e.few"], {"few": None}) == ["e4e.few"]


def test_set_metrics_of_ablations_are_not_asked_for_images_they_lack(tiny):
    build(tiny)
    for method in ("copy_input", "latent_avg", "optimize_w_plus"):
        tiny.add_sets(method, "kd_efflite0", {"": 0.5})
    tiny.add_sets("optimize_w_plus", "kd_efflite0", {"": 0.5}, variant="few")
    summary.aggregate(tiny.store, "toy", tiny.config)
    lines = load_report_data(tiny.root, "toy").summary.query("metric == 'kd_efflite0'")
    assert sorted(zip(lines["variant"], lines["n"], strict=True)) == [("", 5)] * 4 + [("", 12)] * 2 + [("few", 4)]


def test_without_ablations_there_is_no_table(tiny):
    assert write_ablations(build(tiny, []), tiny.root / "reports") == []


def test_results_of_an_unlisted_variant_are_not_in_the_tables(tiny):
    build(tiny)
    params = yaml.safe_load((tiny.root / "params.yaml").read_text())
    (tiny.root / "params.yaml").write_text(yaml.safe_dump({**params, "ablations": {}}))
    summary.aggregate(tiny.store, "toy", tiny.config)
    assert load_report_data(tiny.root, "toy").rows("tiny_set") == ["optimize_w_plus", "copy_input", "latent_avg"]


@pytest.mark.parametrize(("apart", "lacking"), [((0.002,), 0), ((0.002, -0.004), 0), ((0.002, -0.004), 2)])
def test_the_spread_over_trainings_is_said_with_its_values(tiny, apart, lacking):
    """Two and three seeds: means listed, the method's own first, sample deviation and range. A seed without a metric is
    left out of that metric's row alone."""
    entries = {
        f"seed_{n}": {"method": "optimize_w_plus", "group": "seeds", "title": f"seed {n}", "options": {}}
        for n, _ in enumerate(apart, start=1)
    }
    (tiny.root / "ablations.yaml").write_text(yaml.safe_dump({"ablations": entries}))
    params = yaml.safe_load((tiny.root / "params.yaml").read_text())
    params["ablations"] = {name: "optimize_w_plus" for name in entries}
    (tiny.root / "params.yaml").write_text(yaml.safe_dump(params))
    base = tiny.values["optimize_w_plus"]
    for n, shift in enumerate(apart, start=1):
        metrics = ["mae"] if n == lacking else ["mae", "ssim_gauss"]
        tiny.add_run(
            "optimize_w_plus", {m: {i: v + shift for i, v in base[m].items()} for m in metrics}, variant=f"seed_{n}"
        )
    summary.aggregate(tiny.store, "toy", tiny.config)
    text = (
        write_ablations(load_report_data(tiny.root, "toy"), tiny.root / "reports")[0]
        .read_text()
        .split("## Seeds on")[1]
    )
    for metric, head in (("mae", "MAE ↓"), ("ssim_gauss", "SSIM ↑")):
        shifts = apart[: lacking - 1] if lacking and metric == "ssim_gauss" else apart
        means = np.mean(list(base[metric].values())) + np.array([0.0, *shifts])
        row = next(line for line in text.splitlines() if line.startswith(f"| {head}"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1:3] == [str(len(means)), "5"]
        np.testing.assert_allclose([float(v) for v in cells[3].split(", ")], means, atol=1e-4)
        np.testing.assert_allclose(
            [float(cell) for cell in cells[4:]], [means.mean(), means.std(ddof=1), np.ptp(means)], atol=1e-4
        )
