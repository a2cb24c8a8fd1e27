"""The discriminator equals the official one at 256 and 1024 px."""

import copy

import pytest
import torch


@pytest.mark.parametrize(("size", "batch"), [(256, 4), (1024, 2)])
def test_logits_and_features(golden, discriminators, size, batch):
    net = discriminators[size]
    with torch.no_grad():
        features = net.features(golden.I(f"disc.x{size}", batch, size))
        logits = net.logits(features)
    assert golden.feature_error("discriminators", f"convs_{size}", features) < golden.tolerance
    assert golden.error("discriminators", f"out_{size}", logits) < golden.tolerance


def test_reference_operators(golden, discriminators):
    """Features do not mix pictures, so one is enough for the slow operators."""
    net = copy.deepcopy(discriminators[256])
    net.impl = "ref"
    with torch.no_grad():
        features = net.features(golden.I("disc.x256", 4, 256)[:1])
    expected = golden.expected("discriminators", "convs_256.sub")[:1]
    assert float((features[:, ::8] - expected).abs().max() / expected.abs().max()) < golden.tolerance
