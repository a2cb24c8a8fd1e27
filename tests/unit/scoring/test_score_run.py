"""Scores: exactly the run's images, one row a metric; values by hand; no dependence on engine."""

import platform
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from bench import api, registry
from bench.config.project import load_config
from bench.data.dataset import PreparedDataset
from bench.engine import Execution
from bench.errors import BenchError, DataError, UnknownName
from bench.files import read_rgb, write_png
from bench.inversion.plan import Overrides, plan_run
from bench.inversion.runner import image_seed, run
from bench.scoring.pair_metrics import Views, score_batch
from bench.scoring.score_run import COLUMNS, score_run
from bench.store.paths import RunStore

pytestmark = pytest.mark.numeric


def scored(project, method="toy_codes", variant="", scope="toy", **more):
    config = load_config(project)
    result = score_run(config, RunStore(project, "toy"), scope, method, variant, "toy", device="cpu", **more)
    return result, pd.read_parquet(result.path)


def invert(project, method="toy_codes", **asked):
    return run(plan_run(load_config(project), method, "toy", Overrides(**asked)))


def test_rows(project):
    invert(project)
    result, rows = scored(project)
    assert list(rows.columns) == COLUMNS and len(rows) == result.rows == 8 * 3 and result.missing == {}
    assert set(rows["metric"]) == {"mae", "psnr", "rate"} and set(rows["task"]) == {"inversion"}
    assert rows["run_id"].unique() == ["toy_codes-toy"] and set(rows["variant"]) == {""}
    assert (rows.groupby("metric")["image_id"].nunique() == 8).all()
    assert rows[rows["metric"] == "mae"]["signature"].unique() == ["mae|v1|native|none|0..1|rgb"]
    assert (rows[rows["metric"] == "rate"]["value"] == 128).all()


def test_values_by_hand(project):
    invert(project)
    _, rows = scored(project, metrics=["mae"])
    dataset, store = PreparedDataset.open(project, "toy"), RunStore(project, "toy")
    for row in rows.itertuples():
        x_hat = read_rgb(store.run("toy", "toy_codes", "toy").image(row.image_id)) / 255
        assert row.value == pytest.approx(np.abs(dataset.read(row.image_id) / 255 - x_hat).mean(), abs=1e-12)


def test_no_memory_is_the_users_to_mend(project, one_line_error):
    invert(project)
    (project / "metrics").mkdir()
    (project / "metrics" / "hungry.py").write_text("""
import torch
from bench import api
class Metric(api.PairMetric):
    'Wants more memory than there is.'
    title, source, higher_is_better, ideal = "Hungry", "test", False, 0.0
    def __call__(self, x, x_hat):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0")
""")
    line = one_line_error("score", "--method", "toy_codes", "--dataset", "toy", "--metric", "hungry")
    assert "too little memory; got CUDA out of memory. Tried to allocate 20.00 MiB" in line and "--device cpu" in line


def test_engines_agree(project):
    invert(project)
    _, serial = scored(project)
    _, spawned = scored(project, execution=Execution("processes", 2))
    pd.testing.assert_frame_equal(serial, spawned)


def test_failed_images_have_no_rows(project):
    options = {"raise_for": image_seed(0, "toy", "head_2"), "nan_for": image_seed(0, "toy", "head_5")}
    invert(project, "toy_fussy", options=options)
    _, rows = scored(project, "toy_fussy", scope="local")
    assert set(rows["image_id"]) == {f"head_{n}" for n in (0, 1, 3, 4, 6, 7)} and len(rows) == 18


def test_scoring_one_metric_keeps_the_others_rows(project):
    invert(project)
    _, before = scored(project)
    result, rows = scored(project, metrics=["mae"])
    assert result.rows == 8 and result.stale == []
    pd.testing.assert_frame_equal(rows, before)
    result, rows = scored(project, metrics=["mse"])
    assert set(rows["metric"]) == {"mae", "psnr", "rate", "mse"} and len(rows) == 32


@pytest.mark.parametrize("how", ["other options", "no record of the state"])
def test_rows_of_another_state_of_the_run_are_dropped(project, cli, how):
    """Two metrics of one run never describe two different runs; what was dropped is said."""
    words = ("run", "--method", "toy_codes", "--variant", "x", "--overwrite")
    cli(*words, "--set", "scale=0.5")
    scored(project, variant="x", scope="local")
    if how == "other options":
        cli(*words, "--set", "scale=1")
    else:
        path = RunStore(project, "toy").scores_path("local", "toy_codes.x")
        pd.DataFrame(pd.read_parquet(path).to_dict("list")).to_parquet(path, index=False)
    answer = cli("score", "--scope", "local", "--metric", "mae")
    assert answer.code == 0 and "dropped earlier rows of psnr, rate: they belong to another state" in answer.err
    rows = pd.read_parquet(RunStore(project, "toy").scores_path("local", "toy_codes.x"))
    assert set(rows["metric"]) == {"mae"} and len(rows) == 8


