"""Generator and discriminator: fast equals reference at several sizes and widths; codes, noise, consultation."""

import pytest
import torch
from torch.autograd import grad

from bench.errors import BenchError, ShapeError
from bench.nets.fusion import fuse, fuse_release
from bench.nets.stylegan2 import Discriminator, Generator, default_channels

pytestmark = pytest.mark.numeric

NETS = [(8, 6, {4: 4, 8: 4}), (16, 8, {4: 5, 8: 3, 16: 7}), (32, 5, {4: 8, 8: 6, 16: 4, 32: 2})]  # size, D, widths


def generator(size=16, style_dim=8, channels=None, dtype=torch.float64, n_mlp=2):
    torch.manual_seed(size)
    channels = channels or {4: 6, 8: 5, 16: 4, 32: 4, 64: 4, 128: 4}
    net = Generator(size, style_dim, n_mlp, channels=channels).to(dtype)
    for name, parameter in net.named_parameters():  # noise and biases start at zero: give every term a part
        if parameter.ndim == 1 and "modulation" not in name or name.endswith("bias"):
            torch.nn.init.normal_(parameter, 0.1, 0.2)
    return net


def discriminator(size=16, channels=None, dtype=torch.float64):
    torch.manual_seed(size)
    net = Discriminator(size, channels=channels or {4: 6, 8: 5, 16: 4, 32: 4}).to(dtype)
    for parameter in net.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.1, 0.2)
    return net


