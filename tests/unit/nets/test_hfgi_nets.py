"""Consultation encoder, aligner, latent discriminator, perspective warps, features: shapes, options, errors."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import resnet50
from torchvision.transforms.functional import perspective as reference

from bench.errors import BenchError, ShapeError, WeightsError
from bench.generator import SharedGenerator
from bench.nets.alignment import DistortionAligner, widths_in
from bench.nets.consultation import ConsultationEncoder
from bench.nets.identity import face_crop, similarity
from bench.nets.latent_discriminator import LatentDiscriminator
from bench.nets.moco import moco_from
from bench.nets.perspective import corners, draw_endpoints, random_perspective, warp
from bench.nets.statedict import filled, part


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval().requires_grad_(False)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape):
    return torch.randn(shape, generator=rng(1))


# --- consultation encoder ---


@pytest.mark.parametrize(
    ("layers", "form", "widths", "size"),
    [
        ({7: 24}, "release", (4, 6, 8), 256),  # 1024 px faces: a 64 px layer from the third stage
        ({7: 24}, "release", (4, 6), 128),  # 128 px: from the second
        ({5: 8, 6: 8, 7: 12}, "paper", (4, 6, 8), 128),  # 32, 32 and 64 px
        ({9: 8, 3: 5}, "paper", (4, 6), 32),  # a layer finer than the map: from the first stage
    ],
)
def test_maps_fit_the_layers(layers, form, widths, size):
    net = seeded(lambda: ConsultationEncoder(layers, form, widths, size))
    maps = net(noise(2, 3, size, size))
    sides = {3: 16, 5: 32, 6: 32, 7: 64, 9: 128}
    assert {n: tuple(m.shape for m in pair) for n, pair in maps.items()} == {
        n: ((2, c, sides[n], sides[n]),) * 2 for n, c in layers.items()
    }
    assert widths_in(net.state_dict()) == widths


def test_names_of_heads():
    """Published: numbered by stage; several layers: by layer."""
    release = ConsultationEncoder({7: 8}, "release", (4, 6), 128).state_dict()
    paper = ConsultationEncoder({7: 8, 8: 8}, "paper", (4, 6), 128).state_dict()
    heads = [{k.split(".")[0] for k in keys if not k.startswith("conv_")} for keys in (release, paper)]
    assert heads == [{"condition_scale2", "condition_shift2"}, {"gate7", "detail7", "gate8", "detail8"}]


@pytest.mark.parametrize("form", ["release", "paper"])
def test_consultation_reaches_the_generator(form):
    """Both forms give what their formula says at the consulted layer, and nothing before it."""
    toy = SharedGenerator.toy(32)
    net = seeded(lambda: ConsultationEncoder({3: 8}, form, (4, 6), 32))
    maps = net(noise(2, 3, 32, 32))
    w_plus = toy.sample_w(2, seed=3)
    _, plain = toy.net.synthesize(w_plus, return_features=[2, 3])
    _, fused = toy.net.synthesize(w_plus, consult=net.consult(maps), return_features=[2, 3])
    gate, detail = maps[3]
    expected = plain[3] * (gate if form == "paper" else 1 + gate) + detail
    torch.testing.assert_close(fused[3], expected)
    assert torch.equal(fused[2], plain[2])


def test_untrained_gates_are_open():
    """Paper's form: without detail in the map, features pass."""
    net = seeded(lambda: ConsultationEncoder({3: 8}, "paper", (4, 6), 32))
    assert torch.equal(net.get_submodule("gate3")[2].bias, torch.ones(8))
    assert torch.equal(net.get_submodule("detail3")[2].bias, torch.zeros(8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({7: 8, 8: 8}, "release"), r"cannot consult these layers; got \[7, 8\]; expected one layer"),
        (({}, "paper"), "expected one layer or more"),
        (({7: 8}, "gated"), "unknown form of fusion; got 'gated'"),
        (({7: 8}, "release", (4, 6, 8), 128), "stage 3 of the .* would feed no layer.*expected 2 widths"),
    ],
)  # fmt: skip
def test_impossible_consultation(arguments, message):
    with pytest.raises(BenchError, match=message):
        ConsultationEncoder(*arguments)


def test_consultation_refuses_another_side():
    with pytest.raises(ShapeError, match="distortion"):
        ConsultationEncoder({7: 8}, "release", (4, 6), 128)(noise(1, 3, 64, 64))


