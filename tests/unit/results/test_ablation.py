"""The table of ablations: paired, named, and what is listed but absent is said."""

import yaml

from bench import tables
from bench.report.ablation import write_ablations
from bench.report.material import gather


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
    tables.aggregate(tiny.store, "toy", tiny.config)
    return gather(tiny.root, "toy")


def test_a_variant_stands_beside_its_method(tiny):
    material = build(tiny, ["few", "more"])
    files = write_ablations(material, tiny.root / "reports")
    text = files[0].read_text()
    row = next(line for line in text.splitlines() if line.startswith("| few steps"))
    assert "| 4 |" in row and "<sub>+0.0200</sub>" in row, "every image is 0.02 worse: no spread, no interval"
    assert "| as it is | 4 |" in text, "on the images its variants have"
    assert "without scores: `optimize_w_plus.more`" in text
    assert r"\begin{tabular}" in files[1].read_text()
    assert material.labels("tiny_set") == ["optimize_w_plus", "copy_input", "latent_avg"], "not in Table 1"


def test_without_ablations_there_is_no_table(tiny):
    assert write_ablations(build(tiny, []), tiny.root / "reports") == []


def test_results_of_an_unlisted_variant_are_not_in_the_tables(tiny):
    build(tiny)
    params = yaml.safe_load((tiny.root / "params.yaml").read_text())
    (tiny.root / "params.yaml").write_text(yaml.safe_dump({**params, "ablations": {}}))
    tables.aggregate(tiny.store, "toy", tiny.config)
    assert gather(tiny.root, "toy").rows("tiny_set") == ["optimize_w_plus", "copy_input", "latent_avg"]
