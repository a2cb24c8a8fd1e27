"""Set metrics of a run, from pictures to the table: the library's numbers, cached sources, n and intervals."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("torch_fidelity", reason="pip install 'hfgi-bench[fid]'")

from bench.analysis.score_table import read_scores
from bench.analysis.summary import aggregate, metric_info, read_summary
from bench.config.project import load_config
from bench.data.dataset import PreparedDataset
from bench.engine import Execution
from bench.errors import BenchError, DataError
from bench.inversion.plan import Overrides, plan_run
from bench.inversion.runner import image_seed, run
from bench.measures import efflite
from bench.report.report_data import load_report_data
from bench.scoring import set_metrics
from bench.scoring.score_run import score_run
from bench.store.paths import RunStore

pytestmark = pytest.mark.numeric

ROUNDING = 1e-9  # of a Frechet distance, whose traces and singular values cancel: 1e-13 seen
METRICS = ["mae", "fd_efflite0", "kd_efflite0", "prc_efflite0"]
NAMES = {"fd_efflite0", "kd_efflite0", "prc_efflite0.precision", "prc_efflite0.recall"}


@pytest.fixture
def store(project):
    return RunStore(project, "toy")


def invert(project, method="toy_codes", **asked):
    return run(plan_run(load_config(project), method, "toy", Overrides(**asked)))


def scored(project, method="toy_codes", scope="toy", metrics=METRICS, **more):
    """Values of the run's set metrics by name, and the result of scoring."""
    store = RunStore(project, "toy")
    result = score_run(load_config(project), store, scope, method, "", "toy", metrics, device="cpu", **more)
    found = set_metrics.read_sets(store.sets_dir(scope, method, "toy"))
    return {value.metric: value for value in found.values}, result


class Pictures(torch.utils.data.Dataset):
    """Files as torch-fidelity takes them: uint8, at the metric's size."""

    def __init__(self, arrays):
        from bench.images import resize_pil

        self.arrays = resize_pil(np.stack(arrays), 128, "pil_bilinear")

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, n):
        return torch.from_numpy(self.arrays[n].transpose(2, 0, 1).copy())


def test_values_are_what_torch_fidelity_computes_from_the_pictures(project, store):
    """Its own command on the same pictures with the registered extractor, decoding and batches included."""
    import torch_fidelity

    from bench.files import read_rgb

    invert(project)
    values, _ = scored(project)
    dataset, images = PreparedDataset.open(project, "toy"), store.run("toy", "toy_codes", "toy").images
    ids = dataset.manifest.ids
    efflite.register()
    theirs = torch_fidelity.calculate_metrics(
        input1=Pictures([read_rgb(images / f"{i}.png") for i in ids]),
        input2=Pictures([dataset.read(i) for i in ids]),
        feature_extractor="efflite0", cuda=False, fid=True, kid=True, prc=True, kid_subset_size=len(ids),
        batch_size=3, save_cpu_ram=True, verbose=False,
    )  # fmt: skip
    assert set(values) == NAMES and all(v.n == 8 for v in values.values())
    assert values["fd_efflite0"].value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
    assert values["kd_efflite0"].value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4, abs=1e-6)
    assert values["prc_efflite0.precision"].value == theirs["precision"]
    assert values["prc_efflite0.recall"].value == theirs["recall"]


def test_engines_and_batches_agree(project, monkeypatch):
    from bench.scoring import pair_metrics
    from bench.scoring import score_run as scoring

    invert(project)
    monkeypatch.setattr(scoring, "SHARD", 3)
    serial, _ = scored(project)
    spawned, _ = scored(project, execution=Execution("processes", 1))
    monkeypatch.setattr(pair_metrics, "BATCH", 1)
    single, _ = scored(project)
    for other, tolerance in ((spawned, 0), (single, 1e-4)):
        for name, value in serial.items():
            assert other[name].value == pytest.approx(value.value, rel=tolerance, abs=tolerance * 1e-2)


def test_sources_are_computed_once_for_all_methods(project, monkeypatch):
    calls = []
    right = efflite.Pooled.forward
    monkeypatch.setattr(efflite.Pooled, "forward", lambda net, x: (calls.append(len(x)), right(net, x))[1])
    invert(project), invert(project, "toy_copy")
    scored(project)
    assert sum(calls) == 16
    scored(project, "toy_copy")
    assert sum(calls) == 24
    (cached,) = (project / "datasets" / "prepared" / "toy" / "features").iterdir()
    assert np.load(next(cached.iterdir())).shape == (8, 1280)


def test_a_copy_of_the_input_is_ideal(project):
    invert(project, "toy_copy")
    values, _ = scored(project, "toy_copy")
    assert values["fd_efflite0"].value == pytest.approx(0, abs=ROUNDING)
    assert values["prc_efflite0.precision"].value == values["prc_efflite0.recall"].value == 1


