"""`bench train METHOD` end to end in the toy project: every trainable method learns, resumes exactly, exports."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import registry
from bench.api import Context, TrainableMethod
from bench.data.dataset import PreparedDataset
from bench.generator import SharedGenerator
from bench.training.preset import read_preset
from bench.training.run_method import start
from bench.training.scaffold import ScaffoldEncoder
from bench.weights import manifest as weights

METHODS = ["psp", "e4e", "restyle_psp", "restyle_e4e"]


def test_every_trainable_method_is_tested(project):
    found = registry.methods(project)
    trainable = {n for n in found.names() if issubclass(found.load(n), TrainableMethod)}
    assert trainable - {"hfgi"} == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_trains_exports_and_inverts(project, method, training):
    """Losses are finite, the frozen stay frozen, and what is exported is what was validated."""
    path = training.preset(method)
    before = SharedGenerator.load("toy", "cpu", project).net.state_dict()
    training.run(path, method=method)
    state = training.saved(method)
    assert state["loop"]["position"] == 32
    errors = training.curve(method, "held_out_mae")
    assert len(errors) == 2 and all(0 < e < 1 for e in errors)
    written = training.run(path, export=True)
    assert {p.suffix for p in written} == {".safetensors", ".json", ".md", ".yaml"}
    state = weights.load(project, f"toy_{method}")
    assert not any("num_batches" in key for key in state) and "latent_avg" in state
    generator = SharedGenerator.load("toy", "cpu", project)
    for key, value in generator.net.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    kind = registry.methods(project).load(method)
    kind = type("Exported", (kind,), {"weights": {"toy": f"toy_{method}"}, "__module__": kind.__module__})
    ready = kind(Context("toy", generator, torch.device("cpu"), lambda name: weights.load(project, name)))
    x = next(iter(PreparedDataset.open(project, "toy").batches(["head_6", "head_7"], 2)))[1]
    found = ready.embed(x)
    error = float((ready.render(found.w_plus, found).clamp(-1, 1) - x).abs().mean() / 2)
    assert error == pytest.approx(errors[-1], rel=0.02)  # float16 weights


@pytest.mark.parametrize("method", ["psp", "restyle_psp"])
def test_pictures_are_learnt(project, method, training):
    """Six pictures by heart: the error falls to a fraction of its start."""
    options = training.special[method]["options"] | {"noise": "stored"}
    changes = {"images": 240, "log_every": 40, "validate_every": 240, "ema_images": 0, "flip": False}
    path = training.preset(method, **changes, weights={"l2": 1}, options=options, optimizer={"lr": 0.01})
    training.run(path)
    losses = training.curve(method, "l2")
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("method", ["restyle_e4e"])
def test_killed_training_goes_on_exactly(project, method, tmp_path, training, assert_same):
    """kill -9 between checkpoints, resume: same curves, same weights, pools, averages and optimiser states."""
    path = training.preset(method, micro_batch=2, checkpoint_every=12, guide=None)
    training.run(path)
    whole, curves = training.saved(method), training.curve(method, "l2")
    os.rename(training.folder, tmp_path / "whole")
    script = f"""
import os, signal, torch
from pathlib import Path
from bench.training import loop, run_method
torch.set_num_threads(1)
step = loop.Loop.step
def dying(self):
    if self.position >= 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self)
loop.Loop.step = dying
run_method.main(Path({str(path)!r}), Path({str(project)!r}))
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert training.saved(method)["loop"]["position"] == 12
    training.run(path, resume=True)
    assert_same(training.saved(method), whole)
    assert training.curve(method, "l2") == curves


def torchrun(count: int, path: Path, project: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = f"""
import torch
from pathlib import Path
from bench.training.run_method import main
torch.set_num_threads(1)
main(Path({str(path)!r}), Path({str(project)!r}))
"""
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=project.parent,  # in the project its folder `methods` would hide the package of that name
            env={**shared, "RANK": str(n), "LOCAL_RANK": str(n)},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(count)
    ]
    for process in running:
        error = process.communicate(timeout=120)[1]
        assert process.returncode == 0, error


