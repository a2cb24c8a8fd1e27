"""Adapters of pSp, e4e and ReStyle, and encoders out of weights. Golden parity is in tests/golden."""

import pytest
import torch

from bench.api import Context, DatasetInfo
from bench.errors import BenchError, WeightsError
from bench.generator import SharedGenerator
from bench.images import resize
from bench.nets.encoder_state import arguments_in, encoder_from, mean_latent, view
from bench.nets.encoders import (
    BackboneEncoder,
    FPNEncoder,
    ProgressiveBackboneEncoder,
    ProgressiveEncoder,
    ProgressiveResNetEncoder,
    ResNetEncoder,
)
from methods import e4e, psp, restyle_e4e, restyle_psp

ADAPTERS = {
    psp: FPNEncoder,
    e4e: ProgressiveEncoder,
    restyle_psp: BackboneEncoder,
    restyle_e4e: ProgressiveBackboneEncoder,
}
RESTYLE = {
    restyle_psp: (BackboneEncoder, ResNetEncoder),
    restyle_e4e: (ProgressiveBackboneEncoder, ProgressiveResNetEncoder),
}
GROUPS = [(16, 1), (20, 2), (24, 1)]


def made(kind, n_styles=8, style_dim=16, input_size=32, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return kind(n_styles, style_dim, groups=GROUPS, input_size=input_size, **options).eval()


def published(encoder, **more):
    """A state dict in the published layout."""
    latent_avg = 0.1 * torch.arange(8 * 16).reshape(8, 16) / 128
    return {**{f"encoder.{k}": v for k, v in encoder.state_dict().items()}, "latent_avg": latent_avg, **more}


@pytest.fixture(scope="module")
def toy():
    return SharedGenerator.toy(32)


@pytest.fixture(scope="module")
def x(toy):
    return toy.synthesize(toy.sample_w(3, seed=5)).clamp(-1, 1)


def build(adapter, toy, encoder, domain="toy", state=None, **options):
    """The adapter as if these weights had been published for the domain."""
    cls = type("Method", (adapter.Method,), {"weights": {domain: "trained"}})
    state = published(encoder) if state is None else state
    return cls(Context(domain, toy, toy.device, {"trained": state}.__getitem__), **options)


# --- weights ---


@pytest.mark.parametrize("kind", [*ADAPTERS.values(), ResNetEncoder, ProgressiveResNetEncoder])
@pytest.mark.parametrize("input_size", [32, 64])
def test_arguments_are_read_off_the_weights(kind, input_size):
    encoder = made(kind, input_size=input_size)
    found = arguments_in(encoder.state_dict(), "them")
    expected = {"n_styles": 8, "style_dim": 16, "channels_in": encoder.channels_in, "groups": GROUPS,
                "input_size": input_size, "head_width": 16, "se": True}  # fmt: skip
    assert found == {k: v for k, v in expected.items() if k in found}
    rebuilt = encoder_from(encoder.state_dict(), (kind,), "them")
    pictures = torch.rand(1, encoder.channels_in, input_size, input_size)
    with torch.no_grad():
        assert torch.equal(rebuilt(pictures), encoder(pictures))


@pytest.mark.parametrize("options", [{"se": False}, {"taps": (0, 2, 1, 0, 1, 2, 2, 2)}, {"taps": (0, 1) * 4},
                                     {"taps": (0,) * 8}])  # fmt: skip
def test_units_and_taps_are_read_off_the_weights(options):
    encoder = made(FPNEncoder, **options)
    rebuilt = encoder_from(encoder.state_dict(), (FPNEncoder,), "them")
    assert isinstance(rebuilt, FPNEncoder) and rebuilt.taps == encoder.taps
    pictures = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(rebuilt(pictures), encoder(pictures))


@pytest.mark.parametrize(
    ("adapter", "kind", "message"),
    [
        (psp, BackboneEncoder, "not those of FPNEncoder; got an IR trunk for 6 channels; expected 3 channels"),
        (psp, ResNetEncoder, "not those of FPNEncoder; got a ResNet trunk"),
        (restyle_psp, FPNEncoder, "not those of BackboneEncoder or ResNetEncoder; got an IR trunk for 3 channels"),
    ],
)
def test_weights_of_another_system(toy, adapter, kind, message):
    with pytest.raises(WeightsError, match=f"weights 'trained' are {message}"):
        build(adapter, toy, made(kind))


def test_pyramid_given_to_restyle(toy):
    with pytest.raises(WeightsError, match="do not fit BackboneEncoder.*unexpected: styles.3.convs.4.weight"):
        build(restyle_psp, toy, made(FPNEncoder, channels_in=6))


def test_damaged_weights(toy):
    encoder = made(FPNEncoder)
    lacking = published(encoder)
    del lacking["encoder.body.1.res_layer.4.running_var"]
    with pytest.raises(WeightsError, match="missing: body.1.res_layer.4.running_var"):
        build(psp, toy, encoder, state=lacking)
    with pytest.raises(WeightsError, match="'trained' hold no encoder"):
        build(psp, toy, encoder, state={"latent_avg": torch.zeros(16)})


def test_weights_for_another_generator(toy):
    with pytest.raises(WeightsError, match="another generator; got 10 codes of 16; expected 8 of 16"):
        build(psp, toy, made(FPNEncoder, n_styles=10))


def test_mean_code_in_every_published_shape():
    rows = torch.randn(8, 16)
    for stored in (rows[0], rows[:1]):
        assert torch.equal(mean_latent({"latent_avg": stored}, 8, 16, "them"), rows[:1].expand(8, -1))
    assert torch.equal(mean_latent({"latent_avg": rows}, 8, 16, "them"), rows)
    for wrong in ({}, {"latent_avg": torch.zeros(18, 16)}, {"latent_avg": torch.zeros(512)}):
        with pytest.raises(WeightsError, match="them lack a mean code"):
            mean_latent(wrong, 8, 16, "them")


def test_no_weights_for_the_domain(toy):
    reason = e4e.Method.skip(DatasetInfo("cats", "cats", 256, 10))
    assert reason == "no weights for domain 'cats'; there are some for: annyfaces, cars, church, faces, horse"
    with pytest.raises(WeightsError, match="no weights for domain 'toy'; expected one of: annyfaces, faces"):
        psp.Method(Context("toy", toy, toy.device, dict))


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_untrained_is_the_same_everywhere_and_leaves_the_random_state(adapter, toy, x):
    def codes(seed):
        torch.manual_seed(seed)
        method = adapter.Method(Context("toy", toy, toy.device, dict), **adapter.Method.quick)
        assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(seed)))
        with torch.no_grad():
            return method.embed(x).w_plus

    assert torch.equal(codes(0), codes(1))


