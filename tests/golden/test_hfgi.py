"""HFGI's own networks and its whole pipeline at 1024 px equal the official ones, and the tests can fail."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from bench.api import Context
from bench.generator import SharedGenerator
from bench.images import resize
from bench.nets import alignment, ops
from bench.nets.alignment import DistortionAligner
from bench.nets.consultation import ConsultationEncoder
from bench.nets.fusion import fuse
from bench.nets.latent_discriminator import LatentDiscriminator
from bench.nets.perspective import corners, warp
from methods.hfgi import Method

FAR = 50  # times the tolerance
PARTS = {"residue.": (ConsultationEncoder, 105), "grid_align.": (DistortionAligner, 106)}


def filled(golden, prefix):
    """A part of HFGI with the golden weights; its layout must be the published one, order included."""
    make, seed = PARTS[prefix]
    net = make().to(golden.device).eval().requires_grad_(False)
    shapes = {k.removeprefix(prefix): s for k, s in golden.shapes("hfgi").items() if k.startswith(prefix)}
    assert [(k, tuple(v.shape)) for k, v in net.state_dict().items()] == list(shapes.items())
    net.load_state_dict(golden.state(shapes, seed, prefix), strict=True)
    return net


@pytest.fixture(scope="module")
def consultation(golden):
    return filled(golden, "residue.")


@pytest.fixture(scope="module")
def aligner(golden):
    return filled(golden, "grid_align.")


def record(kind, x):
    """What data/README.md says is kept of a picture or feature map."""
    middle = slice(x.shape[-1] // 2 - 16, x.shape[-1] // 2 + 16)
    return {
        "crop": lambda: x[..., middle, middle],
        "avg64": lambda: F.adaptive_avg_pool2d(x, 64),
        "stats": lambda: torch.stack([x.mean((2, 3)), x.flatten(2).std(2)]),
        "sub16": lambda: x[:, ::16, ::4, ::4],
        "sub32": lambda: x[:, ::32, ::4, ::4],
    }[kind]()


def worst(golden, name, x, *kinds):
    """Worst error of the records of a result."""
    keys = {kind: f"{name}.sub" if kind.startswith("sub") else f"{name}.{kind}" for kind in kinds}
    return max(golden.error("hfgi", keys[kind], record(kind, x)) for kind in kinds)


# --- each network alone ---


def align_alone(golden, net):
    with torch.no_grad():
        return net(golden.I("ada.target", 2), golden.T("ada.delta", (2, 3, 256, 256), 0.3))


def test_aligner(golden, aligner):
    aligned = align_alone(golden, aligner)
    assert worst(golden, "ada_alone", aligned, "crop", "stats") < golden.tolerance
    assert worst(golden, "ada_alone", aligned[:1], "avg64") < golden.tolerance


def test_consultation_encoder(golden, consultation):
    with torch.no_grad():
        scale, shift = consultation(golden.T("residue.x", (2, 3, 256, 256), 0.3))[7]
    assert worst(golden, "residue_alone.scale", scale, "sub32", "stats") < golden.tolerance
    assert worst(golden, "residue_alone.shift", shift, "sub32", "stats") < golden.tolerance


def test_latent_discriminator(golden):
    net = LatentDiscriminator().to(golden.device).requires_grad_(False)
    net.load_state_dict(golden.state(golden.shapes("w_discriminator"), 110, "discriminator."), strict=True)
    w = golden.T("wdisc.w", (8, 512))
    assert golden.error("discriminators", "latent", net(w)) < golden.tolerance
    net.mlp[1].negative_slope = 0.01  # and it can fail
    assert golden.error("discriminators", "latent", net(w)) > FAR * golden.tolerance


# --- the whole pipeline, through the adapter ---


@pytest.fixture(scope="module")
def method(golden, generator_1024, consultation, aligner):
    """The adapter with golden weights, after the recorded codes (golden parity of encoders is another file's)."""
    shared = SharedGenerator(generator_1024, torch.zeros(512), "faces", golden.device)
    made = Method(Context("faces", shared, shared.device, dict), untrained=True, base_encoder="none")
    codes = golden.expected("hfgi", "codes")
    made.base = lambda x: codes.expand(len(x), -1, -1).clone()
    made.aligner, made.consultation = aligner, consultation
    return made


@pytest.fixture(scope="module")
def steps(golden, method):
    """Every intermediate result of one inversion and one edit."""
    seen = {}

    def spy(name):
        def hook(module, inputs, result):
            seen.setdefault(name, []).append(result)

        return hook

    handles = [method.aligner.register_forward_hook(spy("ada")), method.consultation.register_forward_hook(spy("maps"))]
    synthesize = method.generator.synthesize

    def recording(*arguments, **options):
        seen.setdefault("renders", []).append(synthesize(*arguments, **options))
        return seen["renders"][-1]

    method.generator.synthesize = recording
    with torch.no_grad():
        inversion = method.embed(golden.I("encoder.x", 1))
        method.render(inversion.w_plus, inversion)
        edited = inversion.w_plus + 3 * golden.T("direction", (1, 512), 0.05)
        method.render(edited, inversion)
    del method.generator.synthesize
    for handle in handles:
        handle.remove()
    return {"inversion": inversion, "edit_codes": edited, **seen}


def test_low_rate_renders(golden, steps):
    """Reconstruction and edit without consultation; each is rendered once."""
    initial, _, edit_initial, _ = steps["renders"]
    assert worst(golden, "initial", initial, "avg64", "crop", "stats") < golden.tolerance
    assert worst(golden, "edit_initial", edit_initial, "crop", "stats") < golden.tolerance


def test_distortion(golden, steps):
    assert worst(golden, "delta", steps["inversion"].memory["distortion"], "avg64") < golden.tolerance


def test_aligned_distortion(golden, steps):
    for name, aligned in zip(("ada", "edit_ada"), steps["ada"], strict=True):
        assert worst(golden, name, aligned, "avg64", "crop", "stats") < golden.tolerance


def test_latent_maps(golden, steps):
    (scale, shift), (edit_scale, _) = (maps[7] for maps in steps["maps"])
    for name, x in (("scale", scale), ("shift", shift), ("edit_scale", edit_scale)):
        assert worst(golden, name, x, "sub16", "stats") < golden.tolerance


def test_inversion_and_edit(golden, steps):
    _, inverted, _, edited = steps["renders"]
    assert golden.error("hfgi", "edit_codes", steps["edit_codes"]) < golden.tolerance
    assert worst(golden, "inversion", inverted, "avg64", "crop", "stats") < golden.tolerance
    assert worst(golden, "edited", edited, "avg64", "crop", "stats") < golden.tolerance
    assert worst(golden, "edited256", resize(edited, 256, "bilinear"), "crop", "stats") < golden.tolerance


# --- perspective ---


def warped_error(golden, endpoints, **options):
    x = torch.from_numpy(golden.fill.image("augment.x", 1, 2, 64, 8)).to(golden.device)
    warped = warp(x, endpoints.expand(2, -1, -1), **options)
    return float((warped - golden.expected("perspective", "warped")).abs().max())


def test_perspective(golden):
    assert warped_error(golden, golden.expected("perspective", "endpoints")) < 1e-6


def test_mistaken_perspective(golden):
    """Corners in another order, warped the other way, off by a pixel, border blended twice."""
    endpoints = golden.expected("perspective", "endpoints")
    assert warped_error(golden, endpoints.flip(0)) > 0.1
    assert warped_error(golden, 2 * corners(64, 64).to(endpoints) - endpoints) > 0.1
    assert warped_error(golden, endpoints + endpoints.new_tensor([0, 1])) > 0.1
    assert warped_error(golden, endpoints, blend=True) > 0.1


# --- mistakes ---


def inputs_exchanged(net, patch):
    right = net.forward
    patch.setattr(net, "forward", lambda target, distortion: right(distortion, target))


def aligned_corners(net, patch):
    patch.setattr(alignment, "resize", lambda x, size, how: F.interpolate(x, size, mode="bilinear", align_corners=True))


def nearest(net, patch):
    patch.setattr(alignment, "resize", lambda x, size, how: F.interpolate(x, size, mode="nearest"))


def skip_first(net, patch):
    """Skip connection before the coarse features in the concatenation."""
    right = torch.cat
    patch.setattr(
        alignment.torch, "cat", lambda parts, dim: right(parts[::-1] if parts[0].shape[1] > 3 else parts, dim)
    )


def batch_statistics(net, patch):
    patch.setattr(net.conv_layer1[1], "training", True)
    patch.setattr(net.conv_layer1[1], "momentum", 0.0)


@pytest.mark.parametrize("mistake", [inputs_exchanged, aligned_corners, nearest, skip_first, batch_statistics])
def test_mistake_in_the_aligner(golden, aligner, monkeypatch, mistake):
    mistake(aligner, monkeypatch)
    with torch.no_grad():
        aligned = aligner(golden.I("ada.target", 2)[:1], golden.T("ada.delta", (2, 3, 256, 256), 0.3)[:1])
    assert worst(golden, "ada_alone", aligned, "avg64") > FAR * golden.tolerance


def no_gain(net, patch):
    patch.setattr(ops, "GAIN", 1.0)


def other_slope(net, patch):
    patch.setattr(ops, "SLOPE", 0.01)


def maps_exchanged(net, patch):
    right = net.forward
    patch.setattr(net, "forward", lambda x: {k: maps[::-1] for k, maps in right(x).items()})


def pooled_shortcut(net, patch):
    """Shortcuts of the strided units average instead of taking every second pixel."""
    shortcut = net.conv_layer3[0].shortcut_layer
    right = shortcut.forward
    patch.setattr(shortcut, "forward", lambda x: right(F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)))


