"""Encoders at any size: shapes, independence, stages, gradients, layouts. Golden parity is in tests/golden."""

import copy

import pytest
import torch
from torch import nn

from bench.errors import BenchError, ShapeError
from bench.nets.encoders import (
    BackboneEncoder,
    FPNEncoder,
    Map2Style,
    ProgressiveBackboneEncoder,
    ProgressiveEncoder,
    ProgressiveResNetEncoder,
    ResNetEncoder,
    accumulate,
    published_taps,
)
from bench.nets.resnet34 import BasicBlock
from bench.nets.resnet_ir import IR50, IR101, IRTrunk
from bench.weights import layouts

pytestmark = pytest.mark.numeric

GROUPS = ((16, 1), (20, 2), (24, 2), (32, 1))
PYRAMIDS, COARSE = (FPNEncoder, ProgressiveEncoder), (
    BackboneEncoder, ProgressiveBackboneEncoder, ResNetEncoder, ProgressiveResNetEncoder,
)  # fmt: skip
PROGRESSIVE = (ProgressiveEncoder, ProgressiveBackboneEncoder, ProgressiveResNetEncoder)


def small(kind, seed=0, n_styles=12, style_dim=24, input_size=128, **options):
    """A narrow encoder for the domain of 128 px."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(n_styles, style_dim, groups=GROUPS, input_size=input_size, **options).eval()


def pictures(net, batch=2):
    rng = torch.Generator().manual_seed(1)
    sides = (net.input_size, net.input_size) if isinstance(net.input_size, int) else net.input_size
    return torch.rand(batch, net.channels_in, *sides, generator=rng) * 2 - 1


# --- shapes ---


@pytest.mark.parametrize("kind", [*PYRAMIDS, *COARSE])
@pytest.mark.parametrize("input_size", [128, (192, 256), (96, 128), 100])
def test_codes_of_every_layer(kind, input_size):
    net = small(kind, input_size=input_size)
    with torch.no_grad():
        codes = net(pictures(net, 1))
    assert codes.shape == (1, 12, 24) and codes.isfinite().all()
    assert codes.flatten(1).std() > 0


@pytest.mark.parametrize(("kind", "channels"), [*((k, 3) for k in PYRAMIDS), *((k, 6) for k in COARSE)])
def test_channels(kind, channels):
    """A picture alone, or with a render; anything can be asked for."""
    assert small(kind).channels_in == channels
    net = small(kind, channels_in=4)
    assert net(pictures(net, 1)).shape == (1, 12, 24)


@pytest.mark.parametrize("kind", [*PYRAMIDS, *COARSE])
def test_other_pictures_are_refused(kind):
    net = small(kind)
    for wrong in ((1, net.channels_in, 64, 64), (1, net.channels_in, 128, 96), (1, 1, 128, 128), (3, 128, 128)):
        with pytest.raises(ShapeError, match="pictures has the wrong shape"):
            net(torch.zeros(wrong))


@pytest.mark.parametrize("kind", [IRTrunk, FPNEncoder, ResNetEncoder])
def test_maps_of_the_trunk(kind):
    """One map per group, each half the side of the one before; odd sides are rounded up."""
    net = kind(groups=GROUPS, input_size=(90, 128)).eval()
    maps = net.features(torch.zeros(1, net.channels_in, 90, 128))
    assert [tuple(m.shape[1:]) for m in maps] == [(16, 45, 64), (20, 23, 32), (24, 12, 16), (32, 6, 8)]


def test_published_trunks():
    """Units, and the taps of the pyramid."""
    with torch.device("meta"):
        assert IRTrunk(groups=IR50).ends == [2, 6, 20, 23]
        assert len(IRTrunk(groups=IR101, se=False).body) == 49
        assert not hasattr(IRTrunk(groups=GROUPS, se=False).body[0].res_layer, "5")
        maps = IRTrunk(groups=IR50).features(torch.empty(1, 3, 256, 256))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 128, 128), (128, 64, 64), (256, 32, 32), (512, 16, 16)]


@pytest.mark.parametrize("groups", [(), ((16, 1), (20, 0)), ((16, 1), (16, 2))])
def test_impossible_trunks(groups):
    for kind in (FPNEncoder, ResNetEncoder):
        with pytest.raises(BenchError, match="a trunk needs groups"):
            kind(groups=groups)


# --- which map each style reads ---


def test_published_taps():
    assert published_taps(18) == (0,) * 3 + (1,) * 4 + (2,) * 11
    assert small(FPNEncoder).taps == (0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2)


@pytest.mark.parametrize("kind", PYRAMIDS)
def test_taps_choose_the_map(kind):
    """A lateral layer changes the styles that read its level or a finer one, and no other."""
    net = small(kind, n_styles=6, taps=(0, 3, 1, 2, 1, 0))
    x = pictures(net, 1)
    with torch.no_grad():
        before = net(x)
        for level in (1, 2, 3):
            other = copy.deepcopy(net)
            getattr(other, f"latlayer{level}").bias += 1
            moved = (other(x) - before).abs().amax((0, 2)) > 1e-6
            assert moved.tolist() == [tap >= level for tap in net.taps]
    assert [len(style.convs) // 2 for style in net.styles] == [3, 6, 4, 5, 4, 3]  # 8, 64, 16, 32 to one pixel


def test_only_the_levels_that_are_read_are_built():
    net = small(FPNEncoder, n_styles=4, taps=(0, 1, 1, 1))
    assert hasattr(net, "latlayer1") and not hasattr(net, "latlayer2")
    assert len(net.pyramid(pictures(net, 1))) == 2
    assert len(small(FPNEncoder, n_styles=2, taps=(0, 0)).pyramid(pictures(net, 1))) == 1


@pytest.mark.parametrize("taps", [(0,) * 11, (0,) * 11 + (4,), (0,) * 11 + (-1,)])
def test_taps_that_do_not_fit(taps):
    with pytest.raises(BenchError, match="taps do not fit the encoder.*12 levels from 0 to 3"):
        small(FPNEncoder, taps=taps)


def test_a_pixel_cannot_be_reduced():
    with pytest.raises(BenchError, match="one pixel"):
        small(FPNEncoder, input_size=16)
    with pytest.raises(ShapeError, match="map has the wrong shape"):
        Map2Style(4, 8, (6, 8))(torch.zeros(1, 4, 8, 8))


# --- independence ---


@pytest.mark.parametrize("kind", [*PYRAMIDS, *COARSE])
def test_together_equals_one_by_one(kind):
    net = small(kind)
    x = pictures(net, 3)
    with torch.no_grad():
        together, apart = net(x), torch.cat([net(x[n : n + 1]) for n in range(3)])
        assert float((together[0] - together[1]).abs().max()) > 1e-3  # pictures are told apart
        torch.testing.assert_close(together, apart, rtol=0, atol=2e-6)
        net.train()  # and the test can fail: a batch sees itself
        assert float((net(x) - apart).abs().max()) > 1e-2


# --- progressive codes ---


def test_accumulate():
    parts = torch.arange(8.0).reshape(1, 4, 2)
    first = parts[:, :1]
    whole = accumulate(parts, 4)
    assert torch.equal(whole[:, :1], first) and torch.equal(whole[:, 1:], first + parts[:, 1:])
    assert torch.equal(accumulate(parts[:, :2], 4), torch.cat([first, first + parts[:, 1:2], first, first], 1))
    assert torch.equal(accumulate(first, 4), first.expand(-1, 4, -1))


@pytest.mark.parametrize("kind", PROGRESSIVE)
def test_stages(kind):
    """Stage k: codes 1 to k have their differences, the others equal code 0; the last stage is the whole."""
    net = small(kind)
    x = pictures(net)
    with torch.no_grad():
        whole = net(x)
        assert torch.equal(net(x, stage=11), whole)
        for stage in (0, 1, 4, 10):
            codes = net(x, stage=stage)
            torch.testing.assert_close(codes[:, : stage + 1], whole[:, : stage + 1])
            assert torch.equal(codes[:, stage + 1 :], codes[:, :1].expand(-1, 11 - stage, -1))
            assert (codes[:, 1 : stage + 1] != codes[:, :1]).flatten(2).any(2).all()
    for wrong in (-1, 12):
        with pytest.raises(BenchError, match="stage.*expected 0 to 11"):
            net(x, stage=wrong)


@pytest.mark.parametrize("kind", [FPNEncoder, BackboneEncoder, ResNetEncoder])
def test_progressive_and_plain_share_weights(kind):
    """Equal networks: the plain codes of heads, added to the first."""
    plain = small(kind)
    progressive = small({FPNEncoder: ProgressiveEncoder, BackboneEncoder: ProgressiveBackboneEncoder,
                         ResNetEncoder: ProgressiveResNetEncoder}[kind])  # fmt: skip
    x = pictures(plain)
    with torch.no_grad():
        codes = plain(x)
        torch.testing.assert_close(progressive(x)[:, 1:], codes[:, 1:] + codes[:, :1])
        torch.testing.assert_close(progressive(x)[:, 0], codes[:, 0])


# --- training ---


@pytest.mark.parametrize("kind", [*PYRAMIDS, *COARSE])
def test_gradient_reaches_all_parameters(kind):
    net = small(kind).train()
    net(pictures(net, 4)).square().sum().backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


@pytest.mark.parametrize("kind", PROGRESSIVE)
def test_an_early_stage_trains_its_heads_alone(kind):
    net = small(kind).train()
    net(pictures(net, 4), stage=1).square().sum().backward()
    reached = {name.split(".")[1] for name, p in net.named_parameters() if "styles" in name and p.grad is not None}
    assert reached == {"0", "1"}
    assert all(p.grad is not None for p in net.body.parameters())


# --- ResNet-34: no official numbers, so the blocks are compared with the definition ---


@pytest.mark.parametrize("size", [1024, 512, 256])
def test_resnet_layout(size):
    """Names, shapes and order of the published files, from a list written apart."""
    expected = layouts.resnet_encoder(size)
    for kind in (ResNetEncoder, ProgressiveResNetEncoder):
        with torch.device("meta"):
            net = kind(layouts.n_styles(size))
        assert [(k, tuple(v.shape)) for k, v in net.state_dict().items()] == list(expected.items())


@pytest.mark.parametrize(("channels_out", "stride"), [(6, 1), (8, 2)])
def test_basic_block(channels_out, stride):
    """Against torchvision's block with the same weights."""
    from torchvision.models import resnet

    ours = BasicBlock(6, channels_out, stride).eval()
    projection = nn.Sequential(nn.Conv2d(6, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out))
    theirs = resnet.BasicBlock(6, channels_out, stride, projection if ours.downsample else None).eval()
    for buffer in (ours.bn1.running_mean, ours.bn2.running_var):
        buffer += 0.3
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 6, 9, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_resnet_trunk():
    """Entry with stride 2, PReLU and no pooling; strides of the published trunk."""
    net = small(ResNetEncoder)
    x = pictures(net, 1)
    with torch.no_grad():
        net.relu.weight.uniform_(0.1, 0.4)
        y = nn.functional.conv2d(x, net.conv1.weight, stride=2, padding=3) / (1 + net.bn1.eps) ** 0.5
        y = torch.where(y > 0, y, y * net.relu.weight[:, None, None])
        torch.testing.assert_close(net.features(x)[0], net.body[0](y))
    with torch.device("meta"):
        strides = [block.conv1.stride[0] for block in ResNetEncoder().body]
    assert [n for n, stride in enumerate(strides) if stride == 2] == [3, 7, 13] and len(strides) == 16
