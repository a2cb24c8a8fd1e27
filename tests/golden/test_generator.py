"""The 1024 px generator equals the official one: pictures, features on the way, mapping, truncation, gradient."""

import pytest
import torch
import torch.nn.functional as F

LAYERS = ("conv1", "convs.3", "convs.6", "convs.7", "convs.15")


@pytest.fixture(scope="module", params=["fast", "ref"])
def rendered(request, golden, generator_1024):
    """Picture and features of 'gen.w' with stored noise, by both implementations."""
    generator_1024.impl = request.param
    with torch.no_grad():
        result = generator_1024.synthesize(golden.T("gen.w", (1, 18, 512), 0.5), return_features=LAYERS)
    generator_1024.impl = "fast"
    return result


def test_picture(golden, rendered):
    assert golden.picture_error("image", rendered[0]) < golden.tolerance


def test_features(golden, rendered):
    features = rendered[1]
    assert golden.error("generator", "conv1_4", features["conv1"]) < golden.tolerance
    assert golden.error("generator", "feat.conv2_16", features["convs.3"][:, ::2]) < golden.tolerance
    for name, layer in (("feat.conv1_64", "convs.6"), ("feat.conv2_64", "convs.7"), ("feat.last", "convs.15")):
        assert golden.feature_error("generator", name, features[layer]) < golden.tolerance


def test_mapping(golden, generator_1024):
    w = generator_1024.mapping(golden.T("gen.z", (4, 512)))
    assert golden.error("generator", "mapping.w", w) < golden.tolerance


def test_truncation(golden, generator_1024):
    average = golden.state({"latent_avg": (18, 512)}, 112, "")["latent_avg"][0]
    with torch.no_grad():
        w = generator_1024.truncate(generator_1024.mapping(golden.T("gen.z1", (1, 512))), 0.7, average)
        picture = generator_1024.synthesize(generator_1024.repeat_w(w))
    assert golden.error("generator", "trunc.w", w) < golden.tolerance
    assert golden.picture_error("trunc.image", picture) < golden.tolerance


def test_zero_noise(golden, generator_1024):
    w_plus = generator_1024.repeat_w(golden.T("gen.wb", (1, 512), 0.5))
    with torch.no_grad():
        picture = generator_1024.synthesize(w_plus, noise="zero")
    assert golden.picture_error("zero_noise.image", picture) < golden.tolerance


def test_gradient(golden, generator_1024):
    w_plus = golden.T("gen.w", (1, 18, 512), 0.5).requires_grad_()
    small = F.adaptive_avg_pool2d(generator_1024.synthesize(w_plus), 256)
    loss = F.mse_loss(small, golden.I("vjp.target", 1))
    loss.backward()
    assert golden.error("generator_gradient", "loss", loss.detach()) < golden.tolerance
    assert golden.error("generator_gradient", "grad_w", w_plus.grad) < golden.gradient_tolerance


def test_features_of_a_smaller_network(golden, generator_64):
    """One class for every size: the layers up to 64 px, in a network that ends there."""
    w_plus = golden.T("gen.w", (1, 18, 512), 0.5)[:, : generator_64.n_latent]
    _, features = generator_64.synthesize(w_plus, return_features=["convs.7"])
    assert golden.feature_error("generator", "feat.conv2_64", features["convs.7"]) < golden.tolerance