@pytest.mark.parametrize("method", ["psp", "e4e", "hfgi"])
def test_two_processes_do_what_one_does(project, method, tmp_path, training, assert_same):
    """Each takes one of two passes: weights, averages, statistics, losses of one process that makes both.

    Discriminators too: e4e's remembers codes of all passes, in their order, whoever made them.
    """
    training.add_hfgis()
    path = training.preset(method, micro_batch=2, images=16)
    training.run(path)
    alone, losses = training.saved(method), training.curve(method, "l2")
    os.rename(training.folder, tmp_path / "alone")
    torchrun(2, path, project)
    both = training.saved(method)
    if method == "e4e":
        pool = both["loop"]["opponents"]["latent_discriminator"]["encoded.codes"]
        assert len(pool) < 16 and pool.abs().sum(1).all(), "full, so that codes were swapped"
    for state in (alone, both):
        state.pop("log")
        for part in ("net", "average"):  # counts passes of the process; nothing reads it
            state["loop"][part] = {k: v for k, v in state["loop"][part].items() if "num_batches" not in k}
    assert_same(both, alone, rtol=1e-3, atol=2e-5)
    assert training.curve(method, "l2") == pytest.approx(losses, rel=1e-4)


def test_another_number_of_processes_may_go_on(project, tmp_path, training, assert_same, one_line_error):
    """What two processes began one ends, with the same passes; passes of another size are refused."""
    path = training.preset("e4e", images=16, micro_batch=2)
    training.run(path)
    whole = training.saved("e4e")
    os.rename(training.folder, tmp_path / "whole")
    training.preset("e4e", images=8)  # of two processes: 2 pictures a pass
    torchrun(2, path, project)
    training.preset("e4e", images=16)
    line = one_line_error("train", "e4e", "--config", path, "--resume")
    assert "4 pictures a pass; expected 2" in line and "`micro_batch: 2`" in line
    training.preset("e4e", images=16, micro_batch=2)
    training.run(path, resume=True)
    ended = training.saved("e4e")
    for state in (whole, ended):
        state.pop("log")
        for part in ("net", "average"):
            state["loop"][part] = {k: v for k, v in state["loop"][part].items() if "num_batches" not in k}
    assert_same(ended, whole, rtol=1e-3, atol=2e-5)


def test_recomputed_layers_change_nothing(training, assert_same):
    path = training.preset("psp", options=training.encoder | {"noise": "random"}, images=16)
    training.run(path)
    plain = training.saved("psp")
    training.preset("psp", options=training.encoder | {"noise": "random"}, images=16, recompute=True)
    os.remove(training.folder / "toy" / "psp" / "checkpoint.pt")
    training.run(path)
    assert_same(training.saved("psp")["loop"], plain["loop"], rtol=1e-5, atol=1e-7)


def test_guide_and_trunk(project, training):
    """A teacher's codes are approached without a render; a trunk is taken over, its entry by the picture's half."""
    channels = {32: 4, 16: 4, 8: 4, 4: 4}
    taught = ScaffoldEncoder(32, 16, channels)
    training.add("toy_teacher", {f"encoder.{k}": v for k, v in taught.state_dict().items()})
    settings = {"groups": [[16, 1], [20, 1], [24, 1]], "teacher": "toy_teacher", "channels": channels}
    run = {"images": 120, "optimizer": {"lr": 0.01}, "log_every": 20}
    path = training.preset("trunk", weights={"code": 1}, options=settings, **run)
    training.run(path)
    codes = training.curve("trunk", "code")
    assert codes[-1] < 0.7 * codes[0]
    training.run(path, export=True)
    trunk = weights.load(project, "toy_trunk")
    guide = {"images": 8, "teacher": "toy_teacher", "channels": channels}
    options = {k: v for k, v in training.encoder.items() if k != "groups"} | {"trunk": "toy_trunk", "inner_steps": 2}
    path = training.preset("restyle_psp", images=16, guide=guide, options=options, weights={"l2": 1, "code": 1})
    method = start(read_preset(path), project, torch.device("cpu"))
    entry = method.encoder.state_dict()["input_layer.0.weight"]
    torch.testing.assert_close(entry[:, :3], trunk["input_layer.0.weight"])
    assert not entry[:, 3:].any()
    training.run(path)
    assert len(training.curve("restyle_psp", "code")) == 2 and len(training.curve("restyle_psp", "l2")) == 2