# --- aligner ---


@pytest.mark.parametrize("widths", [(4, 6, 8, 10), (4, 6, 8), (4, 6)])
@pytest.mark.parametrize("size", [(64, 64), (50, 36)])
def test_aligner_takes_any_size_and_depth(widths, size):
    net = seeded(lambda: DistortionAligner(widths))
    aligned = net(noise(2, 3, *size), noise(2, 3, *size))
    assert aligned.shape == (2, 3, *size) and aligned.isfinite().all()
    assert widths_in(net.state_dict()) == widths


def test_aligner_uses_both_inputs_and_mixes_no_pictures():
    net = seeded(lambda: DistortionAligner((4, 6, 8)))
    target, distortion = noise(2, 3, 32, 32), noise(2, 3, 32, 32).flip(0)
    together = net(target, distortion)
    apart = torch.cat([net(target[n : n + 1], distortion[n : n + 1]) for n in range(2)])
    torch.testing.assert_close(together, apart)
    assert not torch.allclose(net(target.flip(3), distortion), together)
    assert not torch.allclose(net(target, distortion.flip(3)), together)


def test_aligner_errors():
    net = seeded(lambda: DistortionAligner((4, 6)))
    with pytest.raises(ShapeError, match="distortion"):
        net(noise(1, 3, 32, 32), noise(1, 3, 16, 16))
    with pytest.raises(ShapeError, match="target"):
        net(noise(1, 6, 32, 32), noise(1, 6, 32, 32))
    with pytest.raises(BenchError, match="two stages"):
        DistortionAligner((4,))


# --- latent discriminator, identity, MoCo ---


def test_latent_discriminator_judges_single_codes():
    net = seeded(lambda: LatentDiscriminator(16, 8, 2))
    assert net(noise(5, 16)).shape == (5, 1)
    with pytest.raises(ShapeError, match="w has the wrong shape"):
        net(noise(5, 4, 16))


def test_face_crop_is_where_it_should_be():
    x = torch.zeros(1, 3, 256, 256)
    x[:, :, 35:223, 32:220] = 1
    assert torch.equal(face_crop(x), torch.ones(1, 3, 112, 112))
    assert face_crop(x.roll(-1, 2))[0, 0, -1].max() < 1 and face_crop(x.roll(1, 3))[0, 0, :, 0].max() < 1
    with pytest.raises(ShapeError, match="pictures"):
        face_crop(noise(1, 3, 128, 128))


def test_similarity():
    a = F.normalize(noise(3, 8), dim=1)
    torch.testing.assert_close(similarity(a, a), torch.ones(3))
    torch.testing.assert_close(similarity(a, -a), -torch.ones(3))
    with pytest.raises(ShapeError):
        similarity(a, a[:1])


def test_moco_is_resnet_50():
    """torchvision's ResNet-50 with the same weights; its key names are those of the published file."""
    theirs = seeded(lambda: resnet50(weights=None), seed=7)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics that a wrong order or a missing norm would show
            module.running_mean.normal_(std=0.1, generator=rng(2))
            module.running_var.uniform_(0.5, 1.5, generator=rng(3))
    ours = moco_from({**theirs.state_dict(), "fc.2.weight": noise(1)}, "weights 'moco_v2'")
    theirs.fc = torch.nn.Identity()
    x = noise(1, 3, 256, 256)
    expected = F.normalize(theirs(F.interpolate(x, size=224)), dim=1)
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-6)
    assert float((ours(x.flip(1)) - expected).abs().max()) > 1e-3  # and it can fail


# --- perspective ---


