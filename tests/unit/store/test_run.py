"""The store: atomic shards, runs that are absent, resumable or complete, and refusal of everything else."""

import errno
import os
import pickle

import numpy as np
import pytest

from bench.errors import BenchError, DataError
from bench.files import write_png
from bench.store.latents import write_latents
from bench.store.paths import RunStore, read_json, write_json

IDS = [["a", "b"], ["c"]]
RECORD = {"run_id": "m-d", "config_hash": "h1"}


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path, "main")


@pytest.fixture
def run(store):
    return store.run("main", "m", "d")


def fill(ids, failures=None, rate=7, steps=0):
    def write(folder):
        (folder / "images").mkdir()
        good = [i for i in ids if i not in (failures or {})]
        for i in good:
            write_png(folder / "images" / f"{i}.png", np.full((2, 2, 3), ord(i[0]), np.uint8))
        codes = np.stack([np.full((2, 3), ord(i[0])) for i in good]) if good else np.zeros((0, 1, 1))
        write_latents(folder / "w_plus.safetensors", good, codes)
        if good and steps:
            write_latents(folder / "steps.safetensors", good, np.stack([codes] * steps, 1), "steps")
        return {"failures": failures or {}, "rate_floats": rate if good else None}

    return write


def commit_all(run, failures=None):
    for n, ids in enumerate(IDS):
        run.commit_shard(n, ids, fill(ids, {k: v for k, v in (failures or {}).items() if k in ids}))


def test_paths(store):
    run = store.run("main", "hfgi", "cars", "no_ada")
    assert run.folder == store.root / "results/runs/main/hfgi.no_ada/cars"
    assert str(run.name) == "hfgi.no_ada-cars" and run.scope == "main"
    assert store.scores_path("main", "hfgi") == store.root / "results/scores/main/hfgi.parquet"
    assert store.summary_path("main") == store.root / "results/summary.csv"
    assert store.summary_path("local") == store.root / "results/local/summary.csv"
    assert store.reports_dir("local") == store.root / "reports/local"
    with pytest.raises(BenchError):
        store.run("main", "../up", "cars")


def test_a_whole_run(run, store):
    assert run.state() == "absent"
    assert run.begin("h1", {"steps": 1}) and run.state() == "partial"
    commit_all(run)
    content = run.finish(IDS, RECORD)
    assert run.state() == "complete" and content == run.read()
    assert content["ids"] == ["a", "b", "c"] and content["n"] == 3 and content["rate_floats"] == 7
    ids, codes = run.read_latents()
    assert ids == ["a", "b", "c"] and codes.dtype == np.float32 and codes[2, 0, 0] == ord("c")
    assert sorted(p.name for p in run.folder.iterdir()) == ["images", "run.json", "w_plus.safetensors"]
    assert [r.name for r in store.runs("main")] == [run.name]
    assert run.begin("h1", {}) is False  # nothing to do


def test_failures_are_kept_with_reasons(run):
    run.begin("h1", {})
    commit_all(run, {"b": "too bright", "c": "NaN"})
    content = run.finish(IDS, RECORD)
    assert content["failures"] == {"b": "too bright", "c": "NaN"} and content["n"] == 1
    assert [p.stem for p in run.images.iterdir()] == ["a"] and run.read_latents()[0] == ["a"]


def test_steps_are_kept_for_every_picture(run):
    """A shard whose pictures all failed has none, and takes nothing from the others."""
    run.begin("h1", {})
    run.commit_shard(0, IDS[0], fill(IDS[0], {"b": "too bright"}, steps=3))
    run.commit_shard(1, IDS[1], fill(IDS[1], {"c": "NaN"}, steps=3))
    run.finish(IDS, RECORD)
    ids, steps = run.read_steps()
    assert ids == ["a"] and steps.shape == (1, 3, 2, 3) and steps.dtype == np.float32
    assert (steps[:, -1] == run.read_latents()[1]).all()


def test_steps_of_some_pictures_only_are_refused(run):
    run.begin("h1", {})
    run.commit_shard(0, IDS[0], fill(IDS[0], steps=3))
    run.commit_shard(1, IDS[1], fill(IDS[1]))
    with pytest.raises(DataError, match="steps of some images only; got 2 of 3"):
        run.finish(IDS, RECORD)
    assert run.state() == "partial"


