"""Commands forked from a warm server: same files, messages and exit codes as by themselves, signals included."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from bench.cli import fork_server
from bench.engine.shards import THREAD_VARIABLES
from bench.store.paths import RunStore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a warm server forks, which is safe on Linux")


@pytest.fixture(scope="module")
def server():
    """The variable that names a running server."""
    with fork_server.serving() as found:
        yield found


@pytest.fixture
def here(server, monkeypatch):
    """The same, set for this process."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    return server[fork_server.VARIABLE]


def wait_for(condition, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_command_says_and_returns_what_it_does_by_itself(here, cli, capfd):
    for words in (["--version"], ["ls", "methods"], ["run", "--method", "nope"], ["score", "--limit"]):
        alone = cli(*words)
        code = fork_server.hand_over(here, words)
        out, err = capfd.readouterr()
        assert (code, out, err) == (alone.code, alone.out, alone.err)


@pytest.mark.parametrize("kind", ["serial", "processes"])
def test_a_run_and_its_scores_are_the_same(here, project, cli, files_of, kind):
    store = RunStore(project, "toy")
    found = []
    for call in (lambda *words: cli(*words).code, lambda *words: fork_server.hand_over(here, words)):
        assert call("run", "--method", "toy_codes", "--engine", kind, "--fresh") == 0
        assert call("score", "--method", "toy_codes", "--engine", kind) == 0
        scores = store.scores_path("toy", "toy_codes")
        found.append((files_of(store.run("toy", "toy_codes", "toy")), scores.read_bytes()))
        scores.unlink()
    assert found[0] == found[1]


def test_another_environment_at_the_start_means_another_process(here, monkeypatch):
    assert fork_server.hand_over(here, ["--version"]) == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert fork_server.hand_over(here, ["--version"]) == fork_server.COLD


def test_a_command_works_without_its_server(tmp_path, bench_command):
    environment = {**os.environ, fork_server.VARIABLE: str(tmp_path / "gone")}
    done = subprocess.run([*bench_command, "--version"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("hfgi-bench ")


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_signals_reach_the_command(here, slow, bench_command, number, code):
    words = [*bench_command, "run", "--method", "toy_deadly", "--engine", "serial"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(lambda: slow.shard(0).is_dir())
    process.send_signal(number)
    err = process.communicate(timeout=30)[1]
    assert process.returncode == code and ("error: interrupted" in err) == (code == 130)


def test_killing_a_command_kills_its_fork(here, slow, cli, bench_command):
    words = ("run", "--method", "toy_deadly", "--engine", "processes", "--workers", "1")
    process = subprocess.Popen([*bench_command, *words], stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: slow.shard(0).is_dir())
    process.kill()
    process.wait()
    time.sleep(1)
    done = len(list(slow.shards.glob("0*")))
    time.sleep(1)
    assert done < 4 and len(list(slow.shards.glob("0*"))) == done, "it still works"
    answer = cli(*words)
    assert answer.code == 0 and "resuming" in answer.err


def test_a_server_ends_with_the_process_that_wanted_it(tmp_path):
    script = (
        "from bench.cli import fork_server\n"
        "with fork_server.serving() as found:\n print(found[fork_server.VARIABLE], flush=True)\n input()"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().strip()
    wait_for(lambda: subprocess.run(["pgrep", "-f", address], capture_output=True).returncode == 0)
    process.kill()
    process.communicate()
    wait_for(lambda: subprocess.run(["pgrep", "-f", address], capture_output=True).returncode == 1)


WORKERS = """
import json, os, sys
sys.path.insert(0, {folder!r})
import torch, numpy, forked_test_work
from bench import engine
from bench.engine import Execution, Work, make_shards, map_shards
engine.forked()
engine.make_ready()
shards = make_shards("abcd", 1)
print(json.dumps([map_shards(Work(forked_test_work.threads), shards, Execution("processes", 2)) for _ in range(2)]))
"""
WORK = """
import os, threadpoolctl, torch
def threads(shard):
    return os.getpid(), torch.get_num_threads(), [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
"""


def test_forked_workers_use_one_thread_and_stay(tmp_path):
    (tmp_path / "forked_test_work.py").write_text(WORK)
    environment = {n: v for n, v in os.environ.items() if n not in THREAD_VARIABLES}
    script = WORKERS.format(folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    calls = yaml.safe_load(done.stdout)
    assert all(threads == 1 and set(pools) == {1} for call in calls for _, threads, pools in call)
    assert len({pid for call in calls for pid, *_ in call}) <= 2


def test_a_folder_too_deep_for_a_socket_means_no_server(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with fork_server.serving() as found:
        assert found == {}