def test_untouched_corners_change_nothing():
    x = noise(2, 3, 24, 32)
    torch.testing.assert_close(warp(x, corners(24, 32).expand(2, -1, -1)), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("blend", [False, True])
def test_each_picture_has_its_own_warp(blend):
    """Against torchvision, one picture at a time, not square."""
    x, endpoints = noise(3, 4, 24, 32), draw_endpoints(3, 24, 32, 0.5, rng(4))
    warped = warp(x, endpoints, blend)
    for n in range(3):
        fill = [0.0] * 4 if blend else None
        expected = reference(x[n : n + 1], corners(24, 32).tolist(), endpoints[n].tolist(), fill=fill)
        torch.testing.assert_close(warped[n : n + 1], expected, rtol=0, atol=1e-4)  # rounding of the grid, on noise


@pytest.mark.parametrize(("size", "scale", "most"), [((256, 256), 0.15, (19, 19)), ((20, 60), 0.5, (15, 5))])
def test_corners_move_inwards_by_whole_pixels(size, scale, most):
    moves = draw_endpoints(2000, *size, scale, rng()) - corners(*size)
    inwards = moves * torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    for axis, far in enumerate(most):  # every value is drawn, for every corner, the last one too
        for corner in range(4):
            assert inwards[:, corner, axis].unique().tolist() == list(range(far + 1))


def test_draws_are_the_generators_alone():
    first = draw_endpoints(4, 64, 64, 0.3, rng(5))
    torch.manual_seed(123)
    assert torch.equal(draw_endpoints(4, 64, 64, 0.3, rng(5)), first)
    assert not torch.equal(draw_endpoints(4, 64, 64, 0.3, rng(6)), first)
    assert len(first.unique(dim=0)) == 4
    assert len(draw_endpoints(4, 64, 64, 0.3, rng(5), shared=True).unique(dim=0)) == 1


def test_probability():
    x = noise(400, 1, 8, 8)
    assert torch.equal(random_perspective(x, rng(), 0.9, probability=0.0), x)
    changed = (random_perspective(x, rng(), 0.9, probability=0.25) != x).flatten(1).any(1)
    assert 60 < int(changed.sum()) < 140
    everything = [(random_perspective(x, rng(n), 0.9, 0.5, shared=True) != x).flatten(1).any(1) for n in range(20)]
    counts = {int(c.sum()) for c in everything}
    assert 0 in counts and max(counts) == 400 and len(counts) == 2  # all or none


def test_gradient_passes_the_warp():
    x = noise(1, 1, 8, 8).requires_grad_()
    warp(x, draw_endpoints(1, 8, 8, 0.5, rng())).sum().backward()
    assert x.grad.abs().sum() > 0


def test_perspective_errors():
    with pytest.raises(BenchError, match="scale out of range"):
        draw_endpoints(1, 8, 8, 1.5, rng())
    with pytest.raises(ShapeError, match="endpoints"):
        warp(noise(2, 1, 8, 8), corners(8, 8)[None])
    with pytest.raises(BenchError, match="no perspective"):
        warp(noise(1, 1, 8, 8), torch.zeros(1, 4, 2))
    with pytest.raises(ShapeError, match="batch of pictures"):
        random_perspective(noise(1, 8, 8), rng())


# --- filling networks ---


def test_filled_network_is_frozen_and_shares_its_tensors():
    state = seeded(lambda: LatentDiscriminator(8, 4, 1)).state_dict()
    net = filled(lambda: LatentDiscriminator(8, 4, 1), state, "weights 'x'")
    assert torch.equal(net(noise(2, 8)), seeded(lambda: LatentDiscriminator(8, 4, 1))(noise(2, 8)))
    assert not net.training and not any(p.requires_grad for p in net.parameters())
    assert net.mlp[0].weight.data_ptr() == state["mlp.0.weight"].data_ptr()


def test_counters_may_be_absent():
    state = seeded(lambda: DistortionAligner((4, 6))).state_dict()
    bare = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert len(bare) < len(state)
    net = filled(lambda: DistortionAligner((4, 6)), bare, "weights 'x'")
    x = noise(1, 3, 16, 16)
    assert torch.equal(net(x, x), seeded(lambda: DistortionAligner((4, 6)))(x, x))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("mlp.0.bias"), "missing: mlp.0.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "unexpected: extra"),
        (lambda s: s.update({"mlp.2.bias": torch.zeros(2)}), r"other shape: mlp.2.bias \(2,\) for \(1,\)"),
    ],
)
def test_misfit_is_named(spoil, message):
    state = dict(LatentDiscriminator(8, 4, 1).state_dict())
    spoil(state)
    with pytest.raises(WeightsError, match=f"weights 'x' do not fit LatentDiscriminator; got {message}"):
        filled(lambda: LatentDiscriminator(8, 4, 1), state, "weights 'x'")


def test_part():
    assert part({"residue.a": noise(1), "grid_align.a": noise(1)}, "residue.").keys() == {"a"}
