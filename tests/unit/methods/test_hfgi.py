"""The adapter: order of steps, one path for inversion and edit, options, weights. Golden parity is in tests/golden."""

import re

import pytest
import torch

from bench.api import Context, DatasetInfo, Inversion, UnknownName, WeightsError
from bench.generator import SharedGenerator
from bench.images import resize
from bench.nets.alignment import DistortionAligner
from bench.nets.consultation import ConsultationEncoder
from bench.nets.encoders import FPNEncoder, ProgressiveEncoder
from methods.hfgi import Method


@pytest.fixture(scope="module")
def toy():
    return SharedGenerator.toy(32)


@pytest.fixture(scope="module")
def x(toy):
    return toy.synthesize(toy.sample_w(3, seed=5)).clamp(-1, 1)


class Trained(Method):
    """The adapter as if weights for the toy domain had been published."""

    weights, unpublished = {"toy": "hfgi_toy"}, {}


OPTIONS = {"base_encoder": "none", "layers": [3], "distortion_size": 32}


def state(form="release"):
    """Deterministic weights in the published layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        parts = {"residue.": ConsultationEncoder({3: 8}, form, (4, 6), 32), "grid_align.": DistortionAligner((4, 6, 8))}
    made = {prefix + key: value for prefix, net in parts.items() for key, value in net.state_dict().items()}
    return {**made, "latent_avg": 0.1 * torch.ones(8, 16)}


def build(toy, form="release", **options):
    return Trained(Context("toy", toy, toy.device, {"hfgi_toy": state(form)}.__getitem__), **{**OPTIONS, **options})


def invert(method, x, shift=0.0):
    with torch.no_grad():
        inversion = method.embed(x)
        return inversion, method.render(inversion.w_plus + shift if shift else inversion.w_plus, inversion)


def test_steps_are_those_of_the_paper(toy, x):
    """Inversion and edit, written out."""
    method = build(toy)
    for shift in (0.0, 0.3):
        inversion, x_hat = invert(method, x, shift)
        with torch.no_grad():
            w_plus = toy.latent_avg.repeat(3, 1, 1)
            distortion = x - toy.synthesize(w_plus).clamp(-1, 1)
            aligned = method.aligner(toy.synthesize(w_plus + shift).clamp(-1, 1), distortion)
            scale, detail = method.consultation(aligned)[3]
            expected = toy.synthesize(w_plus + shift, consult={3: lambda f, s=scale, d=detail: f * (1 + s) + d})
        torch.testing.assert_close(inversion.w_plus, w_plus)
        torch.testing.assert_close(inversion.memory["distortion"], distortion)
        torch.testing.assert_close(x_hat, expected)
        assert inversion.rate() == 8 * 16 + 3 * 32 * 32


@pytest.mark.parametrize(
    "option", [{"consult": False}, {"align": False}, {"fusion": "image"}, {"distortion_size": 16, "layers": [2]}]
)
def test_options_change_the_picture(toy, x, option):
    if "distortion_size" in option:
        option = {**option, "untrained": True}
        assert invert(build(toy, **option), x)[0].memory["distortion"].shape == (3, 3, 16, 16)
    assert not torch.allclose(invert(build(toy, **option), x)[1], invert(build(toy), x)[1], atol=1e-3)


def test_without_consultation_it_is_the_base_encoder(toy, x):
    inversion, x_hat = invert(build(toy, consult=False), x)
    assert torch.equal(x_hat, toy.synthesize(inversion.w_plus)) and not inversion.memory


def test_image_space_returns_the_source(toy, x):
    """The unaligned map added to the picture: perfect where the render stays in range, and stuck under edits."""
    method = build(toy, align=False, fusion="image")
    inversion, x_hat = invert(method, x)
    x_hat_o = toy.synthesize(inversion.w_plus)
    inside = x_hat_o.abs() <= 1
    torch.testing.assert_close(x_hat[inside], x[inside])
    edited = invert(method, x, 0.3)[1]
    torch.testing.assert_close(edited, toy.synthesize(inversion.w_plus + 0.3) + inversion.memory["distortion"])


def test_paper_form(toy, x):
    method = build(toy, form="paper", fusion="paper", align=False)
    inversion, x_hat = invert(method, x)
    gate, detail = method.consultation(inversion.memory["distortion"])[3]
    torch.testing.assert_close(x_hat, toy.synthesize(inversion.w_plus, consult={3: (gate, detail)}))


def test_resampler_is_that_of_the_renders(toy, x):
    """The source is reduced with antialiasing like any picture; the rule for renders is the option."""
    method = build(toy, untrained=True, distortion_size=16, layers=[2], resampler="area")
    inversion = invert(method, x)[0]
    render = resize(toy.synthesize(inversion.w_plus).clamp(-1, 1), 16, "area")
    torch.testing.assert_close(inversion.memory["distortion"], resize(x, 16, "bilinear_aa") - render)


def test_two_renders_for_an_inversion(toy, x, monkeypatch):
    """As in the release: the render that gave the map is not made again to align it; for other codes it is."""
    method, calls = build(toy), []
    right = toy.synthesize
    monkeypatch.setattr(toy, "synthesize", lambda *a, **k: calls.append(1) or right(*a, **k))
    inversion, x_hat = invert(method, x)
    assert len(calls) == 2
    with torch.no_grad():
        edited = method.render(inversion.w_plus + 0.3, inversion)
        again = method.render(inversion.w_plus, inversion)
    assert len(calls) == 6 and torch.equal(again, x_hat) and not torch.allclose(edited, x_hat)


def test_what_is_remembered_is_not_the_callers_to_spoil(toy, x):
    method = build(toy)
    inversion, x_hat = invert(method, x)
    inversion.w_plus += 0.3
    with torch.no_grad():
        moved = method.render(inversion.w_plus, inversion)
        fresh = build(toy).render(inversion.w_plus, Inversion(inversion.w_plus, inversion.memory))
    assert torch.equal(moved, fresh) and not torch.allclose(moved, x_hat)


def test_gradients_are_not_cut_by_what_is_remembered(toy, x):
    method = build(toy)
    inversion = invert(method, x)[0]
    w_plus = inversion.w_plus.clone().requires_grad_()
    (grad,) = torch.autograd.grad(method.low_rate(w_plus).sum(), w_plus)
    assert grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["e4e", "psp"])
def test_base_encoder_has_the_shape_of_its_weights(toy, x, name):
    """Groups, widths and side of the input are read off the tensors; its mean code comes with it."""
    kind = {"e4e": ProgressiveEncoder, "psp": FPNEncoder}[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        net = kind(8, 16, groups=((16, 1), (32, 2), (48, 1)), input_size=32).eval()
    own = {f"encoder.{key}": value for key, value in net.state_dict().items()}
    held = {"hfgi_toy": {**state(), **own}, "other": {**own, "latent_avg": torch.zeros(1, 16)}}
    context = Context("toy", toy, toy.device, held.__getitem__)
    method = Trained(context, **{**OPTIONS, "base_encoder": name})
    w_plus = invert(method, x)[0].w_plus
    torch.testing.assert_close(w_plus, net(x) + 0.1)
    swapped = Trained(context, **{**OPTIONS, "base_encoder": name, "base_weights": {"toy": "other"}})
    torch.testing.assert_close(invert(swapped, x)[0].w_plus, net(x))
    assert not torch.allclose(w_plus[0], w_plus[1], atol=1e-4)


def test_no_weights_for_the_domain(toy):
    with pytest.raises(WeightsError, match="no weights for domain 'toy'"):
        Method(Context("toy", toy, toy.device, dict))
    info = DatasetInfo("cars_test", "cars", 512, 10)
    published_none = "its authors published none for it \\(issue 19 of their repository asks, without an answer\\)"
    assert re.fullmatch(
        f"no weights for domain 'cars': {published_none}; there are some for: .*faces", Method.skip(info)
    )
    assert Trained.skip(info) == "no weights for domain 'cars'; there are some for: toy"
    assert Trained.skip(DatasetInfo("t", "toy", 32, 10)) is None


def test_weights_of_another_form(toy):
    with pytest.raises(WeightsError, match="weights 'hfgi_toy' do not fit ConsultationEncoder; got missing: gate3"):
        build(toy, fusion="paper")


def test_unknown_names(toy):
    with pytest.raises(UnknownName, match="option of method.*did you mean 'consult'"):
        build(toy, consul=True)
    with pytest.raises(UnknownName, match="base encoder 'e5e'.*did you mean 'e4e'"):
        build(toy, base_encoder="e5e")
