"""The loop alone, on a method without pictures' cost: exactness of passes, averages, rates and refusals."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from bench import api
from bench.errors import BenchError, UnknownName
from bench.generator import SharedGenerator
from bench.training import precision
from bench.training.data import PackedImages
from bench.training.finite import Diverged
from bench.training.loop import Loop
from bench.training.optimizers import make_optimizer
from bench.training.preset import OptimizerSettings, Preset
from bench.training.world import World

CPU = torch.device("cpu")


class Line(api.TrainableMethod):
    """A convolution (and a batch norm) that copies pictures; an opponent that guesses their mean."""

    def __init__(self, norm=False, inner=1, noisy=False):
        self.context = api.Context("toy", SharedGenerator.toy(8), CPU, load_weights=lambda name: {})
        self.generator, self.device, self.inner = self.context.generator, CPU, inner
        self.noisy = noisy
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 3, 3, padding=1)] + ([nn.BatchNorm2d(3)] if norm else [])
        self.net, self.critic, self.poison = nn.Sequential(*layers), nn.Linear(3, 1), None

    def trainable(self):
        return self.net

    def discriminators(self):
        return {"judge": self.critic}

    def training_losses(self, x, rng, seen):
        for _ in range(self.inner):
            y = self.net(x) + self.noisy * torch.randn_like(x)  # as fresh noise of a render
            self.means = y.mean((2, 3)).detach()
            loss = (y - x).square().mean()
            yield {
                "copy": loss * math.nan if seen == self.poison else loss,
                "fool": -self.critic(y.mean((2, 3))).mean(),
            }

    def discriminator_loss(self, name, x, rng, step):
        return {"judge": (self.critic(self.means) - x.mean((1, 2, 3)).unsqueeze(1)).square().mean()}


def preset(**changes):
    settings = {
        "method": "line",
        "dataset": "toy",
        "domain": "toy",
        "images": 64,
        "batch": 8,
        "optimizer": {"lr": 0.01},
        "opponents": {"judge": {"lr": 0.01}},
        "weights": {"copy": 1, "fool": 0.1, "judge": 1},
    }
    return Preset.model_validate({**settings, **changes})


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return PackedImages([str(n) for n in range(24)], rng.integers(0, 255, (24, 8, 8, 3), np.uint8), None)


def loop_of(pictures, method=None, **changes):
    return Loop(preset(**changes), method or Line(), pictures, CPU)


def run(loop, steps):
    return [loop.step() for _ in range(steps)]


def tensors(loop):
    return {**loop.net.state_dict(), **{f"judge.{k}": v for k, v in loop.discriminators["judge"].state_dict().items()}}


def assert_same(a, b, **tolerance):
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], msg=key, **(tolerance or {"rtol": 0, "atol": 0}))


def test_losses_fall_and_only_the_trained_networks_move(pictures):
    loop = loop_of(pictures, images=800)
    before = {k: v.clone() for k, v in loop.method.generator.net.state_dict().items()}
    reports = list(loop.steps())
    assert np.mean([r["copy"] for r in reports[-10:]]) < 0.3 * reports[0]["copy"]
    assert_same(before, loop.method.generator.net.state_dict())


@pytest.mark.parametrize("norm", [False, True])
def test_passes_add_up_to_the_batch(pictures, norm):
    """Micro-batches give the batch's gradient; with batch norms, statistics are those of the passes, by definition."""
    whole, cut = (loop_of(pictures, Line(norm), micro_batch=micro) for micro in (8, 2))
    reports = run(whole, 3), run(cut, 3)
    if norm:
        with pytest.raises(AssertionError):
            assert_same(tensors(whole), tensors(cut), rtol=1e-4, atol=1e-6)
    else:
        assert_same(tensors(whole), tensors(cut), rtol=1e-5, atol=1e-6)
        for one, other in zip(*reports, strict=True):  # the gradient too: Adam would hide its scale
            assert one == pytest.approx(other, rel=1e-4)


