"""The first methods: ceiling, floor, optimisation. The contract common to all is in tests/contract."""

import math

import pytest
import torch

from bench.api import Context, UnknownName
from bench.contract.check_method import TOLERANCE
from bench.generator import SharedGenerator
from methods.copy_input import Method as CopyInput
from methods.latent_avg import Method as LatentAvg
from methods.optimize_w_plus import Method as Optimize

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def toy():
    return SharedGenerator.toy(32)


def build(method, toy, **options):
    def refuse(weights_id):
        raise AssertionError(f"asked for weights {weights_id}")

    return method(Context("toy", toy, toy.device, refuse), **options)


@pytest.fixture(scope="module")
def x(toy):
    """Pictures the toy can make, so that optimisation has somewhere to go."""
    return toy.synthesize(toy.sample_w(3, seed=5)).clamp(-1, 1)


def invert(method, x):
    with torch.no_grad():
        inversion = method.embed(x)
        return inversion, method.render(inversion.w_plus, inversion)


def error(x_hat, x):
    return (x_hat - x).square().mean((1, 2, 3))


def test_ceiling_is_perfect_and_pays_for_it(toy, x):
    inversion, x_hat = invert(build(CopyInput, toy), x)
    assert torch.equal(x_hat, x)
    assert inversion.rate() == toy.n_latent * toy.style_dim + 3 * 32 * 32
    x_hat.zero_()
    assert torch.equal(inversion.memory["picture"], x)  # neither source nor memory is the result's storage


def test_floor_is_the_mean_picture(toy, x):
    inversion, x_hat = invert(build(LatentAvg, toy), x)
    torch.testing.assert_close(x_hat, toy.synthesize(toy.latent_avg[None]).expand(3, -1, -1, -1))
    assert inversion.rate() == toy.n_latent * toy.style_dim and not inversion.memory


def test_optimisation_beats_the_floor(toy, x):
    floor = error(invert(build(LatentAvg, toy), x)[1], x)
    inversion, x_hat = invert(build(Optimize, toy, steps=60, perceptual_size=32), x)
    assert (error(x_hat, x) < 0.2 * floor).all()
    assert inversion.w_plus.shape == (3, toy.n_latent, toy.style_dim) and not inversion.w_plus.requires_grad
    assert not torch.allclose(inversion.w_plus[:, 0], inversion.w_plus[:, 1])  # W+, not W


def test_more_steps_are_better(toy, x):
    few, many = (error(invert(build(Optimize, toy, steps=n), x)[1], x).mean() for n in (5, 40))
    assert many < few


@pytest.mark.parametrize("perceptual", [0.0, 0.1])
def test_together_equals_one_by_one(toy, x, perceptual):
    """The steps of a picture do not depend on its batch; what is left is rounding, amplified by Adam's division."""
    method = build(Optimize, toy, steps=30, perceptual=perceptual)
    together = invert(method, x)[1]
    apart = torch.cat([invert(method, x[n : n + 1])[1] for n in range(3)])
    assert float((together - apart).abs().max()) < TOLERANCE["slow"]


def test_a_broken_picture_spoils_no_other(toy, x):
    method = build(Optimize, toy, steps=5)
    broken = x.clone()
    broken[1] = float("nan")
    inversion, _ = invert(method, broken)
    sound, _ = invert(method, x)
    assert inversion.w_plus[1].isnan().any()
    torch.testing.assert_close(inversion.w_plus[[0, 2]], sound.w_plus[[0, 2]], rtol=1e-3, atol=1e-4)


def test_no_steps_is_the_floor(toy, x):
    inversion, _ = invert(build(Optimize, toy, steps=0), x)
    assert torch.equal(inversion.w_plus, toy.latent_avg.expand(3, -1, -1))


def test_perceptual_weight_changes_the_result_and_zero_builds_no_network(toy, x):
    plain, weighted = build(Optimize, toy, steps=5, perceptual=0.0), build(Optimize, toy, steps=5, perceptual=1.0)
    assert plain.distance is None and weighted.distance is not None
    assert not torch.equal(invert(plain, x)[0].w_plus, invert(weighted, x)[0].w_plus)


def test_rate_schedule(toy):
    method = build(Optimize, toy, steps=100, ramp_up=0.1, ramp_down=0.5, perceptual=0.0)
    rates = [method.ramp(step / 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0)
    assert rates[10:51] == pytest.approx([1.0] * 41)
    assert rates[75] == pytest.approx(0.5) and 0 < rates[99] < 0.01
    level = build(Optimize, toy, steps=10, ramp_up=0.0, ramp_down=0.0, perceptual=0.0)
    assert [level.ramp(step / 10) for step in range(10)] == pytest.approx([1.0] * 10)
    assert not any(math.isnan(rate) for rate in rates)


def test_first_step_is_in_units_of_the_spread_of_w(toy, x):
    """Adam's first step is its rate, whatever the gradient."""
    method = build(Optimize, toy, steps=1, lr=0.5, ramp_up=0.0, ramp_down=0.0, perceptual=0.0)
    step = (invert(method, x)[0].w_plus - toy.latent_avg).abs()
    assert float(step.max()) == pytest.approx(0.5 * method.latent_std, rel=1e-3)


def test_progress_is_reported(toy, x):
    method, seen = build(Optimize, toy, steps=4, perceptual=0.0), []
    method.context.progress = seen.append
    invert(method, x)
    assert seen == [0.25, 0.5, 0.75, 1.0]


def test_unknown_option(toy):
    with pytest.raises(UnknownName, match="option of method 'optimize_w_plus'.*did you mean 'steps'"):
        build(Optimize, toy, step=3)
