"""Operators of StyleGAN2, each twice: ``*_ref`` follows the definition, ``*_fast`` is the same function made cheap.

Reference and fast versions agree to rounding in value, gradient and second gradient (tests/unit/test_stylegan2_ops.py).

Source of the definitions: Karras et al. 2020 (StyleGAN2), Sec. 2 and Appendix B; file layout and paddings as in
rosinality/stylegan2-pytorch bef283a. All layouts are NCHW in shape; any memory format is accepted.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import ShapeError

SLOPE = 0.2
GAIN = math.sqrt(2.0)


def check_shape(what: str, x: Tensor, expected: tuple[int | None, ...]) -> None:
    """Raise ShapeError unless ``x.shape`` matches; None stands for any size."""
    if x.ndim != len(expected) or any(e is not None and s != e for s, e in zip(x.shape, expected, strict=True)):
        raise ShapeError(f"{what} has the wrong shape", got=tuple(x.shape),
                         expected="(" + ", ".join("any" if e is None else str(e) for e in expected) + ")")


def binomial_kernel(gain: float = 1.0) -> Tensor:
    """(4, 4) float32 low-pass kernel: outer product of [1, 3, 3, 1] / 8, times ``gain`` (4 where it follows zero insertion)."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / 64.0 * gain


# --- resampling -------------------------------------------------------------------------------------------------------


