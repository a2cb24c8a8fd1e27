"""Recognisers of the embedded domain: crop, and networks out of weights."""

import numpy as np
import pytest
import torch

from bench.errors import UnknownName, WeightsError
from bench.measures.faces import ARCFACE_POINTS, FFHQ_POINTS
from bench.nets.moco import MocoFeatures
from bench.nets.recogniser import aligned_crop, build, identity_features, recogniser_from
from bench.nets.reconstruction import OPTIONS as RECONSTRUCTION
from bench.nets.reconstruction import Reconstruction

IR_SE = {"kind": "ir_se", "side": 16, "groups": [(16, 1), (32, 2)], "features": 6}


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = build(IR_SE).train()
        net(torch.rand(4, 3, net.side, net.side) * 2 - 1)  # statistics that are not those of the start
    return net.eval()


# --- crop ---


def test_crop_puts_the_face_where_arcface_wants_it():
    """Points of an aligned picture, cut out, against insightface's template in 112 px, its middle at the picture's."""
    cut = (FFHQ_POINTS - 1 / 8) / (3 / 4) * 112
    assert np.abs(cut - (ARCFACE_POINTS + [8.0, 0.0])).max() < 6
    assert np.abs(cut.mean(0) - (ARCFACE_POINTS + [8.0, 0.0]).mean(0)).max() < 3


def test_crop_is_the_middle():
    x = torch.zeros(1, 3, 128, 128)
    x[:, :, 16:112, 16:112] = 1
    assert aligned_crop(x, 96).min() == 1 and aligned_crop(x, 64).shape == (1, 3, 64, 64)


# --- weights ---


def test_recogniser_of_losses_comes_from_its_weights_alone():
    net = network()
    state = {key: value for key, value in net.state_dict().items() if value.is_floating_point()}
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = net.of_pictures(x)
        assert torch.equal(recogniser_from(state, "weights 'toy'").of_pictures(x), expected)
        assert torch.equal(identity_features(state, "weights 'toy'", torch.device("cpu"))(x), expected)
    assert torch.allclose(expected.norm(dim=1), torch.ones(2))
    with pytest.raises(WeightsError, match="toy"):
        recogniser_from({"trunk.input_layer.0.weight": torch.zeros(1)}, "weights 'toy'")


def test_unknown_kinds_are_named():
    with pytest.raises(UnknownName, match="kind of recogniser 'mobile'; expected one of: ir_se, residual"):
        build({**IR_SE, "kind": "mobile"})


def test_identity_outside_faces_is_moco_s():
    """Weights of `moco_v2` reach the loss as those of a recogniser do; what is neither is refused."""
    torch.manual_seed(0)
    net = MocoFeatures(depths=(1, 2), width=4).eval()
    state = {**net.state_dict(), "fc.0.weight": torch.ones(2, 32)}  # with the head of the pre-training
    features = identity_features(state, "weights 'moco_v2'", torch.device("cpu"))
    losses = Reconstruction(RECONSTRUCTION, {"identity": 0.5}, torch.device("cpu"), features)
    x = torch.rand(2, 3, 48, 48) * 2 - 1
    x_hat = (x + 0.3 * torch.randn_like(x)).requires_grad_(True)
    loss = losses(x_hat, x)["identity"]
    torch.testing.assert_close(loss, (1 - (net(x_hat) * net(x)).sum(1)).mean())
    loss.backward()
    assert x_hat.grad.abs().max() > 0 and loss > 0
    assert float(losses(x, x)["identity"]) == pytest.approx(0, abs=1e-6)
    del state["layer2.1.bn3.weight"]
    with pytest.raises(WeightsError, match=r"'moco_v2'.*layer2\.1\.bn3\.weight"):
        identity_features(state, "weights 'moco_v2'", torch.device("cpu"))