def test_rows_of_other_datasets_stay(project, cli):
    """They keep the state they were scored in, so that their own metrics survive the next partial scoring."""
    assert cli("prepare", "--dataset", "my", "--images", "pictures", "--align", "none").code == 0
    for name in ("toy", "my"):
        cli("run", "--method", "toy_codes", "--dataset", name, "--variant", "x")
        cli("score", "--scope", "local", "--dataset", name)
    answer = cli("score", "--scope", "local", "--metric", "mae")
    assert answer.code == 0 and "dropped" not in answer.err
    rows = pd.read_parquet(RunStore(project, "toy").scores_path("local", "toy_codes.x"))
    assert len(rows) == 2 * 3 * 8


def test_variant_has_its_own_file(project):
    invert(project)
    invert(project, ablation="quiet")
    first, _ = scored(project)
    second, rows = scored(project, variant="quiet")
    assert first.path.name == "toy_codes.parquet" and second.path.name == "toy_codes.quiet.parquet"
    assert set(rows["run_id"]) == {"toy_codes.quiet-toy"}


def test_missing_picture_stops(project):
    invert(project)
    picture = RunStore(project, "toy").run("toy", "toy_codes", "toy").image("head_1")
    picture.unlink()
    with pytest.raises(DataError, match="does not hold exactly its 8 images; got missing head_1"):
        scored(project)
    write_png(picture, np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(DataError, match="head_1.png has the wrong size"):
        scored(project)


def test_damaged_reconstruction_is_the_methods_to_make_again(project, cli, one_line_error):
    """`bench prepare` would not mend it; the command that the message names does."""
    invert(project)
    picture = RunStore(project, "toy").run("toy", "toy_codes", "toy").image("head_1")
    whole = picture.read_bytes()
    picture.write_bytes(whole[:100])
    line = one_line_error("score")
    assert "head_1.png cannot be read" in line and "bench prepare" not in line
    command = line.split("`")[1]
    assert command == "bench run --method toy_codes --dataset toy --fresh"
    assert cli(*command.split()[1:]).code == 0 and picture.read_bytes() == whole
    assert cli("score").code == 0


def test_run_of_another_manifest_stops(project):
    invert(project)
    manifest = project / "datasets" / "toy.yaml"
    manifest.write_text(manifest.read_text().replace("bytes: ", "bytes: 1"))
    prepared = project / "datasets" / "prepared" / "toy" / "prepared.json"
    from bench.data.manifest import load_manifest

    old = prepared.read_text()
    assert load_manifest(project, "toy").sha256 not in old
    import json

    prepared.write_text(json.dumps({"manifest_sha256": load_manifest(project, "toy").sha256}))
    with pytest.raises(DataError, match="made from another state of dataset 'toy'.*--overwrite"):
        scored(project)


def test_absent_run_and_unknown_metric(project):
    with pytest.raises(DataError, match="no complete results"):
        scored(project)
    invert(project)
    with pytest.raises(UnknownName, match="did you mean 'mae'"):
        scored(project, metrics=["maee"])


def test_metric_that_lacks_something_is_left_out(project, monkeypatch):
    invert(project)
    cls = registry.metrics(project).load("psnr")
    monkeypatch.setattr(cls, "missing", classmethod(lambda cls: "pip install x"))
    result, rows = scored(project)
    assert result.missing == {"psnr": "pip install x"} and set(rows["metric"]) == {"mae", "rate"}


class Probe(api.PairMetric):
    value_range, size, resize = (-1.0, 1.0), 8, "bicubic_aa"

    def __call__(self, x, x_hat):
        return x.flatten(1).amax(1)


def test_pictures_reach_the_metric_as_it_asks():
    array = np.zeros((2, 16, 16, 3), np.uint8)
    array[:, :8] = 255
    x = Views(array).floats(Probe.size, Probe.resize, Probe.value_range)
    assert x.shape == (2, 3, 8, 8) and x.dtype == torch.float64
    assert float(x.min()) == -1 and float(x.max()) == 1  # bicubic overshoots, the range is kept
    assert score_batch(Probe(), "probe", array, array) == [1.0, 1.0]


def test_wrong_number_of_values_is_named():
    class Short(Probe):
        def __call__(self, x, x_hat):
            return x.mean()

    with pytest.raises(BenchError, match="metric 'short' returned the wrong shape"):
        score_batch(Short(), "short", np.zeros((2, 16, 16, 3), np.uint8), np.zeros((2, 16, 16, 3), np.uint8))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_memory_is_kept_for_the_next_batch():
    """In processes of their own, because the setting lasts: 64 MB that were freed come back with hardly a page fault."""
    code = """
import resource, sys
import numpy as np
from bench.device import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(8 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", code, how], capture_output=True, text=True, check=True).stdout)
        for how in ("kept", "given back")
    )
    assert kept <= given_back // 8, (kept, given_back)  # at least 32, of 2 MB a page, where it is given back
