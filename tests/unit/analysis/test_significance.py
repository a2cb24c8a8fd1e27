"""Pairs, winners, ledger and controls on rows made by hand; and the pages of a report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bench.analysis import summary
from bench.analysis.controls import landings, set_landing
from bench.analysis.protocol import DISPERSIONS, protocol, protocols
from bench.analysis.score_table import Scores, ledger
from bench.analysis.significance import clear_winner, compare_all, ranking
from bench.inversion.runner import partners
from bench.measures.sets import kernel_distances
from bench.report.report_data import load_report_data
from bench.report.significance import control_landings, controls_text

N = 40


def scores_of(metric="mae", **series):
    """Scores of one metric; NaN stays a row without a value."""
    frames = []
    for name, values in series.items():
        run_id = f"{name}-d"
        ids = [f"i{n:02d}" for n in range(len(values))]
        head = {"run_id": run_id, "dataset": "d", "method": name, "variant": "", "task": "inversion"}
        frames.append(pd.DataFrame({**head, "image_id": ids, "metric": metric, "signature": metric, "value": values}))
    return Scores(pd.concat(frames, ignore_index=True), {f"{name}-d": {} for name in series})


@pytest.fixture
def values():
    rng = np.random.default_rng(0)
    base = rng.uniform(0.1, 0.3, N)
    return {"good": base, "same": base + rng.normal(0, 1e-3, N), "bad": base + 0.02 + rng.normal(0, 1e-2, N)}


def test_pairs_are_compared_image_by_image(values):
    """The images differ by far more than the methods: only pairing finds the difference."""
    found = {(c.a, c.b): c for c in compare_all(scores_of(**values), "d", "mae", list(values), False, 500, 0)}
    worse, equal = found["good", "bad"], found["good", "same"]
    assert worse.significant and worse.low < worse.mean < worse.high < 0 and worse.gain > 0 and worse.better > 0.9
    assert not equal.significant and equal.p_holm >= equal.p and worse.p_holm >= worse.p
    upside = compare_all(scores_of(**values), "d", "mae", ["good", "bad"], True, 500, 0)[0]
    assert upside.gain < 0 and upside.better < 0.1


def test_a_winner_must_beat_every_other(values):
    labels = list(values)
    assert clear_winner(compare_all(scores_of(**values), "d", "mae", labels, False, 200, 0)) is None
    assert clear_winner(compare_all(scores_of(**values), "d", "mae", ["good", "bad"], False, 200, 0)) == "good"
    assert clear_winner(compare_all(scores_of(**values), "d", "mae", ["good", "bad"], True, 200, 0)) == "bad"
    assert clear_winner([]) is None


def test_other_images_are_counted_never_mixed(values):
    values["bad"] = values["bad"][: N // 2]
    values["good"] = values["good"].copy()
    values["good"][0] = np.nan
    found = compare_all(scores_of(**values), "d", "mae", ["good", "bad"], False, 200, 0)[0]
    assert (found.n, found.only_a, found.only_b) == (N // 2 - 1, N // 2, 1)
    order = ranking(scores_of(**values), "d", "mae", ["good", "bad"], False, 0)
    assert order.order == ["good", "bad"] and order.n == N // 2 - 1 and order.resolves > 0


def test_ledger_names_every_image(values):
    values["good"][3] = np.nan
    scores = scores_of(**values)
    scores.failures["bad-d"]["i99"] = "ValueError: no"
    lines = {line.label: line for line in ledger(scores, "d")}
    assert (lines["good"].requested, lines["good"].n, list(lines["good"].reasons)) == (N, N - 1, ["i03"])
    assert (lines["bad"].requested, lines["bad"].n) == (N + 1, N) and lines["bad"].reasons == {"i99": "ValueError: no"}
    assert not lines["same"].reasons


CONTROLS = {"copy": "ideal", "jpeg": "near", "mean": "floor", "shuffled": "unpaired"}


def landed(**changed):
    rng = np.random.default_rng(1)
    series = {
        "copy": np.zeros(N),
        "jpeg": rng.uniform(0.005, 0.02, N),
        "method": rng.uniform(0.05, 0.1, N),
        "mean": rng.uniform(0.15, 0.2, N),
        "shuffled": rng.uniform(0.2, 0.3, N),
        **changed,
    }
    return {k.label: k for k in landings(scores_of(**series), "d", "mae", ["method"], CONTROLS, False, 0.0)}


def test_controls_land():
    assert {name: landing.ok for name, landing in landed().items()} == dict.fromkeys(CONTROLS, True)


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("copy", np.r_[np.zeros(N - 1), 1e-3]),  # a metric that moves pictures before it compares them
        ("jpeg", np.zeros(N)),  # a metric blind to small errors
        ("jpeg", np.full(N, 0.5)),
        ("mean", np.full(N, 0.01)),  # a floor that beats a method
        ("shuffled", np.full(N, 0.06)),  # pairs that do not matter
    ],
)
def test_a_bent_ruler_is_seen(label, values):
    assert not landed(**{label: values})[label].ok


def test_sets_cannot_see_pairs():
    assert set_landing("shuffled", "fid", "unpaired", 0.0, 0.0, 1e-6).ok
    assert not set_landing("shuffled", "fid", "unpaired", 3.0, 0.0, 1e-6).ok
    assert set_landing("mean", "fid", "floor", 3.0, 0.0, 1e-6) is None


@pytest.mark.parametrize(("bend", "verdict"), [(0.0, "lands"), (0.1, "**DOES NOT LAND**"), (-0.1, "**DOES NOT LAND**")])
def test_a_bent_set_metric_is_seen_in_the_report(tiny, bend, verdict):
    """A copy's kernel distance is below 0 by what the formula says, and by nothing else."""
    source = np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)
    right = kernel_distances(source, source, [np.arange(12)])[0]
    tiny.add_sets("copy_input", "kd_efflite0", {"": right + bend})
    tiny.add_sets("copy_input", "prc_efflite0", {"precision": 1.0, "recall": 1.0 - abs(bend)})
    summary.aggregate(tiny.store, "toy", tiny.config)
    report = load_report_data(tiny.root, "toy")
    lines = controls_text(report, "tiny_set").splitlines()
    assert right < -0.1, "few pictures: 0 itself would be far off"
    assert [x.split(" | ")[2] for x in lines if "| kd_efflite0 |" in x or ".recall |" in x] == [verdict] * 2
    assert [x.split(" | ")[2] for x in lines if ".precision |" in x] == ["lands"]
    bent = {landing.metric for landing in control_landings(report, "tiny_set") if not landing.ok}
    assert bent == ({"kd_efflite0", "prc_efflite0.recall"} if bend else set())
    assert ("copy_input in kd_efflite0" in lines[2]) == bool(bend), "the verdict names it"


