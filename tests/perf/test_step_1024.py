"""One step of HFGI's training at the size of the paper, on networks of the published layouts with start values.

It takes minutes and about 10 GB, so it runs with the timings: ``pytest tests/perf/test_step_1024.py -m perf -s``.
"""

import math
import resource
from pathlib import Path

import pytest
import torch

from bench.api import Context
from bench.generator import SharedGenerator
from bench.nets.encoders import ProgressiveEncoder
from bench.nets.identity import arcface_ir_se50
from bench.nets.stylegan2 import Discriminator, Generator
from bench.training.loop import Loop
from bench.training.preset import read_preset
from methods.hfgi import Method

ROOT = Path(__file__).parents[2]
MOST = 24 * 2**30  # bytes


class Pictures:
    """Noise of the training pictures' size."""

    ids = ("0", "1")

    def batch(self, rows, flip):
        return torch.rand(len(rows), 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1, None


def started(preset):
    """The method on a 1024 px generator, as `bench train` starts it."""
    files = {
        "e4e_ffhq": lambda: {
            **{f"encoder.{k}": v for k, v in ProgressiveEncoder(18, 512).state_dict().items()},
            "latent_avg": torch.zeros(18, 512),
        },
        "stylegan2_ffhq_discriminator": lambda: Discriminator(1024).state_dict(),
        "arcface_ir_se50": lambda: arcface_ir_se50().state_dict(),
    }
    generator = SharedGenerator(Generator(1024), torch.zeros(512), "faces")
    method = Method.__new__(Method)
    method.context = Context("faces", generator, torch.device("cpu"), lambda name: files[name]())
    method.generator, method.device, method.opt = generator, generator.device, dict(Method.options)
    method.start_training({**Method.training, **preset.options}, preset.weights)
    return method


@pytest.mark.perf
@pytest.mark.parametrize("name", ["paper", "release"])
def test_one_step_at_full_size(name, capsys):
    preset = read_preset(ROOT / "weights" / name / "hfgi.yaml")
    preset = preset.model_copy(update={"batch": 2, "images": 4, "flip": False})
    torch.manual_seed(0)
    loop = Loop(preset, started(preset), Pictures(), torch.device("cpu"))
    before = {key: value.clone() for key, value in loop.net.state_dict().items()}
    frozen = [p.clone() for p in loop.method.base.parameters()]
    report = loop.step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with capsys.disabled():
        print(f"\n{name}: peak memory {peak / 2**30:.1f} GiB,", ", ".join(f"{k} {v:.4g}" for k, v in report.items()))
    assert all(map(math.isfinite, report.values())) and peak < MOST
    moved = {key.split(".")[0] for key, value in loop.net.state_dict().items() if not torch.equal(value, before[key])}
    assert moved >= {"residue", "grid_align"}
    assert all(torch.equal(now, old) for now, old in zip(loop.method.base.parameters(), frozen, strict=True))
    expected = {"l2", "perceptual", "identity", "align"} | ({"adversarial", "image_r1"} if name == "paper" else set())
    assert set(report) >= expected
