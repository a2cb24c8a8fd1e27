"""HFGI on every base encoder, its weights in one file or two, and what differs by domain."""

import pytest
import torch

from bench.api import Context
from bench.errors import WeightsError
from bench.generator import SharedGenerator
from bench.images import resize
from bench.nets import encoders
from bench.nets.alignment import DistortionAligner
from bench.nets.consultation import ConsultationEncoder
from bench.nets.restyle import refine
from bench.nets.stylegan2 import Generator
from bench.weights import manifest as weights
from methods.hfgi import BASE_ENCODERS, Method

GROUPS = [(16, 1), (20, 2), (24, 1)]
MEAN = 0.1 * torch.arange(8 * 16).reshape(8, 16) / 128
KINDS = [(name, kind) for name, kinds in BASE_ENCODERS.items() for kind in kinds]


@pytest.fixture(scope="module")
def toy():
    return SharedGenerator.toy(32)


@pytest.fixture(scope="module")
def x(toy):
    return toy.synthesize(toy.sample_w(3, seed=5)).clamp(-1, 1)


def encoder_state(kind, mean=MEAN):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        net = kind(8, 16, groups=GROUPS, input_size=32, head_width=6).eval()
    held = {f"encoder.{key}": value for key, value in net.state_dict().items()}
    return net, held if mean is None else {**held, "latent_avg": mean}


def own_state(layers, size, channels=8, widths=(4, 6), fusion="release"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        nets = {
            "residue.": ConsultationEncoder(dict.fromkeys(layers, channels), fusion, widths, size),
            "grid_align.": DistortionAligner((4, 6, 8)),
        }
    return {prefix + key: value for prefix, net in nets.items() for key, value in net.state_dict().items()}


def build(toy, held, domain="toy", **options):
    cls = type("Method", (Method,), {"weights": {domain: "own"}})
    return cls(Context(domain, toy, toy.device, held.__getitem__), **options)


SMALL = {"layers": [3], "distortion_size": 32}


@pytest.mark.parametrize(("name", "kind"), KINDS)
@pytest.mark.parametrize("apart", [True, False])
def test_every_base_encoder(toy, x, name, kind, apart):
    """One pass, or ReStyle's steps from the render of its mean code; weights in one file or two."""
    net, base = encoder_state(kind)
    own = own_state([3], 32)
    held = {"own": own, "base": base} if apart else {"own": {**own, **base}}
    where = {"base_weights": {"toy": "base", "cars": "no"}} if apart else {}
    method = build(toy, held, base_encoder=name, base_steps=2, **where, **SMALL)
    with torch.no_grad():
        if name.startswith("restyle"):
            steps = refine(net, toy.synthesize, x, MEAN, toy.synthesize(MEAN[None]), 2)
            expected = list(steps)[-1]
        else:
            expected = net(x) + MEAN
        inversion = method.embed(x)
        torch.testing.assert_close(inversion.w_plus, expected)
        assert method.render(inversion.w_plus, inversion).shape == x.shape
    assert sum(p.numel() for p in method.base.parameters()) == sum(p.numel() for p in net.parameters())


def test_one_file_is_read_once(toy):
    asked = []
    own = {**own_state([3], 32), **encoder_state(encoders.ProgressiveEncoder)[1]}
    cls = type("Method", (Method,), {"weights": {"toy": "own"}})
    cls(Context("toy", toy, toy.device, lambda name: asked.append(name) or own), **SMALL)
    assert asked == ["own"]


def test_a_missing_mean_code_is_not_made_up(toy):
    held = {"own": {**own_state([3], 32), **encoder_state(encoders.ProgressiveEncoder, mean=None)[1]}}
    with pytest.raises(WeightsError, match="'own' lack a mean code; got no latent_avg"):
        build(toy, held, **SMALL)


def test_without_a_base_it_is_the_generators_mean_code(toy, x):
    held = {"own": {**own_state([3], 32), "latent_avg": MEAN}}
    assert torch.equal(build(toy, held, base_encoder="none", **SMALL).embed(x).w_plus[0], toy.latent_avg)


def test_variants_with_weights_of_their_own(toy):
    held = {"own": own_state([3], 32), "deep": own_state([2], 32, widths=(4, 6, 8))}
    options = {"base_encoder": "none", "distortion_size": 32, "layers": [2]}
    with pytest.raises(WeightsError, match=r"not for layers \[2\] and a map of 32 px; got 2 stages; expected 3"):
        build(toy, held, **options)
    assert build(toy, held, own_weights={"toy": "deep"}, **options).consultation.stages == 3


def test_cars_are_seen_flat_by_the_base(toy, x):
    """The encoder sees the middle rows alone, the distortion map the whole picture, bars included."""
    held = {"own": {**own_state([3], 32), **encoder_state(encoders.ProgressiveEncoder)[1]}}
    method = build(toy, held, "cars", **SMALL)
    moved = x.clone()
    moved[:, :, :4], moved[:, :, -4:] = 1, -1
    with torch.no_grad():
        plain, barred = method.embed(x), method.embed(moved)
    assert method.base.encoder.input_size == (24, 32)
    assert torch.equal(plain.w_plus, barred.w_plus)
    assert not torch.equal(plain.memory["distortion"][:, :, 0], barred.memory["distortion"][:, :, 0])


def test_annyfaces_at_full_shape():
    """128 px, 12 codes of 128, maps of 128 px into 48 channels; the defaults of the domain, nothing set by hand."""
    channels = {4: 192, 8: 192, 16: 128, 32: 96, 64: 48, 128: 24}
    net = Generator(128, 128, 2, channels=channels)
    shared = SharedGenerator(net, torch.zeros(128), "annyfaces")
    kind = encoders.ProgressiveEncoder(12, 128, groups=GROUPS, input_size=128, head_width=8)
    base = {f"encoder.{key}": value for key, value in kind.state_dict().items()}
    own = own_state([7], 128, channels=48, fusion="paper")
    held = {"own": own, "annyfaces_e4e": {**base, "latent_avg": torch.zeros(12, 128)}}
    method = build(shared, held, "annyfaces")
    assert method.opt["distortion_size"] == 128 and method.consultation.layers == {7: 48}
    x = resize(torch.rand(1, 3, 32, 32) * 2 - 1, 128, "bilinear")
    with torch.no_grad():
        inversion = method.embed(x)
        assert inversion.rate() == 12 * 128 + 3 * 128 * 128
        assert method.render(inversion.w_plus, inversion).shape == (1, 3, 128, 128)
    assert build(shared, held, "annyfaces", distortion_size=64, untrained=True).opt["distortion_size"] == 64


def test_ids_of_a_domain():
    options = {"base_weights": {"toy": "a", "cars": "b"}, "own_weights": {}, "trunk_weights": "c", "weights": "no"}
    assert weights.chosen_ids(options, "toy") == ["a", "c"] and weights.chosen_ids(options, "moon") == ["c"]
