"""Golden vectors and the networks filled with their weights, made once per session."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench.nets.stylegan2 import Discriminator, Generator

DATA = Path(__file__).parent / "data"


def _module(path):
    spec = importlib.util.spec_from_file_location(f"golden_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def error(actual, expected):
    """Largest absolute difference over the largest absolute expected value."""
    assert actual.shape == expected.shape, f"{tuple(actual.shape)} against {tuple(expected.shape)}"
    return float((actual - expected).abs().max() / expected.abs().max())


def statistics(x):
    """(2, B, C): mean and standard deviation of each channel."""
    return torch.stack([x.mean((2, 3)), x.flatten(2).std(2)])


class Golden:
    """Inputs, weights, expected outputs and how they are compared; see data/README.md."""

    tolerance, gradient_tolerance = 1e-4, 1e-3

    def __init__(self, device="cpu"):
        self.device = device
        self.fill = _module(DATA / "fill.py")
        self.fingerprints = json.loads((DATA / "fingerprints.json").read_text())
        self._arrays = {}

    def expected(self, file, key):
        """One recorded array."""
        if file not in self._arrays:
            with np.load(DATA / f"{file}.npz") as arrays:
                self._arrays[file] = {k: torch.from_numpy(arrays[k]).to(self.device) for k in arrays.files}
        return self._arrays[file][key]

    def shapes(self, name):
        """Key -> shape of a published file, in its order."""
        listed = json.loads((DATA / f"keys_{name}.json").read_text())["state_dict"]
        return {key: tuple(shape) for key, (shape, _) in listed.items()}

    def state(self, shapes, seed, prefix):
        """A filled state dict."""
        return {k: torch.from_numpy(v).to(self.device) for k, v in self.fill.fill(shapes, seed, prefix).items()}

    def T(self, key, shape, std=1.0):  # noqa: N802 - the name used in data/README.md
        return torch.from_numpy((std * self.fill.normal(key, shape, 1)).astype(np.float32)).to(self.device)

    def I(self, key, batch, size=256):  # noqa: E743, N802 - the name used in data/README.md
        return torch.from_numpy(self.fill.image(key, 1, batch, size)).to(self.device)

    def error(self, file, key, actual):
        """Error of an array against a recorded one."""
        return error(actual, self.expected(file, key))

    def picture_error(self, name, picture):
        """Worst error of the three records of a picture."""
        middle = slice(picture.shape[-1] // 2 - 32, picture.shape[-1] // 2 + 32)
        small, crop = F.adaptive_avg_pool2d(picture, 64), picture[..., middle, middle]
        parts = {"avg64": small, "crop": crop, "stats": statistics(picture)}
        return max(self.error("generator", f"{name}.{k}", v) for k, v in parts.items())

    def feature_error(self, file, name, features):
        """Worst error of the two records of a feature map."""
        step = max(1, features.shape[-1] // 16)
        parts = {"sub": features[:, ::8, ::step, ::step], "stats": statistics(features)}
        return max(self.error(file, f"{name}.{k}", v) for k, v in parts.items())


@pytest.fixture(scope="session", autouse=True)
def two_threads():
    """1024 px networks on a CPU: two threads halve the time; the tolerances cover the difference."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def golden(device):
    """On the device of ``--device``: networks, inputs and recorded arrays are all there."""
    return Golden(device)


@pytest.fixture(scope="session")
def state_1024(golden):
    return golden.state(golden.shapes("stylegan2_g_ema"), 100, "decoder.")


@pytest.fixture(scope="session")
def generator_1024(golden, state_1024):
    net = Generator(1024).to(golden.device).eval().requires_grad_(False)
    net.load_state_dict(state_1024, strict=True)
    return net


@pytest.fixture(scope="session")
def discriminators(golden):
    nets = {}
    for size in (256, 1024):
        nets[size] = Discriminator(size).to(golden.device).eval().requires_grad_(False)
        nets[size].load_state_dict(golden.state(golden.shapes(f"stylegan2_d_{size}"), 109, "d."), strict=True)
    return nets


@pytest.fixture()
def generator_64(golden, state_1024):
    """The layers of the 1024 px network up to 64 px, made anew for each test so that a test may spoil it."""
    net = Generator(64).to(golden.device).eval().requires_grad_(False)
    net.load_state_dict({k: state_1024[k] for k in net.state_dict()}, strict=True)
    return net