def codes(net, batch=2, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(batch, net.n_latent, net.style_dim, dtype=torch.float64, generator=rng).to(net.input.input.dtype)


@pytest.mark.parametrize(("size", "style_dim", "channels"), NETS)
def test_generator_fast_equals_reference(size, style_dim, channels):
    """Picture, gradients of all parameters, and those of a path-length penalty, in float64."""
    results = []
    for impl in ("fast", "ref"):
        net = generator(size, style_dim, channels)
        net.impl = impl
        w_plus = codes(net).requires_grad_()
        picture = net.synthesize(w_plus)
        used = [p for name, p in net.named_parameters() if not name.startswith("style.")]
        first = grad(picture.square().mean(), [w_plus, *used], create_graph=True)
        second = grad(first[0].square().sum(), [w_plus, *used], materialize_grads=True)
        results.append([picture, *first, *second])
    for fast, ref in zip(*results, strict=True):
        torch.testing.assert_close(fast, ref, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("size", "style_dim", "channels"), NETS)
def test_generator_fast_equals_reference_in_float32(size, style_dim, channels):
    net = generator(size, style_dim, channels, torch.float32).requires_grad_(False)
    fast = net.synthesize(codes(net))
    net.impl = "ref"
    ref = net.synthesize(codes(net))
    assert float((fast - ref).abs().max()) < 1e-5 * float(ref.abs().max())


@pytest.mark.parametrize(("size", "channels"), [(net[0], net[2]) for net in NETS])
def test_discriminator_fast_equals_reference(size, channels):
    """Logits, gradients, and those of the R1 penalty, in float64."""
    x = torch.randn(4, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    results = []
    for impl in ("fast", "ref"):
        net = discriminator(size, channels)
        net.impl = impl
        leaf = x.clone().requires_grad_()
        logits = net(leaf)
        first = grad(logits.square().sum(), [leaf, *net.parameters()], create_graph=True)
        second = grad(first[0].square().sum(), list(net.parameters()), materialize_grads=True)
        results.append([logits, *first, *second])
    for fast, ref in zip(*results, strict=True):
        torch.testing.assert_close(fast, ref, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("size", [8, 64, 128])
def test_counts_follow_the_size(size):
    net = generator(size)
    levels = size.bit_length() - 1  # log2
    assert net.n_latent == 2 * levels - 2
    assert net.n_layers == 2 * (levels - 2) + 1
    assert [n.shape[-1] for n in net.stored_noise()] == [2 ** ((i + 5) // 2) for i in range(net.n_layers)]
    assert net.synthesize(codes(net, 1)).shape == (1, 3, size, size)
    assert net.layer_side(net.n_layers - 1) == size


def test_published_widths():
    assert default_channels(2)[64] == 512 and default_channels(2)[1024] == 32 and default_channels(1)[1024] == 16


@pytest.mark.parametrize("size", [4, 12, 0, 100])
def test_impossible_size(size):
    for build in (Generator, Discriminator):
        with pytest.raises(BenchError, match="power of two"):
            build(size)


def test_missing_width():
    with pytest.raises(BenchError, match="no channel count"):
        Generator(16, channels={4: 2, 8: 2})


def test_unknown_implementation():
    with pytest.raises(BenchError, match="fast, ref"):
        Generator(8, 4, 1, channels={4: 2, 8: 2}, impl="cuda")


def test_pictures_do_not_mix():
    net = generator()
    w_plus = codes(net, 3)
    together = net.synthesize(w_plus)
    for n in range(3):
        torch.testing.assert_close(net.synthesize(w_plus[n : n + 1]), together[n : n + 1], rtol=1e-10, atol=1e-10)


def test_which_code_feeds_what():
    """Row 0 feeds conv1 only, the last row the last colours only, a middle row a colour layer and the next conv."""
    net = generator(16)
    w_plus, names = codes(net, 1), range(net.n_layers)
    picture, features = net.synthesize(w_plus, return_features=names)
    last = w_plus.clone()
    last[:, -1] += 1
    moved, same = net.synthesize(last, return_features=names)
    assert all(torch.equal(same[i], features[i]) for i in names)
    assert not torch.allclose(moved, picture)
    for row in range(net.n_latent - 1):
        changed = w_plus.clone()
        changed[:, row] += 1
        _, after = net.synthesize(changed, return_features=names)
        assert [torch.equal(after[i], features[i]) for i in names] == [i < row for i in names]


def test_truncation():
    w, average = torch.randn(3, 8), torch.randn(8)
    assert torch.equal(Generator.truncate(w, 0.0, average), average.expand(3, -1))
    torch.testing.assert_close(Generator.truncate(w, 1.0, average), w)
    torch.testing.assert_close(Generator.truncate(w, 0.5, average), (w + average) / 2)


def test_mapping_ignores_the_length_of_z():
    net = generator()
    z = torch.randn(4, 8, dtype=torch.float64)
    torch.testing.assert_close(net.mapping(z), net.mapping(3 * z), rtol=1e-6, atol=1e-6)
    assert net.repeat_w(net.mapping(z)).shape == (4, net.n_latent, 8)


def test_noise_choices():
    net, batch = generator(), 2
    w_plus = codes(net, 1).expand(batch, -1, -1)
    stored = net.synthesize(w_plus)
    torch.testing.assert_close(stored[0], stored[1])  # products of a batch need not agree in the last bit
    torch.testing.assert_close(stored, net.synthesize(w_plus))
    torch.testing.assert_close(net.synthesize(w_plus, noise=net.stored_noise()), stored)
    zero = net.synthesize(w_plus, noise="zero")
    torch.testing.assert_close(net.synthesize(w_plus, noise=[n * 0 for n in net.stored_noise()]), zero)
    torch.manual_seed(0)
    fresh = net.synthesize(w_plus, noise="random")
    torch.manual_seed(0)
    assert torch.equal(fresh, net.synthesize(w_plus, noise="random"))
    assert not torch.allclose(fresh[0], fresh[1]) and not torch.allclose(fresh, net.synthesize(w_plus, noise="random"))
    assert not torch.allclose(stored, zero)


@pytest.mark.parametrize("noise", ["loud", [], [torch.zeros(1, 1, 4, 4)]])
def test_unknown_noise(noise):
    net = generator()
    with pytest.raises(BenchError, match="unknown noise"):
        net.synthesize(codes(net), noise=noise)


def test_noise_of_the_wrong_side():
    net = generator()
    maps = net.stored_noise()
    maps[2] = maps[1][:, :, :4]
    with pytest.raises(ShapeError, match="noise map 2"):
        net.synthesize(codes(net), noise=maps)


@pytest.mark.parametrize("shape", [(2, 8), (2, 5, 8), (2, 6, 7)])
def test_codes_of_the_wrong_shape(shape):
    with pytest.raises(ShapeError, match="w_plus"):
        generator().synthesize(torch.zeros(*shape, dtype=torch.float64))


def test_consultation_by_callable_pair_and_name():
    net = generator()
    w_plus = codes(net)
    plain, features = net.synthesize(w_plus, return_features=[3, "convs.2"])
    assert torch.equal(features[3], features["convs.2"])
    gate, detail = torch.rand_like(features[3]), torch.randn_like(features[3])
    fused, seen = net.synthesize(w_plus, consult={3: (gate, detail)}, return_features=[3])
    torch.testing.assert_close(seen[3], gate * features[3] + detail)
    assert not torch.allclose(fused, plain)
    torch.testing.assert_close(net.synthesize(w_plus, consult={"convs.2": lambda f: fuse(f, gate, detail)}), fused)
    torch.testing.assert_close(net.synthesize(w_plus, consult={0: lambda f: f, 3: lambda f: f}), plain)
    torch.testing.assert_close(net.synthesize(w_plus, consult={}), plain)


def test_consultation_carries_gradients():
    net = generator()
    gate = torch.ones(2, 4, 16, 16, dtype=torch.float64, requires_grad=True)
    detail = torch.zeros(2, 4, 16, 16, dtype=torch.float64, requires_grad=True)
    picture = net.synthesize(codes(net), consult={3: (gate, detail)})
    assert all(g.abs().sum() > 0 for g in grad(picture.square().sum(), [gate, detail]))


@pytest.mark.parametrize("layer", [5, -1, "convs.4", "to_rgb1", 1.0])
def test_consulting_a_layer_that_is_not_there(layer):
    net = generator()
    with pytest.raises(BenchError, match="no synthesis layer"):
        net.synthesize(codes(net), consult={layer: lambda f: f})


def test_consultation_may_not_change_the_shape():
    net = generator()
    with pytest.raises(ShapeError, match="changed the shape"):
        net.synthesize(codes(net), consult={1: lambda f: f[:, :1]})
    with pytest.raises(ShapeError, match="'gate'"):
        net.synthesize(codes(net), consult={1: (torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))})


def test_fusion_formulas():
    features, first, second = torch.randn(3, 2, 4, 5, 5).unbind(0)
    torch.testing.assert_close(fuse(features, first, second), first * features + second)
    torch.testing.assert_close(fuse_release(features, first, second), fuse(features, 1 + first, second))
    assert torch.equal(fuse(features, torch.ones_like(features), torch.zeros_like(features)), features)


@pytest.mark.parametrize("operation", [fuse, fuse_release])
@pytest.mark.parametrize("shape", [(2, 4, 1, 1), (1, 4, 5, 5), (2, 1, 5, 5), (4, 5, 5)])
def test_fusion_never_broadcasts(operation, shape):
    features = torch.randn(2, 4, 5, 5)
    with pytest.raises(ShapeError, match="does not fit"):
        operation(features, torch.ones(shape), features)
    with pytest.raises(ShapeError, match="does not fit"):
        operation(features, features, torch.ones(shape))


def test_minibatch_deviation_by_hand():
    """Groups of four: picture i with i + 2, i + 4, i + 6 of a batch of eight."""
    net = discriminator(8, {4: 3, 8: 2})
    x = torch.randn(8, 3, 4, 4, dtype=torch.float64)
    spread = net._with_minibatch_std(x)
    assert torch.equal(spread[:, :3], x)
    for i in range(2):
        expected = (x[i::2].var(0, unbiased=False) + 1e-8).sqrt().mean()
        torch.testing.assert_close(spread[i::2, 3], expected.expand(4, 4, 4))


def test_discriminator_batches():
    net = discriminator(8, {4: 3, 8: 2})
    for batch in (1, 2, 3, 4, 8):
        assert net(torch.randn(batch, 3, 8, 8, dtype=torch.float64)).shape == (batch, 1)
    with pytest.raises(ShapeError, match="cannot be grouped"):
        net(torch.randn(6, 3, 8, 8, dtype=torch.float64))
    with pytest.raises(ShapeError, match="pictures"):
        net(torch.randn(4, 3, 16, 16, dtype=torch.float64))


@pytest.mark.parametrize("impl", ["fast", "ref"])
def test_bfloat16_autocast(impl):
    """Training in bfloat16: the picture is float32 and near the float32 one; both penalties have gradients."""
    net, judge = generator(dtype=torch.float32), discriminator(dtype=torch.float32)
    net.impl = judge.impl = impl
    w_plus = codes(net, 4).requires_grad_()
    exact = net.synthesize(w_plus.detach()).detach()
    with torch.autocast("cpu", torch.bfloat16):
        picture = net.synthesize(w_plus)
        (length,) = grad(picture.float().sum(), w_plus, create_graph=True)
        shown = exact.clone().requires_grad_()
        (slope,) = grad(judge(shown).float().sum(), shown, create_graph=True)
    assert picture.dtype == torch.float32
    assert float((picture.detach() - exact).abs().max()) < 0.05 * float(exact.abs().max())
    (length.square().sum() + slope.square().sum()).backward()
    for part in (net, judge):
        gradients = [p.grad for n, p in part.named_parameters() if p.grad is not None]
        assert gradients and all(g.isfinite().all() for g in gradients)
