"""A loss or a gradient that is no number stops every training before a network takes a step with it."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from bench.training.config import GeneratorConfig
from bench.training.data import PackedImages
from bench.training.finite import Diverged, finite_step, gradient_norm
from bench.training.generator import GeneratorTraining
from bench.training.recogniser import RecogniserConfig, RecogniserTraining
from bench.training.regressor import RegressorConfig, RegressorTraining

CPU = torch.device("cpu")
COMMON = {"id": "toy", "dataset": "toy", "domain": "toy", "images": 64, "batch": 4, "precision": "fp32"}


def pictures(side=16):
    rng = np.random.default_rng(0)
    return PackedImages([str(n) for n in range(24)], rng.integers(0, 256, (24, side, side, 3), np.uint8), None)


def recogniser(**changes):
    network = {"kind": "ir_se", "side": 32, "groups": [(16, 1), (20, 1)], "features": 8}
    spans = {"identities": (0, 4), "verified": (4, 6)}
    truth = pd.DataFrame({"identity": [f"p{n % 6}" for n in range(24)]})
    config = RecogniserConfig(**COMMON, **spans, network=network, format="safetensors", **changes)
    return RecogniserTraining(config, pictures(32), truth, CPU)


def regressor(**changes):
    truth = {"identity": [f"i{n:02d}" for n in range(24)], "bright": np.linspace(0, 1, 24)}
    truth |= {f"lm_{n:02d}_{axis}": np.linspace(0, 16, 24) for n in range(68) for axis in "xy"}
    spans = {"identities": (0, 16), "held_out": (16, 24)}
    config = RegressorConfig(**COMMON, **spans, side=16, widths=[4, 8], blocks=[1, 1], factors=["bright"], **changes)
    return RegressorTraining(config, pictures(), pd.DataFrame(truth), CPU)


def generator(**phase):
    phase = {"name": "only", "resolution": 8, "images": 64, "batch": 8, **phase}
    net = {"size": 8, "style_dim": 8, "n_mlp": 2, "channels": {4: 8, 8: 8}}
    config = GeneratorConfig.model_validate({"dataset": "toy", "domain": "toy", **net, "phases": [phase]})
    training = GeneratorTraining(config, pictures(8), torch.ones(3), None, CPU)
    training.enter_phase()
    return training


def poisoned(net):
    """The last weight of a network is no number any more."""
    with torch.no_grad():
        list(net.parameters())[-1].view(-1)[0] = math.nan
    return {key: value.clone() for key, value in net.state_dict().items()}


def assert_kept(net, before):
    for key, value in net.named_parameters():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0, equal_nan=True, msg=key)


@pytest.mark.parametrize(("make", "term"), [(recogniser, "arcface"), (regressor, "landmarks")])
def test_recogniser_and_regressor_stop(make, term):
    training = make()
    training.step()
    before = poisoned(training.net)
    with pytest.raises(Diverged, match=f"training of toy stopped at step 1: .*{term}.* not finite") as caught:
        training.step()
    assert "lower `lr` and go on with --resume" in str(caught.value)
    assert_kept(training.net, before)
    assert training.position == 4


@pytest.mark.parametrize("make", [recogniser, regressor])
def test_they_go_on_at_a_lower_rate_as_the_message_advises(make):
    training, other = make(), make(lr=1e-6)
    training.step()
    other.restore(training.state())
    before = {key: value.clone() for key, value in other.net.named_parameters()}
    other.step()
    moved = max(float((value - before[key]).abs().max()) for key, value in other.net.named_parameters())
    assert 0 < moved < 1e-5


def test_every_step_of_the_generator_stops():
    """Each of its optimisers by itself: encoder, discriminator, critic of codes, path length."""
    training = generator()
    training.step()
    before = poisoned(training.nets.encoder)
    with pytest.raises(Diverged, match="the generator in phase only stopped at step 1: reconstruction, prior"):
        training.step()
    assert_kept(training.nets.encoder, before)
    training = generator(adversarial=1)
    before = poisoned(training.nets.discriminator)
    with pytest.raises(Diverged, match="step 0: discriminator, real_logit, fake_logit"):
        training.step()
    assert_kept(training.nets.discriminator, before)
    training = generator(latent=1)
    training.queue = torch.randn(4096, 8)
    before = poisoned(training.nets.critic)
    with pytest.raises(Diverged, match="step 0: latent_critic"):
        training.step()
    assert_kept(training.nets.critic, before)
    training = generator(path=1)
    training.path_mean = torch.tensor(math.nan)
    with pytest.raises(Diverged, match="step 0: path_penalty"):
        training.step()


def test_a_gradient_may_be_wrong_where_the_loss_is_right():
    net = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(net.weight)
    loss = net(torch.ones(1, 2)).square().sum().sqrt()  # 0, and its slope there is not a number
    loss.backward()
    with pytest.raises(Diverged, match="stopped at step 7: gradient_norm not finite; got length 0, gradient_norm nan"):
        finite_step(torch.optim.SGD(net.parameters(), 1), "lengths", 7, {"length": loss}, "lower it")
    assert not net.weight.any()


def test_norm_of_gradients_and_how_they_are_clipped():
    a, b, c = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    a.grad, b.grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    assert gradient_norm([a, b, c]) == pytest.approx(5)
    assert gradient_norm([a, b, c], most=1) == pytest.approx(5), "before it is clipped"
    assert gradient_norm([a, b, c]) == pytest.approx(1, rel=1e-4) and c.grad is None
    assert gradient_norm([c]) == 0
