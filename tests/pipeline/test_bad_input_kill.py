"""kill -9 in the middle of real processes: what was finished stays, the same command goes on, the rows are the same."""

import os
import signal
import subprocess
import time
from functools import partial

import pytest

from bench.inversion.runner import image_seed
from bench.store.paths import RunStore


def start(bench_command, *args):
    # A shell's background job ignores SIGINT and so would its children: interruptible whatever started the tests.
    return subprocess.Popen(
        [*bench_command, *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(condition, process, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("engine, more", [("serial", ["--overwrite"]), ("processes", [])])
def test_killed_run_resumes_to_the_same_files(slow, cli, bench_command, files_of, engine, more):
    """With --overwrite too, which the pipeline's stage passes."""
    words = ("run", "--method", "toy_deadly", "--engine", engine, "--workers", "1", *more)
    assert cli(*words[:3]).code == 0
    whole = files_of(slow)
    slow.discard()
    process = start(bench_command, *words)
    wait_for(lambda: slow.shard(1).is_dir(), process)
    process.kill()
    process.wait()
    done = sorted(p.name for p in slow.shards.glob("0*"))
    assert slow.state() == "partial" and "00000" in done and len(done) < 4
    kept = {p.name: p.stat().st_mtime_ns for p in (slow.shard(0) / "images").iterdir()}
    refused = cli("score", "--method", "toy_deadly")
    assert refused.code == 2 and "has no complete results" in refused.err
    answer = cli(*words)
    assert answer.code == 0 and "resuming" in answer.err
    assert files_of(slow) == whole
    after = {p.name: p.stat().st_mtime_ns for p in slow.images.iterdir()}
    assert kept and kept.items() <= after.items()  # the first shard's pictures were linked, not made again


def test_interrupted_run_says_so(slow, bench_command):
    process = start(bench_command, "run", "--method", "toy_deadly")
    wait_for(lambda: slow.shard(0).is_dir(), process)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=30)[1]
    assert (
        process.returncode == 130
        and err.strip().splitlines()[-1].startswith("error: interrupted")
        and "Traceback" not in err
    )
    assert slow.state() == "partial"


def test_killed_worker_is_named_and_the_rest_is_kept(project, cli, one_line_error):
    """One worker dies (out of memory, say): the other shards are there, the message says how to go on."""
    (project / "deadly").write_text("")
    die = f"die_for={image_seed(0, 'toy', 'head_2')}"
    words = ("run", "--method", "toy_deadly", "--set", die, "--engine", "processes", "--workers", "2")
    line = one_line_error(*words)
    assert "worker processes died in shard 1 (head_2 to head_3, exit code -9)" in line and "3 of 4 shards" in line
    run = RunStore(project, "toy").run("local", "toy_deadly", "toy")
    assert run.state() == "partial" and sorted(p.name for p in run.shards.glob("0*")) == ["00000", "00002", "00003"]
    os.unlink(project / "deadly")
    assert cli(*words).code == 0 and run.read()["n"] == 8


def test_killed_preparation_of_a_folder(project, cli, bench_command, tmp_path):
    """Half-prepared data is never offered; the same command completes it."""
    import shutil

    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(400):
        shutil.copy(project / "pictures/head_0.png", folder / f"p{n:03d}.png")
    process = start(bench_command, "prepare", "--dataset", "many", "--images", str(folder), "--engine", "serial")
    images = project / "datasets/prepared/many/images"
    wait_for(lambda: images.is_dir() and any(images.iterdir()), process)
    process.kill()
    process.wait()
    if not (project / "datasets/many.yaml").exists():  # else it was quicker than the kill
        assert "unknown dataset 'many'" in cli("run", "--method", "toy_codes", "--dataset", "many").err
    assert cli("prepare", "--dataset", "many", "--images", str(folder)).code == 0
    assert cli("run", "--method", "toy_codes", "--dataset", "many", "--limit", "2").code == 0