def test_running_statistics_do_not_depend_on_the_order_of_passes(pictures):
    """The mean of what each pass alone would have made: here by hand, for one step of two passes."""
    loop = loop_of(pictures, Line(norm=True), micro_batch=4)
    rows, flips = loop.sampler.rows(0, 8), loop.sampler.flips(0, 8)
    x = pictures.batch(rows, flips)[0]
    means = [Line(norm=True).net[0](part).mean((0, 2, 3)) for part in x.split(4)]
    loop.step()
    torch.testing.assert_close(loop.net[1].running_mean, 0.1 * torch.stack(means).mean(0), rtol=1e-5, atol=1e-6)


def test_inner_steps_add_their_gradients(pictures):
    once, thrice = loop_of(pictures), loop_of(pictures, Line(inner=3))
    one, three = once.step(), thrice.step()
    assert three["copy"] == pytest.approx(3 * one["copy"]) and three["gradient_norm"] == pytest.approx(
        3 * one["gradient_norm"]
    )


def test_opponents_do_not_learn_from_the_methods_losses(pictures):
    """Without its own loss an opponent stays as it is, although the method's gradient passes through it."""
    loop = loop_of(pictures, weights={"copy": 1, "fool": 1, "judge": 0})
    before = {k: v.clone() for k, v in loop.method.critic.state_dict().items()}
    run(loop, 2)
    assert_same(before, dict(loop.method.critic.state_dict()))


def test_state_continues_exactly(pictures):
    options = {"micro_batch": 4, "ema_images": 16, "decay_images": 32, "clip": 0.5}
    whole = loop_of(pictures, Line(norm=True, noisy=True), **options)
    first = run(whole, 3)
    saved = {k: v for k, v in whole.state().items()}
    saved = torch.load(_stored(saved), weights_only=True)
    rest = run(whole, 5)
    other = loop_of(pictures, Line(norm=True, noisy=True), **options)
    torch.manual_seed(123)  # whatever happened in the process before
    other.restore(saved)
    assert run(other, 5) == rest and first
    assert_same(tensors(whole), tensors(other))
    assert_same(whole.average.state_dict(), other.average.state_dict())


def _stored(state):
    import io

    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return stream


def test_average_follows_with_its_half_life(pictures):
    loop = loop_of(pictures, ema_images=8, optimizer={"lr": 0.0001})
    start = loop.net[0].weight.detach().clone()
    run(loop, 1)
    torch.testing.assert_close(loop.average[0].weight, (start + loop.net[0].weight) / 2)


def test_rates_rise_and_fall():
    made = preset(images=80, warm_up_images=16, decay_images=40)
    assert [made.rate(p) for p in (0, 8, 16, 40, 60, 72)] == [0.5, 1, 1, 1, 0.5, 0.2]


def test_rates_by_name():
    net = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    made = make_optimizer(net, OptimizerSettings(lr=0.1, factors={"head.weight": 10}))
    assert [(len(g["params"]), g["initial_lr"]) for g in made.param_groups] == [(3, 0.1), (1, 1.0)]
    with pytest.raises(BenchError, match="tail"):
        make_optimizer(net, OptimizerSettings(lr=0.1, factors={"tail": 10}))
    with pytest.raises(UnknownName, match="adam"):
        make_optimizer(net, OptimizerSettings(name="adan", lr=0.1))
    with pytest.raises(BenchError, match="momentum"):
        make_optimizer(net, OptimizerSettings(lr=0.1, options={"momentum": 1}))


def test_divergence_names_step_and_term_and_changes_nothing(pictures):
    loop = loop_of(pictures)
    loop.method.poison = 16
    run(loop, 2)
    before = {k: v.clone() for k, v in tensors(loop).items()}
    with pytest.raises(Diverged, match="step 2: copy") as caught:
        loop.step()
    assert "gradient_norm" in str(caught.value) and "--resume" in str(caught.value)
    assert_same(before, tensors(loop))