def test_partial_scoring_keeps_what_is_of_the_same_state(project, store):
    invert(project)
    before, _ = scored(project)
    after, result = scored(project, metrics=["fd_efflite0"])
    assert set(after) == NAMES and after["kd_efflite0"] == before["kd_efflite0"] and not result.stale
    record = store.run("toy", "toy_codes", "toy").folder / "run.json"
    record.write_text(record.read_text().replace('"rate_floats": 128', '"rate_floats": 129'))
    after, result = scored(project, metrics=["fd_efflite0"])
    assert set(after) == {"fd_efflite0"} and {"kd_efflite0", "prc_efflite0"} <= set(result.stale)


def table(project, metrics=METRICS):
    """The summary of a project that names these metrics."""
    profile = project / "profiles" / "toy.yaml"
    lines = [line for line in profile.read_text().splitlines() if not line.startswith(("metrics", "- "))]
    profile.write_text("\n".join([*lines, f"metrics: {json.dumps(metrics)}", "datasets: [toy]"]))
    config = load_config(project)
    for name in config.methods:
        for dataset in ("toy",):
            score_run(config, RunStore(project, "toy"), "toy", name, "", dataset, device="cpu")
    return config, read_summary(aggregate(RunStore(project, "toy"), "toy", config)[0])


def test_lines_of_the_summary_and_columns_of_the_table(project, store):
    from bench.report.tables import write_tables

    for method in ("toy_copy", "toy_codes"):
        invert(project, method)
    config, summary = table(project)
    lines = summary[summary["metric"].isin(NAMES)]
    assert list(lines.loc[lines["method"] == "toy_codes", "metric"]) == sorted(NAMES)
    assert set(lines["n"]) == {8} and lines["sd"].isna().all() and set(lines["n_failed"]) == {0}
    assert dict(zip(lines["metric"], lines["higher_is_better"], strict=True))["prc_efflite0.recall"]
    (main, *_) = write_tables(load_report_data(project, "toy"), project / "reports", project / "results" / "reference")
    text = main.read_text()
    for head in ("FD (EffNet-L0) ↓", "Precision (EffNet-L0) ↑", "Recall (EffNet-L0) ↑"):
        assert head in text
    assert "jackknife interval over ten groups" in text and "`fd_efflite0|v1|128|pil_bilinear|" in text
    assert "not scored" not in text


def test_common_lines_compare_the_same_pictures(project, store):
    """One method failed on two images: the line over common images is what scoring those alone gives."""
    options = {"raise_for": image_seed(0, "toy", "head_2"), "nan_for": image_seed(0, "toy", "head_5")}
    params = {"profile": "toy", "methods": ["toy_copy", "toy_fussy"]}
    (project / "params.yaml").write_text(json.dumps(params))
    profile = project / "profiles" / "toy.yaml"
    profile.write_text(profile.read_text() + f"options: {json.dumps({'toy_fussy': options})}\n")
    for method in ("toy_copy", "toy_fussy"):
        invert(project, method)
    config, summary = table(project)
    lines = summary[(summary["metric"] == "fd_efflite0")].set_index(["method", "protocol"])
    assert lines.loc[("toy_fussy", "toy32"), "n"] == lines.loc[("toy_copy", "toy32@common6"), "n"] == 6
    assert lines.loc[("toy_fussy", "toy32"), "n_failed"] == 2
    own, common = (lines.loc[("toy_fussy", p), "mean"] for p in ("toy32", "toy32@common6"))
    assert own == pytest.approx(common, rel=1e-6) and own > 0
    assert lines.loc[("toy_copy", "toy32@common6"), "mean"] == pytest.approx(0, abs=ROUNDING)


def test_other_images_or_signatures_are_refused(project, store):
    for method in ("toy_copy", "toy_codes"):
        invert(project, method)
        scored(project, method)
    path = store.sets_dir("toy", "toy_codes", "toy") / "values.json"
    whole = path.read_text()
    path.write_text(whole.replace("|128|", "|64|"))
    with pytest.raises(DataError, match="different protocols"):
        read_scores(store, "toy")
    path.write_text(whole.replace('"head_3"', '"head_9"'))
    with pytest.raises(DataError, match="not those of its images"):
        read_scores(store, "toy")
    path.write_text("{}")
    with pytest.raises(DataError, match="cannot be read"):
        read_scores(store, "toy")


def test_one_extractor_has_one_size(project):
    (project / "metrics").mkdir()
    (project / "metrics" / "fd_small.py").write_text(
        "from bench.measures.set_metrics import Frechet, OnEffLite0\n"
        "class Metric(Frechet, OnEffLite0):\n    size = 64\n    title, source = 'a', 'b'\n"
    )
    invert(project)
    with pytest.raises(BenchError, match="share the extractor 'efflite0'"):
        scored(project, metrics=["fd_efflite0", "fd_small"])
    values, _ = scored(project, metrics=["fd_small"])
    assert values["fd_small"].signature.startswith("fd_small|v1|64|pil_bilinear|0..255")


def test_titles_of_parts(project):
    assert metric_info("prc.recall").title == "Recall" and metric_info("prc.recall").higher_is_better
    assert metric_info("fid").title == "FID" and metric_info("fid").ideal == 0