def test_a_run_without_steps_has_no_file_of_them(run):
    run.begin("h1", {})
    commit_all(run)
    run.finish(IDS, RECORD)
    assert run.read_steps() is None and not run.steps.exists()


def test_resume_keeps_committed_shards(run):
    run.begin("h1", {})
    run.commit_shard(0, IDS[0], fill(IDS[0]))
    (run.shards / ".00001.999.tmp").mkdir()  # what a kill -9 leaves
    assert run.begin("h1", {}) and run.has_shard(0, IDS[0]) and not run.has_shard(1, IDS[1])
    assert not list(run.shards.glob(".*.tmp"))
    assert not run.has_shard(0, ["a", "x"])  # another composition


def test_a_failing_shard_leaves_nothing(run):
    run.begin("h1", {})

    def broken(folder):
        fill(["a"])(folder)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run.commit_shard(0, ["a"], broken)
    assert [p.name for p in run.shards.iterdir()] == ["plan.json"]


def test_second_commit_of_a_shard_changes_nothing(run):
    run.begin("h1", {})
    run.commit_shard(0, ["a"], fill(["a"], rate=1))
    run.commit_shard(0, ["a"], fill(["a"], rate=2))
    assert read_json(run.shard(0) / "shard.json")["rate_floats"] == 1


