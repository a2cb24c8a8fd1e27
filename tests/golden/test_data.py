"""The filled weights are the ones the official network ran with, and our networks have exactly the published keys."""

import hashlib

import numpy as np
import pytest
import torch

from bench.nets.stylegan2 import Discriminator, Generator

FILES = {"stylegan2_g_ema": (100, "decoder."), "stylegan2_d_256": (109, "d."), "stylegan2_d_1024": (109, "d.")}


def digest(arrays):
    sha = hashlib.sha256()
    for key in sorted(arrays):
        sha.update(key.encode())
        sha.update(np.ascontiguousarray(arrays[key], dtype=np.float32).tobytes())
    return sha.hexdigest()


@pytest.mark.parametrize("name", FILES)
def test_fingerprint(golden, name):
    arrays = golden.fill.fill(golden.shapes(name), *FILES[name])
    assert digest(arrays) == golden.fingerprints[name]["sha256"]
    assert sum(a.size for a in arrays.values()) == golden.fingerprints[name]["elements"]


@pytest.mark.parametrize("name", FILES)
def test_published_layout(golden, name):
    """Same keys, order and shapes; on the meta device, so that nothing is computed."""
    with torch.device("meta"):
        net = Generator(1024) if "g_ema" in name else Discriminator(int(name.rsplit("_", 1)[1]))
    assert [(k, tuple(v.shape)) for k, v in net.state_dict().items()] == list(golden.shapes(name).items())
