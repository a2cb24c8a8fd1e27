"""The golden tests can fail: each plausible mistake moves an array by far more than its tolerance."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from bench.nets import layers, ops

FAR = 50  # times the tolerance


def swap_noise(net, patch):
    """Two noise maps of each resolution exchanged."""
    for i in range(1, net.n_layers, 2):
        first, second = getattr(net.noises, f"noise_{i}"), getattr(net.noises, f"noise_{i + 1}")
        setattr(net.noises, f"noise_{i}", second)
        setattr(net.noises, f"noise_{i + 1}", first)


def no_gain(net, patch):
    patch.setattr(ops, "GAIN", 1.0)


def other_slope(net, patch):
    patch.setattr(ops, "SLOPE", 0.01)


def weak_blur(net, patch):
    """Up-sampling kernel not multiplied by 4."""
    for name, buffer in net.named_buffers():
        if name.endswith("kernel"):
            buffer.div_(4)


def flipped_filters(net, patch):
    right = ops.convolve_up
    patch.setattr(ops, "convolve_up", lambda x, weight, blur: right(x, weight.flip(2, 3), blur))


def no_demodulation(net, patch):
    patch.setattr(ops, "demodulation", lambda weight, style: style.new_ones(len(style), len(weight)))


def shifted_noise(net, patch):
    """Noise after the activation's bias gain: strength counted twice."""
    for conv in (net.conv1, *net.convs):
        conv.noise.weight.mul_(2)


def late_style(net, patch):
    """Each layer takes the code of the layer after it."""
    right = net.synthesize
    patch.setattr(net, "synthesize", lambda w_plus, **kw: right(w_plus.roll(-1, 1), **kw))


@pytest.mark.parametrize("mistake", [swap_noise, no_gain, other_slope, weak_blur, flipped_filters, no_demodulation,
                                     shifted_noise, late_style])  # fmt: skip
def test_mistake_in_the_features(golden, generator_64, monkeypatch, mistake):
    """Seen at 64 px already, in the layers that the 1024 px network shares."""
    net = copy.deepcopy(generator_64)
    mistake(net, monkeypatch)
    w_plus = golden.T("gen.w", (1, 18, 512), 0.5)[:, : net.n_latent]
    _, features = net.synthesize(w_plus, return_features=["convs.7"])
    assert golden.feature_error("generator", "feat.conv2_64", features["convs.7"]) > FAR * golden.tolerance


@pytest.mark.parametrize("noise", ["random", "zero"])
def test_mistaken_noise(golden, generator_64, noise):
    w_plus = golden.T("gen.w", (1, 18, 512), 0.5)[:, : generator_64.n_latent]
    _, features = generator_64.synthesize(w_plus, noise=noise, return_features=["convs.7"])
    assert golden.feature_error("generator", "feat.conv2_64", features["convs.7"]) > FAR * golden.tolerance


def bilinear_rgb(patch):
    """Colours up-sampled bilinearly, the picture's edge repeated: differs from the kernel at the edges only."""
    patch.setattr(ops, "upsample_fast", lambda x, kernel: F.interpolate(x, scale_factor=2, mode="bilinear"))


def nearest_rgb(patch):
    patch.setattr(ops, "upsample_fast", lambda x, kernel: F.interpolate(x, scale_factor=2, mode="nearest"))


def early_rgb_style(patch):
    """Colour layers take the scales of another code of the batch's one picture: rows of the style rolled by one."""
    right = layers.ToRGB.forward
    patch.setattr(layers.ToRGB, "forward", lambda self, x, w, skip, impl: right(self, x, w.roll(1, 1), skip, impl))


@pytest.mark.parametrize("mistake", [bilinear_rgb, nearest_rgb, early_rgb_style])
def test_mistake_in_the_picture(golden, generator_1024, monkeypatch, mistake):
    """Colour layers are seen in the picture alone."""
    mistake(monkeypatch)
    with torch.no_grad():
        picture = generator_1024.synthesize(golden.T("gen.w", (1, 18, 512), 0.5))
    assert golden.picture_error("image", picture) > FAR * golden.tolerance


def test_mistake_in_the_gradient(golden, generator_1024, monkeypatch):
    """Demodulation taken for a constant: the picture is right, only the gradient can tell."""
    right = ops.demodulation
    monkeypatch.setattr(ops, "demodulation", lambda weight, style: right(weight, style.detach()))
    w_plus = golden.T("gen.w", (1, 18, 512), 0.5).requires_grad_()
    loss = F.mse_loss(F.adaptive_avg_pool2d(generator_1024.synthesize(w_plus), 256), golden.I("vjp.target", 1))
    loss.backward()
    assert golden.error("generator_gradient", "loss", loss.detach()) < golden.tolerance
    assert golden.error("generator_gradient", "grad_w", w_plus.grad) > FAR * golden.gradient_tolerance


@pytest.mark.parametrize(("attribute", "factor"), [("scale", math.sqrt(2)), ("lr_mul", 100)])
def test_mistaken_mapping(golden, generator_64, attribute, factor):
    """Learning-rate multiplier wrong in the weights, or not applied to the biases."""
    for layer in generator_64.style[1:]:
        setattr(layer, attribute, getattr(layer, attribute) * factor)
    w = generator_64.mapping(golden.T("gen.z", (4, 512)))
    assert golden.error("generator", "mapping.w", w) > FAR * golden.tolerance


def strong_blur(net, patch):
    """Kernels multiplied by 4, as the generator's are."""
    for name, buffer in net.named_buffers():
        if name.endswith("kernel"):
            buffer.mul_(4)


def unscaled_sum(net, patch):
    """Residual sum not divided by sqrt(2) in one block."""
    right = net.convs[3].forward
    patch.setattr(net.convs[3], "forward", lambda x, impl: right(x, impl) * math.sqrt(2))


@pytest.mark.parametrize("mistake", [strong_blur, unscaled_sum, no_gain, other_slope])
def test_mistake_in_the_discriminator(golden, discriminators, monkeypatch, mistake):
    """Seen in the features of one picture; features do not mix pictures."""
    net = copy.deepcopy(discriminators[256])
    mistake(net, monkeypatch)
    with torch.no_grad():
        features = net.features(golden.I("disc.x256", 4, 256)[:1])
    expected = golden.expected("discriminators", "convs_256.sub")[:1]
    assert float((features[:, ::8] - expected).abs().max() / expected.abs().max()) > FAR * golden.tolerance


@pytest.mark.parametrize("pictures", [1, 2])
def test_mistaken_spread(golden, discriminators, pictures):
    """The minibatch standard deviation of fewer pictures than the group holds (none, for one)."""
    net = discriminators[256]
    with torch.no_grad():
        logits = net(golden.I("disc.x256", 4, 256)[:pictures])
    expected = golden.expected("discriminators", "out_256")
    error = float((logits - expected[:pictures]).abs().max() / expected.abs().max())
    assert error > 10 * golden.tolerance  # one channel of 513: the smallest effect of all