def test_kill_during_finish_is_harmless(run, monkeypatch):
    """Joining is repeatable until run.json stands, and a run with run.json is complete even if shards are left."""
    run.begin("h1", {})
    commit_all(run)
    with monkeypatch.context() as patch:
        patch.setattr("bench.store.run.join_latents", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            run.finish(IDS, RECORD)
    assert run.state() == "partial" and run.begin("h1", {})
    run.finish(IDS, RECORD)
    run.shards.mkdir()
    assert run.state() == "complete" and run.begin("h1", {}) is False and not run.shards.exists()


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused(run, finished):
    run.begin("h1", {"steps": 1, "seed": 0})
    commit_all(run)
    if finished:
        run.finish(IDS, {**RECORD, "config": {"steps": 1, "seed": 0}})
    with pytest.raises(BenchError, match="steps 1 instead of 2.*--overwrite"):
        run.begin("h2", {"steps": 2, "seed": 0})
    assert run.begin("h2", {"steps": 2, "seed": 0}, overwrite=True)
    assert run.state() == "partial" and not run.has_shard(0, IDS[0])


def test_overwrite_goes_on_from_equal_work(run):
    """The pipeline always passes --overwrite: a killed run must resume there too, and a complete one be left alone."""
    run.begin("h1", {"steps": 1}, overwrite=True)
    run.commit_shard(0, IDS[0], fill(IDS[0]))
    assert run.begin("h1", {"steps": 1}, overwrite=True) and run.has_shard(0, IDS[0])
    commit_all(run)
    run.finish(IDS, RECORD)
    before = {p: p.stat().st_mtime_ns for p in run.folder.rglob("*")}
    assert run.begin("h1", {"steps": 1}, overwrite=True) is False
    assert {p: p.stat().st_mtime_ns for p in run.folder.rglob("*")} == before


@pytest.mark.parametrize("finished", [True, False])
def test_fresh_computes_equal_work_again(run, finished):
    run.begin("h1", {})
    commit_all(run)
    if finished:
        run.finish(IDS, RECORD)
    assert run.begin("h1", {}, fresh=True)
    assert run.state() == "partial" and not run.has_shard(0, IDS[0]) and not run.images.exists()


def test_shards_of_other_versions_are_never_joined(run):
    """Library versions are no settings, but shards computed with two of them make one run of neither."""
    run.begin("h1", {"steps": 1}, versions={"torch": "1"})
    commit_all(run)
    with pytest.raises(BenchError, match="torch 1 instead of 2.*--overwrite"):
        run.begin("h1", {"steps": 1}, versions={"torch": "2"})
    assert run.begin("h1", {"steps": 1}, versions={"torch": "1"}) and run.has_shard(0, IDS[0])
    assert run.begin("h1", {"steps": 1}, overwrite=True, versions={"torch": "2"}) and not run.has_shard(0, IDS[0])


def test_complete_run_of_other_versions_stays_unless_it_is_to_be_replaced(run):
    run.begin("h1", {}, versions={"torch": "1"})
    commit_all(run)
    run.finish(IDS, {**RECORD, "versions": {"torch": "1"}})
    assert run.begin("h1", {}, versions={"torch": "2"}) is False
    assert run.begin("h1", {}, overwrite=True, versions={"torch": "1"}) is False
    assert run.begin("h1", {}, overwrite=True, versions={"torch": "2"}) and run.state() == "partial"


def test_complete_run_that_lost_a_picture(run):
    """It is named, not called done; --overwrite makes it whole."""
    run.begin("h1", {})
    commit_all(run)
    run.finish(IDS, RECORD)
    run.image("b").unlink()
    with pytest.raises(DataError, match="missing b.*bench run --method m --dataset d --fresh"):
        run.begin("h1", {})
    assert run.begin("h1", {}, overwrite=True) and run.state() == "partial"


def test_damaged_record_is_replaced_on_request(run):
    run.begin("h1", {})
    commit_all(run)
    run.finish(IDS, RECORD)
    run.json.write_text("{")
    assert run.begin("h1", {}, overwrite=True) and not run.images.exists()


def test_joining_again_leaves_no_older_picture(run):
    """A picture of an image that failed must not come from an earlier attempt."""
    run.begin("h1", {})
    commit_all(run, {"b": "too bright"})
    run.images.mkdir()
    write_png(run.image("b"), np.zeros((2, 2, 3), np.uint8))
    run.finish(IDS, RECORD)
    assert sorted(p.stem for p in run.images.iterdir()) == ["a", "c"]


def test_foreign_folder_is_refused(run):
    run.images.mkdir(parents=True)
    write_png(run.image("a"), np.zeros((2, 2, 3), np.uint8))
    assert run.state() == "foreign"
    with pytest.raises(BenchError, match="files that are no run; got images"):
        run.begin("h1", {})


def test_reading_an_incomplete_run_says_what_to_do(run):
    with pytest.raises(DataError, match="state 'absent'.*bench run --method m --dataset d"):
        run.read()
    run.begin("h1", {})
    with pytest.raises(DataError, match="state 'partial'.*resumes"):
        run.read()


def test_missing_shard_is_named(run):
    run.begin("h1", {})
    run.commit_shard(0, IDS[0], fill(IDS[0]))
    with pytest.raises(DataError, match="shard 1 of run m-d is missing"):
        run.finish(IDS, RECORD)


def test_completeness(run):
    run.begin("h1", {})
    commit_all(run)
    run.finish(IDS, RECORD)
    run.image("b").unlink()
    write_png(run.image("z"), np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(DataError, match="missing b; unexpected z"):
        run.check_complete(["a", "b", "c"], {})
    with pytest.raises(DataError, match="twice a"):
        run.check_complete(["a", "a", "c", "z"], {})


def test_damaged_json_is_named(run):
    run.begin("h1", {})
    run.plan.write_text("{")
    with pytest.raises(DataError, match="plan.json cannot be read"):
        run.begin("h1", {})


@pytest.mark.parametrize(
    "code, word", [(errno.ENOSPC, "free some disk space"), (errno.EACCES, "make the folder writable")]
)
def test_full_disk_and_no_permission(run, monkeypatch, code, word):
    run.begin("h1", {})
    run.commit_shard(0, IDS[0], fill(IDS[0]))
    real = os.replace

    def fail(source, target):
        if "00001" in str(source):
            raise OSError(code, os.strerror(code))
        real(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(BenchError, match=word):
        run.commit_shard(1, IDS[1], fill(IDS[1]))
    monkeypatch.undo()
    assert run.has_shard(0, IDS[0]) and run.begin("h1", {})
    run.commit_shard(1, IDS[1], fill(IDS[1]))
    assert run.finish(IDS, RECORD)["n"] == 3


def test_json_is_stable_text(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, "é"]})
    write_json(tmp_path / "b.json", {"a": [1.5, "é"], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_handles_can_travel(run, store):
    assert pickle.loads(pickle.dumps((run, store))) == (run, store)