def test_an_opponents_gradient_is_checked_and_reported(pictures):
    """Its loss is 0, the slope of a root there is not a number: neither network takes the step."""
    loop = loop_of(pictures)
    assert loop.step()["judge_gradient_norm"] > 0
    judge = loop.method.critic

    def root_of_nothing(name, x, rng, step):
        return {"judge": (0 * judge(loop.method.means)).square().sum().sqrt()}

    loop.method.discriminator_loss = root_of_nothing
    before = {k: v.clone() for k, v in tensors(loop).items()}
    with pytest.raises(Diverged, match="step 1: judge_gradient_norm not finite"):
        loop.step()
    assert_same(before, tensors(loop))


@pytest.fixture
def half(monkeypatch):
    """Let the CPU stand in for a GPU: the arithmetic is the same."""
    monkeypatch.setattr(precision, "FP16_ON", ("cuda", "cpu"))


def test_half_precision_trains_as_single_does(pictures, half):
    """Scaled, unscaled before they are clipped and reported: the same steps up to rounding."""
    options = {"clip": 0.01, "micro_batch": 4}
    single, other = loop_of(pictures, **options), loop_of(pictures, precision="fp16", **options)
    for one, two in zip(run(single, 5), run(other, 5), strict=True):
        assert two.pop("skipped") == 0
        assert one == pytest.approx(two, rel=0.02, abs=1e-3)
    assert_same(tensors(single), tensors(other), rtol=0.02, atol=2e-3)


def test_a_step_that_overflows_is_left_out_and_reported(pictures, half):
    """Nothing moves, the scale is halved, the pictures count as drawn; with the scale at its least it is divergence."""
    loop = loop_of(pictures, Line(norm=True), precision="fp16", ema_images=16, images=640)
    run(loop, 1)
    before = {k: v.clone() for k, v in tensors(loop).items() if "num_batches" not in k}
    scale, average = loop.state()["scale"]["scale"], loop.average[0].weight.clone()
    losses = loop.method.training_losses
    loop.method.training_losses = lambda *given: ({**t, "copy": t["copy"] * 1e6} for t in losses(*given))
    report = loop.step()
    assert report["skipped"] == 1 and "gradient_norm" not in report and report["copy"] > 1
    assert loop.state()["scale"]["scale"] == scale / 2 and loop.position == 16
    assert_same(before, {k: v for k, v in tensors(loop).items() if "num_batches" not in k})
    assert torch.equal(loop.average[0].weight, average)
    saved = torch.load(_stored(loop.state()), weights_only=True)
    other = loop_of(pictures, Line(norm=True), precision="fp16", ema_images=16, images=640)
    other.restore(saved)
    assert other.state()["scale"] == loop.state()["scale"]
    loop.method.training_losses = losses
    assert loop.step()["skipped"] == 0
    loop.restore({**saved, "scale": {**saved["scale"], "scale": 1.0}})
    loop.method.training_losses = lambda *given: ({**t, "copy": t["copy"] * 1e12} for t in losses(*given))
    with pytest.raises(Diverged, match="gradient_norm not finite"):
        loop.step()


def test_half_precision_is_refused_where_there_is_no_gpu(pictures):
    with pytest.raises(BenchError, match="precision fp16 needs a GPU; got cpu. Fix: set `precision: bf16`"):
        loop_of(pictures, precision="fp16")


def test_settings_that_do_not_fit(pictures):
    with pytest.raises(BenchError, match="no weight for the losses fool"):
        loop_of(pictures, weights={"copy": 1, "judge": 1}).step()
    with pytest.raises(BenchError, match="no optimizer for judge"):
        loop_of(pictures, opponents={})
    with pytest.raises(BenchError, match="3 processes"):
        Loop(preset(), Line(), pictures, CPU, world=World(0, 3))
    with pytest.raises(ValueError, match="micro_batch"):
        preset(micro_batch=3)
    with pytest.raises(ValueError, match="no multiple of batch"):
        preset(images=63)