def test_partners_are_a_derangement_of_the_same_set():
    ids = [f"{n}" for n in range(25)]
    found = partners(ids, 0)
    assert sorted(found) == sorted(found.values()) == sorted(ids) and all(k != v for k, v in found.items())


def test_shuffled_pairs_are_other_pictures_of_the_set(project, cli):
    """The run holds the same pictures under other names, whatever the shards."""
    from bench.files import read_rgb
    from bench.store.paths import RunStore

    for method in ("copy_input", "shuffled_pairs", "jpeg75", "latent_avg"):
        assert cli("run", "--method", method, "--variant", "v").code == 0
    runs = {m: RunStore(project, "toy").run("local", m, "toy", "v") for m in ("copy_input", "shuffled_pairs")}
    own, other = ({i: read_rgb(run.image(i)).tobytes() for i in run.read()["ids"]} for run in runs.values())
    assert sorted(own.values()) == sorted(other.values()) and all(own[i] != other[i] for i in own)
    for words in (("score",), ("aggregate",), ("report",)):
        answer = cli(*words, "--scope", "local")
        assert answer.code == 0, answer.err
    page = (project / "reports" / "local" / "tables" / "significance.md").read_text()
    assert "All 6 landings are where theory says." in page and "Mean code (floor) (v) | mae | lands" not in page
    assert "| Ledger" not in page and "Fewer than two methods" in page
    presets = (project / "reports" / "local" / "tables" / "protocols.md").read_text()
    assert presets.count("\n## ") == len(protocols()) and "needs: " in presets


def test_presets_name_metrics_that_exist_and_label_their_dispersion():
    from bench import registry

    known = registry.metrics(None).names()
    for preset in protocols().values():
        assert set(preset.metrics) <= set(known) and preset.dispersion in DISPERSIONS, preset.id
    table1 = protocol(None, "hfgi_table1")
    assert table1.certainty == "inferred" and table1.metrics[:3] == ["mae_rel", "ssim_w51", "lpips_alex"]
    assert table1.metrics[3:] == ["mae_rel_gray", "ssim_w51_gray"]
    assert table1.dispersion_of(0.2, 100) == pytest.approx(0.04)
    assert protocol(None, "strict128").dispersion_of(0.2, 100) == 0.2
