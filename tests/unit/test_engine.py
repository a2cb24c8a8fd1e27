"""The engine: same results whatever engine and number of workers; deaths and errors cost their own shard only."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial

import pytest
import torch

from bench import engine
from bench.engine import (
    SERIAL,
    Execution,
    Shard,
    Work,
    check_failures,
    even_shards,
    make_shards,
    map_images,
    map_shards,
)
from bench.errors import BenchError

WORK = """
import os, signal, time
from pathlib import Path
from bench.engine import tick
from bench.errors import DataError

def double(shard, factor=2):
    tick(len(shard.ids))
    return [i * factor for i in shard.ids]

def threads(shard):
    import torch
    return torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS"), os.getpid()

def die(shard, which, folder):
    if shard.index in which:
        os.kill(os.getpid(), signal.SIGKILL)
    Path(folder, str(shard.index)).write_text("done")
    return shard.index

def fail(shard, kind):
    if shard.index == 1:
        raise DataError("picture 7 is missing", fix="look") if kind == "user" else ZeroDivisionError("oops")
    return shard.index

def slow(shard, folder):
    Path(folder, f"start{shard.index}").write_text(str(os.getpid()))
    time.sleep(30)
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A module that spawned processes can import too: they get this sys.path."""
    (tmp_path / "engine_test_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    import engine_test_work

    yield engine_test_work
    sys.modules.pop("engine_test_work", None)


def test_shards_have_fixed_composition():
    shards = make_shards(list("abcdefg"), 3)
    assert [s.ids for s in shards] == [("a", "b", "c"), ("d", "e", "f"), ("g",)]
    assert [s.index for s in shards] == [0, 1, 2] and make_shards([], 3) == []


CUTS = [(0, []), (1, [1]), (5, [3, 2]), (12, [6, 6]), (13, [4, 4, 4, 1]), (16, [4, 4, 4, 4])]


@pytest.mark.parametrize(("count", "sizes"), CUTS)
def test_few_ids_are_cut_for_two_workers_that_end_together(count, sizes):
    ids = [str(n) for n in range(count)]
    shards = even_shards(ids, 6)
    assert [len(s.ids) for s in shards] == sizes and [i for s in shards for i in s.ids] == ids


def test_engines_agree(work):
    shards = make_shards(list("abcdefg"), 2)
    expected = [[i * 3 for i in s.ids] for s in shards]
    for name, workers in (("serial", None), ("processes", 1), ("processes", 2)):
        done, ticks = [], []
        results = map_shards(
            Work(work.double, {"factor": 3}),
            shards,
            Execution(name, workers, on_tick=ticks.append),
            on_done=lambda shard, value, into=done: into.append((shard.index, value)),
        )
        assert results == expected
        assert sorted(done) == list(enumerate(expected)) and sum(ticks) == 7


def test_results_keep_the_order_of_a_partial_list(work):
    """A resumed run hands over only the shards that are left."""
    shards = make_shards(list("abcdef"), 2)[1:]
    assert map_shards(Work(work.double), shards, Execution("processes", 2)) == [["cc", "dd"], ["ee", "ff"]]


def test_nothing_to_do(work):
    assert map_shards(Work(work.double), [], Execution("processes", 4)) == []


def test_one_thread_everywhere(work):
    import torch

    before = torch.get_num_threads()
    serial = map_shards(Work(work.threads), make_shards("a", 1), SERIAL)
    spawned = map_shards(Work(work.threads), make_shards("a", 1), Execution("processes", 1))
    assert serial[0][:2] == spawned[0][:2] == (1, "1") and serial[0][2] == os.getpid() != spawned[0][2]
    assert torch.get_num_threads() == before


def test_killed_worker_costs_its_shard_only(work, tmp_path):
    shards = make_shards([f"id{n}" for n in range(6)], 1)
    with pytest.raises(BenchError) as caught:
        map_shards(Work(work.die, {"which": [1], "folder": str(tmp_path)}), shards, Execution("processes", 2))
    text = str(caught.value)
    assert (
        "died in shard 1 (id1 to id1, exit code -9)" in text
        and "5 of 6" in text
        and "run the same command again" in text
    )
    assert sorted(p.name for p in tmp_path.glob("[0-9]")) == ["0", "2", "3", "4", "5"]


def test_workers_that_always_die_do_not_respawn_for_ever(work, tmp_path):
    shards = make_shards([f"id{n}" for n in range(30)], 1)
    start = time.monotonic()
    with pytest.raises(BenchError, match="worker processes died"):
        map_shards(
            Work(work.die, {"which": list(range(30)), "folder": str(tmp_path)}), shards, Execution("processes", 1)
        )
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("name", ["serial", "processes"])
def test_users_error_comes_back_whole(work, name):
    with pytest.raises(BenchError) as caught:
        map_shards(Work(work.fail, {"kind": "user"}), make_shards("abcd", 1), Execution(name, 1))
    assert str(caught.value) == "picture 7 is missing. Fix: look." and caught.value.fix == "look"


def test_other_errors_carry_the_workers_trace(work):
    with pytest.raises(RuntimeError, match=r"(?s)shard 1 \(b to b\) failed.*ZeroDivisionError: oops"):
        map_shards(Work(work.fail, {"kind": "bug"}), make_shards("abcd", 1), Execution("processes", 1))
    with pytest.raises(ZeroDivisionError):
        map_shards(Work(work.fail, {"kind": "bug"}), make_shards("abcd", 1), SERIAL)


def test_bad_settings(work):
    for name, workers in (("cloud", None), ("processes", 0)):
        with pytest.raises(BenchError):
            map_shards(Work(work.double), make_shards("ab", 1), Execution(name, workers))


def test_tick_is_silent_without_a_listener():
    engine.tick(1.0)


PARENT = """
import sys
from bench.engine import Execution, Work, make_shards, map_shards
import engine_test_work
if __name__ == "__main__":
    map_shards(Work(engine_test_work.slow, {"folder": sys.argv[1]}), make_shards("ab", 1), Execution("processes", 2))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(work, tmp_path, how):
    """After kill -9 or Ctrl-C of the parent, workers in the middle of a shard leave at once."""
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT))
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    default = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a background job would ignore it
    command = [sys.executable, str(script), str(tmp_path)]
    parent = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, preexec_fn=default)
    started = [tmp_path / "start0", tmp_path / "start1"]
    deadline = time.monotonic() + 60
    while not all(p.is_file() and p.read_text() for p in started):
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    workers = [int(p.read_text()) for p in started]
    parent.send_signal(how)
    parent.wait(20)
    deadline = time.monotonic() + 15
    while any(_alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    """False for zombies too: a container's first process may not reap them."""
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_shard_is_hashable():
    assert len({Shard(0, ("a",)), Shard(0, ("a",))}) == 1


def test_results_of_a_batch_come_back_whole():
    assert map_images("abc", "".join) == (["abc"], {})


def test_an_image_that_raises_costs_the_others_nothing():
    tried = []

    def work(ids):
        tried.append("".join(ids))
        if "b" in ids:
            raise ValueError("no\n  good")
        return tried[-1]

    assert map_images("abc", work) == (["a", "c"], {"b": "ValueError: no good"})
    assert tried == ["abc", "a", "b", "c"]


def test_a_batch_without_memory_is_halved_and_one_image_without_is_an_error():
    def work(ids):
        if len(ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. More")
        return "".join(ids)

    most = 2
    assert map_images("abcde", work) == (["ab", "c", "de"], {})
    most = 0
    with pytest.raises(BenchError, match="too little memory"):
        map_images("abcde", work)


def test_what_the_user_must_mend_is_no_images_failure():
    def work(ids):
        raise BenchError("no weights")

    with pytest.raises(BenchError, match="no weights"):
        map_images("ab", work)


def test_only_a_failure_of_all_images_is_an_error():
    check_failures({"a": "why"}, ["a", "b"], "e4e", "images of 'toy'")
    with pytest.raises(BenchError, match="method 'e4e' failed on all 2 images of 'toy'; got why"):
        check_failures({"a": "why", "b": "too"}, ["a", "b"], "e4e", "images of 'toy'")
