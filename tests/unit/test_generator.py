"""The shared generator: frozen, deterministic, saved and loaded without loss of description."""

import json

import pytest
import torch
import yaml

from bench.errors import ShapeError, WeightsError
from bench.generator import SharedGenerator, save_generator
from bench.nets.stylegan2 import Generator
from bench.weights import manifest as weights

pytestmark = pytest.mark.numeric


@pytest.fixture()
def net():
    torch.manual_seed(0)
    return Generator(16, 6, 2, channels={4: 3, 8: 4, 16: 2, 32: 9})  # a width for a side it does not have


def register(root, path, sha256, resolution=16):
    entry = {"id": "g", "file": path.name, "sha256": sha256, "size_bytes": path.stat().st_size, "domain": "d",
             "kind": "generator", "licence": "MIT"}  # fmt: skip
    manifest = {"weights": [entry], "domains": {"d": {"generator": "g", "resolution": resolution}}}
    weights.manifest_path(root).write_text(yaml.safe_dump(manifest))


def saved(root, net, latent_avg=None, **kw):
    (root / "weights").mkdir(exist_ok=True)
    path = root / "weights" / "g.safetensors"
    sha256 = save_generator(path, net, torch.zeros(6) if latent_avg is None else latent_avg, {"domain": "d"})
    register(root, path, sha256, **kw)
    return path


def test_round_trip(tmp_path, net):
    """Noise maps included: the loaded generator renders the same picture, but for float16 rounding."""
    saved(tmp_path, net, torch.linspace(-1, 1, 6))
    shared = SharedGenerator.load("d", "cpu", tmp_path)
    assert (shared.resolution, shared.n_latent, shared.style_dim, shared.domain) == (16, 6, 6, "d")
    assert shared.net.channels == {4: 3, 8: 4, 16: 2} and shared.net.n_mlp == 2
    torch.testing.assert_close(shared.latent_avg, torch.linspace(-1, 1, 6).expand(6, -1), rtol=1e-3, atol=1e-3)
    for key, value in net.state_dict().items():
        assert torch.equal(shared.net.state_dict()[key], value.half().float()), key
    w_plus = torch.randn(2, 6, 6)
    torch.testing.assert_close(shared.synthesize(w_plus), net.synthesize(w_plus).detach(), rtol=0.02, atol=0.02)


def test_export_is_deterministic(tmp_path, net):
    first = save_generator(tmp_path / "1.safetensors", net, torch.zeros(6), {"b": 1, "a": 2})
    assert first == save_generator(tmp_path / "2.safetensors", net, torch.zeros(6), {"a": 2, "b": 1})


def test_frozen_and_in_evaluation_mode(net):
    shared = SharedGenerator(net.train(), torch.zeros(6), "d")
    assert not shared.net.training and not any(p.requires_grad for p in shared.net.parameters())
    w_plus = torch.zeros(1, 6, 6, requires_grad=True)
    shared.synthesize(w_plus).sum().backward()  # gradients still reach the codes
    assert w_plus.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(6,), (1, 6), (6, 6)])
def test_shapes_of_the_mean_code(net, shape):
    average = torch.randn(*shape)
    shared = SharedGenerator(net, average, "d")
    assert shared.latent_avg.shape == (6, 6)
    assert torch.equal(shared.latent_avg, average.reshape(-1, 6).expand(6, -1))


@pytest.mark.parametrize("shape", [(5,), (3, 6), (6, 7)])
def test_mean_code_that_does_not_fit(net, shape):
    with pytest.raises(ShapeError, match="latent_avg"):
        SharedGenerator(net, torch.zeros(*shape), "d")


def test_samples_come_from_the_seed():
    toy = SharedGenerator.toy()
    first = toy.sample_w(4, seed=3)
    torch.manual_seed(9)
    assert torch.equal(first, toy.sample_w(4, seed=3)) and not torch.equal(first, toy.sample_w(4, seed=4))
    assert torch.allclose(first[:2], toy.sample_w(2, seed=3))  # the first of many are the same as few
    assert first.shape == (4, toy.n_latent, toy.style_dim) and torch.equal(first[:, 0], first[:, -1])
    half = toy.sample_w(4, seed=3, psi=0.5)
    torch.testing.assert_close(half, (first + toy.latent_avg) / 2)
    assert torch.allclose(toy.sample_w(4, seed=3, psi=0.0), toy.latent_avg.expand(4, -1, -1))


def test_toys_are_equal_and_independent_of_the_global_state():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    toy = SharedGenerator.toy()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    again, other = SharedGenerator.toy(), SharedGenerator.toy(seed=1)
    w_plus = toy.sample_w(2, seed=0)
    assert torch.equal(toy.synthesize(w_plus), again.synthesize(w_plus))
    assert not torch.equal(toy.synthesize(w_plus), other.synthesize(w_plus))
    assert SharedGenerator.toy(16).synthesize(torch.zeros(1, 6, 16)).shape == (1, 3, 16, 16)


def test_synthesis_takes_consultation_and_noise():
    toy = SharedGenerator.toy()
    w_plus = toy.sample_w(2, seed=0)
    plain = toy.synthesize(w_plus)
    assert torch.equal(plain, toy.synthesize(w_plus)) and plain.dtype == torch.float32
    assert not torch.allclose(plain, toy.synthesize(w_plus, consult={3: lambda f: 2 * f}))
    assert not torch.allclose(plain, toy.synthesize(w_plus, noise="zero"))


def test_unknown_domain(tmp_path, net):
    saved(tmp_path, net)
    with pytest.raises(WeightsError, match="no generator for domain 'cars'.*one of: d"):
        SharedGenerator.load("cars", "cpu", tmp_path)


def test_resolution_that_is_not_the_networks(tmp_path, net):
    saved(tmp_path, net, resolution=32)
    with pytest.raises(WeightsError, match="wrong size; got 16; expected 32"):
        SharedGenerator.load("d", "cpu", tmp_path)


def rewrite(root, drop=(), **meta):
    """The file again, without some tensors or with another description, under a matching hash."""
    path = root / "weights" / "g.safetensors"
    tensors, old = weights.parse(path.read_bytes(), "g")
    kept = {k: v for k, v in tensors.items() if k not in drop}
    register(root, path, weights.save(path, kept, {**old, **meta}))


def test_files_that_do_not_fit_their_description(tmp_path, net):
    path = saved(tmp_path, net)
    architecture = weights.parse(path.read_bytes(), "g")[1]["architecture"]
    assert json.loads(json.dumps(architecture))["channels"] == {"4": 3, "8": 4, "16": 2}
    rewrite(tmp_path, architecture={**architecture, "channels": {"4": 3, "8": 5, "16": 2}})
    with pytest.raises(WeightsError, match="does not fit the architecture"):
        SharedGenerator.load("d", "cpu", tmp_path)
    rewrite(tmp_path, architecture={"size": 16})
    with pytest.raises(WeightsError, match="does not describe a generator; got no style_dim"):
        SharedGenerator.load("d", "cpu", tmp_path)
    rewrite(tmp_path, architecture=architecture, drop=("noises.noise_2",))
    with pytest.raises(
        WeightsError, match=r"noises\.noise_2"
    ):  # stored noise would otherwise be the constructor's draw
        SharedGenerator.load("d", "cpu", tmp_path)
    rewrite(tmp_path, drop=("latent_avg", "noises.noise_2"))
    with pytest.raises(WeightsError, match="got no latent_avg"):
        SharedGenerator.load("d", "cpu", tmp_path)