# --- what an encoder sees ---


def test_square_pictures_are_resized_whole():
    picture = torch.rand(1, 3, 64, 64)
    assert view(picture, 64, "area") is not None and torch.equal(view(picture, 64, "area"), picture)
    for how in ("area", "bilinear_aa"):
        assert torch.equal(view(picture, 32, how), resize(picture, 32, how))


@pytest.mark.parametrize(("side", "rows"), [(512, slice(64, 448)), (256, slice(32, 224))])
def test_cars_are_cut_out(side, rows):
    picture = torch.rand(1, 3, side, side)
    assert torch.equal(view(picture, (192, 256), "area"), resize(picture[:, :, rows], (192, 256), "area"))


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_cars_are_seen_flat(adapter, toy, x):
    """The same tensors serve both aspects; the domain says which."""
    method = build(adapter, toy, made(ADAPTERS[adapter], input_size=(24, 32)), "cars")
    assert method.encoder.input_size == (24, 32)
    moved = x.clone()
    moved[:, :, :4], moved[:, :, -4:] = 1, -1  # bars above and below
    with torch.no_grad():
        assert method.embed(x).w_plus.shape == (3, 8, 16)
        assert torch.equal(method.embed(x).w_plus, method.embed(moved).w_plus)


# --- steps ---


@pytest.mark.parametrize("adapter", [psp, e4e])
def test_codes_are_relative_to_the_encoders_mean_code(adapter, toy, x):
    encoder = made(ADAPTERS[adapter])
    with torch.no_grad():
        inversion = build(adapter, toy, encoder).embed(x)
        assert torch.equal(inversion.w_plus, encoder(x) + published(encoder)["latent_avg"])
    assert not inversion.memory and inversion.rate() == 8 * 16


def test_pictures_are_reduced_with_antialias(toy):
    generator = SharedGenerator.toy(64)
    encoder = made(FPNEncoder, n_styles=10)
    state = published(encoder, latent_avg=torch.zeros(16))
    x = generator.synthesize(generator.sample_w(1, seed=5)).clamp(-1, 1)
    with torch.no_grad():
        w_plus = build(psp, generator, encoder, state=state).embed(x).w_plus
        assert torch.equal(w_plus, encoder(resize(x, 32, "bilinear_aa")))
        assert not torch.allclose(w_plus, encoder(resize(x, 32, "area")), atol=1e-5)


@pytest.mark.parametrize(("adapter", "trunk"), [(a, n) for a in RESTYLE for n in (0, 1)])
def test_steps_of_restyle(adapter, trunk, toy, x):
    """Written out: each step corrects the codes before it, looking at their render."""
    encoder = made(RESTYLE[adapter][trunk])
    latent_avg = published(encoder)["latent_avg"]
    found = build(adapter, toy, encoder, steps=3)
    with torch.no_grad():
        steps = found.latents_per_step(x)
        w_plus, render = latent_avg, toy.synthesize(latent_avg[None]).expand(3, -1, -1, -1)
        for step in steps:
            w_plus = w_plus + encoder(torch.cat([x, render], 1))
            torch.testing.assert_close(step, w_plus)
            render = toy.synthesize(w_plus)
        inversion = found.embed(x)
        assert len(steps) == 3 and torch.equal(inversion.w_plus, steps[-1])
        assert torch.equal(inversion.steps, torch.stack(steps, 1)) and inversion.rate() == steps[0][0].numel()
        assert torch.equal(inversion[1:].steps, inversion.steps[1:])
        assert not torch.allclose(steps[0], steps[1], atol=1e-4) and not torch.allclose(steps[1], steps[2], atol=1e-4)


@pytest.mark.parametrize("adapter", RESTYLE)
def test_fewer_steps_are_the_first_steps(adapter, toy, x):
    """So that one run of many steps shows them all; nothing is rendered that is not looked at."""
    encoder, calls, right = made(ADAPTERS[adapter]), [], toy.synthesize
    many, few = (build(adapter, toy, encoder, steps=n) for n in (4, 2))
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, "synthesize", lambda w_plus: calls.append(1) or right(w_plus))
        steps = many.latents_per_step(x)
        assert len(calls) == 3
        assert torch.equal(few.embed(x).w_plus, steps[1])
    assert adapter.Method.options["steps"] == 5


def test_progress_is_reported_per_step(toy, x):
    method, seen = build(restyle_psp, toy, made(BackboneEncoder), steps=4), []
    method.context.progress = seen.append
    with torch.no_grad():
        method.embed(x)
    assert seen == [0.25, 0.5, 0.75, 1.0]


def test_no_steps(toy, x):
    with pytest.raises(BenchError, match="ReStyle needs a step; got 0"):
        build(restyle_psp, toy, made(BackboneEncoder), steps=0).embed(x)
