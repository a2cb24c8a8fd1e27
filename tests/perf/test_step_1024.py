"""One step of every training at the size of the papers, on networks of the published layouts with start values.

A step takes minutes and up to 12 GB on a CPU, so they run with the timings:
``pytest tests/perf/test_step_1024.py -m perf -s``; with ``--device cuda`` on a GPU, where five steps more are timed.
"""

import math
import resource
import time
from pathlib import Path

import pytest
import torch
from torchvision.models import alexnet

from bench.api import Context
from bench.generator import SharedGenerator
from bench.nets.encoders import ProgressiveEncoder
from bench.nets.identity import arcface_ir_se50
from bench.nets.stylegan2 import Discriminator, Generator
from bench.registry import methods
from bench.training.loop import Loop
from bench.training.preset import read_preset

ROOT = Path(__file__).parents[2]
MOST = 24 * 2**30  # bytes
MORE = 5  # steps that are timed after the first, on a GPU


class Pictures:
    """Noise of the training pictures' size."""

    ids = ("0", "1")

    def batch(self, rows, flip):
        return torch.rand(len(rows), 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1, None


def started(preset, device):
    """The method on a 1024 px generator, as `bench train` starts it."""
    device = torch.device(device)
    files = {
        "e4e_ffhq": lambda: {
            **{f"encoder.{k}": v for k, v in ProgressiveEncoder(18, 512).state_dict().items()},
            "latent_avg": torch.zeros(18, 512),
        },
        "stylegan2_ffhq/discriminator": lambda: Discriminator(1024).state_dict(),
        "arcface_ir_se50": lambda: arcface_ir_se50().state_dict(),
        "lpips_alex": lambda: {f"features.{k}": v for k, v in alexnet().features.state_dict().items()},
    }
    generator = SharedGenerator(Generator(1024), torch.zeros(512), "faces", device)
    kind = methods(ROOT).load(preset.method)
    method = kind.__new__(kind)  # setup() would ask for trained weights
    method.context = Context("faces", generator, device, lambda name: files[name]())
    method.generator, method.device, method.opt = generator, generator.device, dict(kind.options)
    method.start_training({**kind.training, **preset.options}, preset.weights)
    return method


def peak_bytes(device):
    """Most memory so far: of the accelerator, or of the process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def one_step(folder, name, batch, device, capsys):
    """The training after one step, its state before, and what the step reported; prints losses and peak memory."""
    preset = read_preset(ROOT / "weights" / folder / f"{name}.yaml")
    more = MORE if device == "cuda" else 0
    preset = preset.model_copy(update={"batch": batch, "images": (2 + more) * batch, "flip": False})
    torch.manual_seed(0)
    loop = Loop(preset, started(preset, device), Pictures(), torch.device(device))
    before = {key: value.clone() for key, value in loop.net.state_dict().items()}
    nets = [loop.method.generator.net, *([loop.method.base] if hasattr(loop.method, "base") else [])]
    still = [(p, p.clone()) for net in nets for p in net.parameters()]
    start = time.perf_counter()
    report = loop.step()
    if more:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(more):
            loop.step()
        torch.cuda.synchronize()
    seconds, peak = (time.perf_counter() - start) / max(more, 1), peak_bytes(device)
    with capsys.disabled():
        values = ", ".join(f"{key} {value:.4g}" for key, value in report.items())
        print(f"\n{folder}/{name}: peak memory {peak / 2**30:.1f} GiB, {seconds:.2f} s a step of {batch}, {values}")
    assert all(map(math.isfinite, report.values())) and peak < MOST
    assert all(torch.equal(now, old) for now, old in still), "generator and base encoder are frozen"
    return loop, before, report


@pytest.mark.perf
@pytest.mark.parametrize("name", ["paper", "release"])
def test_one_step_of_hfgi_at_full_size(name, device, capsys):
    loop, before, report = one_step(name, "hfgi", 2, device, capsys)
    moved = {key.split(".")[0] for key, value in loop.net.state_dict().items() if not torch.equal(value, before[key])}
    assert moved >= {"residue", "grid_align"}
    expected = {"l2", "perceptual", "identity", "align"} | ({"adversarial", "image_r1"} if name == "paper" else set())
    assert set(report) >= expected


@pytest.mark.perf
@pytest.mark.parametrize("name", ["psp", "e4e", "restyle_psp", "restyle_e4e"])
def test_one_step_of_an_encoder_at_full_size(name, device, capsys):
    loop, before, report = one_step("paper", name, 1, device, capsys)
    moved = {key.split(".")[0] for key, value in loop.net.state_dict().items() if not torch.equal(value, before[key])}
    assert moved >= {"input_layer", "body", "styles"}
    judged = {"delta", "latent_adversarial", "latent_discriminator"} if "e4e" in name else set()
    assert set(report) >= {"l2", "perceptual", "identity"} | judged