@pytest.mark.parametrize("mistake", [no_gain, other_slope, maps_exchanged, pooled_shortcut])
def test_mistake_in_the_consultation_encoder(golden, consultation, monkeypatch, mistake):
    mistake(consultation, monkeypatch)
    with torch.no_grad():
        scale, _ = consultation(golden.T("residue.x", (2, 3, 256, 256), 0.3))[7]
    assert worst(golden, "residue_alone.scale", scale, "sub32") > FAR * golden.tolerance


@pytest.mark.parametrize("how", ["area", "bilinear_aa"])
def test_mistaken_resampler(golden, steps, how):
    """Area is what the release trains with; it runs with plain bilinear."""
    small = resize(steps["renders"][0].clamp(-1, 1), 256, how)
    assert worst(golden, "delta", golden.I("encoder.x", 1) - small, "avg64") > FAR * golden.tolerance


def test_missing_clamp(golden, steps):
    """The smallest effect of all: few pixels of this render exceed 1."""
    small = resize(steps["renders"][0], 256, "bilinear")
    assert worst(golden, "delta", golden.I("encoder.x", 1) - small, "avg64") > 5 * golden.tolerance


def test_edit_aligned_to_the_inversion(golden, steps, aligner):
    """What one script of the release does."""
    distortion = steps["inversion"].memory["distortion"]
    target = golden.I("encoder.x", 1) - distortion
    with torch.no_grad():
        aligned = aligner(target, distortion)
    assert worst(golden, "edit_ada", aligned, "crop", "avg64") > 10 * golden.tolerance


def unfused(maps):
    return {}


def literal_equation(maps):
    """Eq. 5 with the release's maps."""
    return {7: partial(fuse, gate=maps[0], detail=maps[1])}


def next_layer(maps):
    return {8: lambda x: x * (1 + maps[0]) + maps[1]}


@pytest.mark.parametrize("mistake", [unfused, literal_equation, next_layer])
def test_mistaken_fusion(golden, method, steps, mistake):
    with torch.no_grad():
        picture = method.generator.synthesize(steps["inversion"].w_plus, consult=mistake(steps["maps"][0][7]))
    assert worst(golden, "inversion", picture, "avg64") > FAR * golden.tolerance
