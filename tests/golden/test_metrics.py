"""What metrics are built on equals the official code: LPIPS, face detection and alignment, Pillow's resize."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench import api
from bench.images import resize_pil
from bench.measures import faces, learned
from bench.metrics import lpips_alex
from bench.nets import lpips_distance, mtcnn
from bench.nets.reconstruction import OPTIONS, Reconstruction

pytestmark = pytest.mark.numeric

pytest.importorskip("lpips", reason="pip install 'hfgi-bench[perceptual]'")
FAR = 50  # times the tolerance


@pytest.fixture(scope="module")
def lpips_state(golden):
    """The recorded network's trunk and heads under the names of torchvision and of the package."""
    state = golden.state(golden.shapes("lpips_alex"), 111, "lpips.")
    trunk = {k.replace("net.layers.", "features."): v for k, v in state.items() if k.startswith("net.layers")}
    heads = {f"lin{k.split('.')[1]}.model.1.weight": v.abs() for k, v in state.items() if k.startswith("lin.")}
    return trunk, heads


@pytest.fixture
def metric(golden, lpips_state, monkeypatch):
    """The metric as the harness builds it, but for its weights."""
    trunk, heads = lpips_state
    monkeypatch.setattr(learned, "heads_of", lambda net: heads)
    return lpips_alex.Metric(golden.device, api.MetricWeights(load=lambda weights_id, part: trunk))


def pictures(golden):
    return golden.I("arc.x", 2).double(), golden.I("arc.y", 2).double()


def test_lpips(golden, metric):
    values = metric(*pictures(golden)).float()
    assert golden.error("lpips_alex", "pair0", values[0]) < golden.tolerance
    assert golden.error("lpips_alex", "pair1", values[1]) < golden.tolerance
    assert golden.error("lpips_alex", "batch", values.mean()) < golden.tolerance
    halved = metric(*(F.avg_pool2d(x[:1], 2) for x in pictures(golden))).float()
    assert golden.error("lpips_alex", "small", halved[0]) < golden.tolerance


def test_lpips_as_a_loss(golden, lpips_state, monkeypatch):
    """What the presets of the papers weigh with 0.8: the same number, by the weights that `bench fetch` brings."""
    trunk, heads = lpips_state
    monkeypatch.setattr(lpips_distance, "heads_of", lambda net: heads)
    options = {**OPTIONS, "perceptual": "lpips_alex"}
    files = {"lpips_alex": trunk}
    losses = Reconstruction(options, {"perceptual": 0.8}, torch.device(golden.device), load=files.__getitem__)
    x, x_hat = (p.float() for p in pictures(golden))
    x_hat.requires_grad_(True)
    value = losses(x_hat, x)["perceptual"]
    assert golden.error("lpips_alex", "batch", value.detach()) < golden.tolerance
    value.backward()
    assert x_hat.grad.abs().max() > 0 and x_hat.grad.isfinite().all()
    black = torch.zeros(1, 3, 64, 64, requires_grad=True)
    trunk = dict(trunk)
    files["lpips_alex"] = trunk
    for key in trunk:  # a trunk that finds nothing anywhere: the root of its length has no gradient
        trunk[key] = -trunk[key].abs() if key.endswith("bias") else torch.zeros_like(trunk[key])
    losses = Reconstruction(options, {"perceptual": 0.8}, torch.device("cpu"), load=files.__getitem__)
    losses(black, torch.ones(1, 3, 64, 64))["perceptual"].backward()
    assert black.grad.isfinite().all()


def wrong_range(metric):
    return lambda x, y: metric((x + 1) / 2, (y + 1) / 2)


def channels_exchanged(metric):
    return lambda x, y: metric(x.flip(1), y.flip(1))


def no_heads(metric):
    metric.distance.lpips = False
    return metric


def version_0(metric):
    """The slip of the first release: pictures not scaled."""
    metric.distance.version = "0.0"
    return metric


@pytest.mark.parametrize("mistake", [wrong_range, channels_exchanged, no_heads, version_0])
def test_lpips_mistake(golden, metric, mistake):
    value = mistake(metric)(*(x[:1] for x in pictures(golden))).float()[0]
    assert golden.error("lpips_alex", "pair0", value) > FAR * golden.tolerance


NETWORKS = {"pnet": (mtcnn.PNet, (1, 48, 12)), "rnet": (mtcnn.RNet, (3, 24, 12)), "onet": (mtcnn.ONet, (3, 48, 12))}


@pytest.mark.parametrize("name", NETWORKS)
def test_mtcnn(golden, name):
    make, (batch, size, grid) = NETWORKS[name]
    net = make().to(golden.device).eval().requires_grad_(False)
    shapes = golden.shapes(f"mtcnn_{name}")
    assert [(k, tuple(v.shape)) for k, v in net.state_dict().items()] == list(shapes.items())
    net.load_state_dict(golden.state(shapes, 111, f"{name}."))
    x = torch.from_numpy(golden.fill.image(f"mtcnn.{name[0]}", 1, batch, size, grid)).to(golden.device)
    x = x[:, :, :40] if name == "pnet" else x
    for n, output in enumerate(net(x)):
        assert golden.error("mtcnn", f"{name}.{n}", output) < golden.tolerance
    if name == "pnet":  # the slip that is kept: over the width
        right = net.conv4_1(net.features(x)).softmax(1)
        assert golden.error("mtcnn", "pnet.1", right) > FAR * golden.tolerance
    else:  # rows before columns
        net.features.flatten = torch.nn.Flatten()
        assert golden.error("mtcnn", f"{name}.0", net(x)[0]) > FAR * golden.tolerance


def test_alignment(golden):
    """And a fit in the other direction (Umeyama's) is seen."""
    source, target = (golden.expected("mtcnn", k).cpu().double().numpy() for k in ("sim_src", "sim_ref"))
    expected = golden.expected("mtcnn", "sim_2x3").cpu().numpy()
    np.testing.assert_allclose(faces.inverse_fit(source, target), expected, rtol=0, atol=1e-9)
    assert np.abs(faces._fit(source, target)[:2] - expected).max() > 1e-3


def test_resize(golden):
    """8 bits in, 8 bits out: equal to the last level."""
    raw = ((golden.fill.image("raw", 1, 1, 320, 20)[0].transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8)
    resized = resize_pil(raw[None], 256, "pil_bilinear")[0]
    crop = golden.expected("preprocess", "resized_crop_u8").cpu().numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(resized[96:160, 96:160], crop)
    row = torch.from_numpy(resized[100]).float().T / 127.5 - 1
    assert (row - golden.expected("preprocess", "normalised_row").cpu()).abs().max() < 1e-6
    other = resize_pil(raw[None], 256, "pil_bicubic")[0, 96:160, 96:160]
    assert (other != crop).mean() > 0.1