def upfirdn2d_ref(x: Tensor, kernel: Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Insert zeros, pad, convolve (true convolution: the kernel is flipped), keep every ``down``-th sample.

    Args:
        x: (B, C, H, W).
        kernel: (k, k) taps, applied to each channel.
        up: each sample is followed by ``up - 1`` zeros, the last one too.
        down: stride.
        pad: zeros before and after, on both axes, not negative.
    Returns:
        (B, C, H', W') with H' = (H up + pad[0] + pad[1] - k) // down + 1.
    """
    b, c, h, w = x.shape
    x = x.reshape(b, c, h, 1, w, 1)
    x = F.pad(x, (0, up - 1, 0, 0, 0, up - 1)).reshape(b * c, 1, h * up, w * up)
    x = F.pad(x, (pad[0], pad[1], pad[0], pad[1]))
    y = F.conv2d(x, kernel.to(x.dtype).flip(0, 1)[None, None])[:, :, ::down, ::down]
    return y.reshape(b, c, *y.shape[2:])


def downsample_fast(x: Tensor, kernel: Tensor, pad: int) -> Tensor:
    """``upfirdn2d_ref(x, kernel, down=2, pad=(pad, pad))`` as one depthwise convolution of stride 2."""
    c = x.shape[1]
    taps = kernel.to(x.dtype).flip(0, 1).expand(c, 1, -1, -1)
    return F.conv2d(x, taps, stride=2, padding=pad, groups=c)


def upsample_fast(x: Tensor, kernel: Tensor) -> Tensor:
    """``upfirdn2d_ref(x, kernel, up=2, pad=(2, 1))`` for a 4x4 kernel as one depthwise transposed convolution."""
    c = x.shape[1]
    return F.conv_transpose2d(x, kernel.to(x.dtype).expand(c, 1, -1, -1), stride=2, padding=1, groups=c)


# --- modulated convolution --------------------------------------------------------------------------------------------


def modulated_conv2d_ref(x: Tensor, weight: Tensor, style: Tensor, demodulate: bool = True,
                         blur: Tensor | None = None) -> Tensor:
    """Convolution whose weights are scaled per image, by the definition: one group per image.

    Args:
        x: (B, I, H, W) features.
        weight: (O, I, k, k), already scaled by 1/sqrt(I k^2).
        style: (B, I) scale of each input channel.
        demodulate: bring each output filter of each image to unit norm.
        blur: None, or the (4, 4) kernel (gain 4) of an up-sampling layer: transposed convolution of stride 2, then blur.
    Returns:
        (B, O, H, W), or (B, O, 2H, 2W) with ``blur``.
    """
    b, i, h, w = x.shape
    o, k = weight.shape[0], weight.shape[-1]
    check_shape("style", style, (b, i))
    filters = weight[None] * style[:, None, :, None, None]
    if demodulate:
        filters = filters * torch.rsqrt(filters.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    x = x.reshape(1, b * i, h, w)
    if blur is None:
        y = F.conv2d(x, filters.reshape(b * o, i, k, k), padding=k // 2, groups=b)
        return y.reshape(b, o, h, w)
    y = F.conv_transpose2d(x, filters.transpose(1, 2).reshape(b * i, o, k, k), stride=2, groups=b)
    return upfirdn2d_ref(y.reshape(b, o, *y.shape[2:]), blur, pad=(1, 1))


def demodulation(weight: Tensor, style: Tensor) -> Tensor:
    """(B, O) factors that bring each image's filters to unit norm, without forming the filters.

    ``sum_{i,k} (w s_i)^2 = sum_i s_i^2 sum_k w^2``: one small matrix product.
    """
    return torch.rsqrt(style.square() @ weight.square().sum((2, 3)).T + 1e-8)


def upsampling_filters(weight: Tensor, blur: Tensor) -> Tensor:
    """Transposed convolution and blur in one: (O, I, 3, 3) and (4, 4) -> (I, O, 6, 6), for stride 2 and padding 2."""
    o, i = weight.shape[:2]
    full = F.conv2d(weight.reshape(o * i, 1, 3, 3), blur.to(weight.dtype).flip(0, 1)[None, None], padding=3)
    return full.reshape(o, i, 6, 6).transpose(0, 1)


def convolve_up(x: Tensor, weight: Tensor, blur: Tensor) -> Tensor:
    """Up-sampling convolution (B, I, H, W) -> (B, O, 2H, 2W) with (O, I, 3, 3) shared weights."""
    return F.conv_transpose2d(x, upsampling_filters(weight, blur), stride=2, padding=2)


def styled_conv_ref(x: Tensor, weight: Tensor, style: Tensor, noise: Tensor, bias: Tensor, blur: Tensor | None = None) -> Tensor:
    """Modulated convolution, noise, bias, leaky ReLU of slope 0.2 times sqrt(2), in that order.

    Args:
        x, weight, style, blur: as :func:`modulated_conv2d_ref`.
        noise: (1 or B, 1, H', W') already times its strength.
        bias: (O,).
    Returns:
        (B, O, H', W').
    """
    y = modulated_conv2d_ref(x, weight, style, True, blur)
    y = y + noise.to(y.dtype)
    return F.leaky_relu(y + bias.to(y.dtype).view(1, -1, 1, 1), SLOPE) * GAIN


def styled_conv_fast(x: Tensor, weight: Tensor, style: Tensor, noise: Tensor, bias: Tensor, blur: Tensor | None = None) -> Tensor:
    """:func:`styled_conv_ref` as scale - convolve with shared weights - scale.

    The activation is positively homogeneous, so its gain moves into the factors before it, which are small tensors.
    """
    check_shape("style", style, (x.shape[0], x.shape[1]))
    scale = (demodulation(weight, style) * GAIN)[:, :, None, None]
    x = x * style.to(x.dtype)[:, :, None, None]
    y = F.conv2d(x, weight, padding=weight.shape[-1] // 2) if blur is None else convolve_up(x, weight, blur)
    offset = (noise * GAIN + bias.view(1, -1, 1, 1) * GAIN).to(y.dtype)
    return F.leaky_relu(torch.addcmul(offset, y, scale.to(y.dtype)), SLOPE)


def to_rgb_ref(x: Tensor, weight: Tensor, style: Tensor, bias: Tensor) -> Tensor:
    """1x1 modulated convolution to colours without demodulation: (B, I, H, W) -> (B, 3, H, W)."""
    return modulated_conv2d_ref(x, weight, style, demodulate=False) + bias


def to_rgb_fast(x: Tensor, weight: Tensor, style: Tensor, bias: Tensor) -> Tensor:
    """:func:`to_rgb_ref` as one batched matrix product of (B, 3, I) filters; float32 result under autocast."""
    b, i, h, w = x.shape
    filters = weight[:, :, 0, 0] * style[:, None, :]
    y = torch.bmm(filters.to(x.dtype), x.reshape(b, i, h * w)).reshape(b, -1, h, w)
    return y.to(bias.dtype) + bias


# --- plain layers -----------------------------------------------------------------------------------------------------


def bias_leaky(x: Tensor, bias: Tensor, gain: float = GAIN) -> Tensor:
    """Leaky ReLU of slope 0.2 of (x + bias), times ``gain``; bias per channel (dimension 1)."""
    return F.leaky_relu(x + bias.to(x.dtype).view(1, -1, *[1] * (x.ndim - 2)), SLOPE) * gain


def down_conv_ref(x: Tensor, weight: Tensor, kernel: Tensor, pad: int) -> Tensor:
    """Blur with ``pad`` zeros on each side, then convolve with stride 2 and no padding."""
    return F.conv2d(upfirdn2d_ref(x, kernel, pad=(pad, pad)), weight, stride=2)


def down_conv_fast(x: Tensor, weight: Tensor, kernel: Tensor, pad: int, bias: Tensor | None = None) -> Tensor:
    """:func:`down_conv_ref` with the blur folded into the filters (k + 3 taps a side), or, for 1x1, done with stride 2."""
    o, i, k = weight.shape[:3]
    if k == 1:
        return F.conv2d(downsample_fast(x, kernel, pad), weight, bias)
    taps = kernel.to(weight.dtype)[None, None]
    filters = F.conv2d(weight.reshape(o * i, 1, k, k), taps.flip(2, 3), padding=3).reshape(o, i, k + 3, k + 3)
    return F.conv2d(x, filters, bias, stride=2, padding=pad)
