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
        raise ShapeError(
            f"{what} has the wrong shape",
            got=tuple(x.shape),
            expected="(" + ", ".join("any" if e is None else str(e) for e in expected) + ")",
        )


def binomial_kernel(gain: float = 1.0) -> Tensor:
    """(4, 4) low-pass kernel: outer product of [1, 3, 3, 1] / 8, times ``gain`` (4 where it follows zero insertion)."""
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


class _Depthwise(torch.autograd.Function):
    """Depthwise convolution (or its adjoint) with a fixed kernel.

    Autograd's own second derivative of a depthwise convolution also forms the gradient of the kernel, group by group;
    the kernel is constant, so that is wasted. Here each derivative is just the adjoint operator (as in Karras et al.).
    """

    @staticmethod
    def forward(ctx, x: Tensor, taps: Tensor, stride: int, pad: int, adjoint: bool, size: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(taps)
        ctx.settings = stride, pad, adjoint, tuple(x.shape[-2:])
        c, k = x.shape[1], taps.shape[-1]
        filters = taps.expand(c, 1, -1, -1)
        with torch.autocast(x.device.type, enabled=False):  # a backward pass may run under autocast too
            if not adjoint:
                return F.conv2d(x, filters, stride=stride, padding=pad, groups=c)
            rest = [n - ((m - 1) * stride - 2 * pad + k) for n, m in zip(size, x.shape[-2:], strict=True)]
            return F.conv_transpose2d(x, filters, stride=stride, padding=pad, output_padding=rest, groups=c)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (taps,) = ctx.saved_tensors
        stride, pad, adjoint, size = ctx.settings
        return _Depthwise.apply(grad, taps, stride, pad, not adjoint, size), None, None, None, None, None


def depthwise_fast(x: Tensor, kernel: Tensor, pad: int, stride: int = 1) -> Tensor:
    """``upfirdn2d_ref(x, kernel, down=stride, pad=(pad, pad))``: every channel convolved with the same constant kernel.

    With a stride in float32 even under autocast: CPUs have no fast strided depthwise convolution in bfloat16.
    """
    wide = x.float() if stride > 1 and x.dtype in (torch.bfloat16, torch.float16) else x
    return _Depthwise.apply(wide, kernel.to(wide.dtype).flip(0, 1), stride, pad, False, (0, 0)).to(x.dtype)


def upsample_fast(x: Tensor, kernel: Tensor) -> Tensor:
    """``upfirdn2d_ref(x, kernel, up=2, pad=(2, 1))`` for a 4x4 kernel as one depthwise transposed convolution."""
    size = 2 * x.shape[-2], 2 * x.shape[-1]
    return _Depthwise.apply(x, kernel.to(x.dtype), 2, 1, True, size)


# --- modulated convolution --------------------------------------------------------------------------------------------


def modulated_conv2d_ref(
    x: Tensor, weight: Tensor, style: Tensor, demodulate: bool = True, blur: Tensor | None = None
) -> Tensor:
    """Convolution whose weights are scaled per image, by the definition: one group per image.

    Args:
        x: (B, I, H, W) features.
        weight: (O, I, k, k), already scaled by 1/sqrt(I k^2).
        style: (B, I) scale of each input channel.
        demodulate: bring each output filter of each image to unit norm.
        blur: None, or the (4, 4) kernel (gain 4) of an up-sampling layer: transposed convolution, stride 2, then blur.
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
    with torch.autocast(style.device.type, enabled=False):
        return torch.rsqrt(style.square() @ weight.square().sum((2, 3)).T + 1e-8)


def convolve_up(x: Tensor, weight: Tensor, blur: Tensor) -> Tensor:
    """Transposed convolution of stride 2, then blur: (B, I, H, W) -> (B, O, 2H, 2W), shared (O, I, 3, 3) weights.

    Folding the blur into 6x6 filters needs four times the products: measured slower at all widths in float32 and, below
    64 px, in bfloat16.
    """
    return depthwise_fast(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), blur, pad=1)


def styled_conv_ref(
    x: Tensor, weight: Tensor, style: Tensor, noise: Tensor, bias: Tensor, blur: Tensor | None = None
) -> Tensor:
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


def styled_conv_fast(
    x: Tensor, weight: Tensor, style: Tensor, noise: Tensor, bias: Tensor, blur: Tensor | None = None
) -> Tensor:
    """:func:`styled_conv_ref` as scale - convolve with shared weights - scale, channels last.

    The activation is positively homogeneous, so its gain moves into the factors before it, which are small tensors.
    """
    check_shape("style", style, (x.shape[0], x.shape[1]))
    scale = (demodulation(weight, style) * GAIN)[:, :, None, None]
    x = x * style.to(x.dtype)[:, :, None, None]
    weight = weight.contiguous(memory_format=torch.channels_last)
    y = F.conv2d(x, weight, padding=weight.shape[-1] // 2) if blur is None else convolve_up(x, weight, blur)
    # mul and add apart: the gradient of addcmul makes one more pass over the features than these two.
    y = (y * scale.to(y.dtype)).add_(_noise_and_bias(noise * GAIN, bias * GAIN).to(y.dtype))
    return F.leaky_relu_(y, SLOPE)


def _noise_and_bias(noise: Tensor, bias: Tensor) -> Tensor:
    """(N, 1, H, W) + (C,) -> (N, C, H, W), channels last.

    A matrix product with a row of ones: broadcasting one channel over the innermost axis is ten times slower on a CPU.
    """
    n, _, h, w = noise.shape
    both = torch.addmm(bias, noise.reshape(-1, 1), bias.new_ones(1, len(bias)))
    return both.view(n, h, w, -1).permute(0, 3, 1, 2)


def to_rgb_ref(x: Tensor, weight: Tensor, style: Tensor, bias: Tensor) -> Tensor:
    """1x1 modulated convolution to colours without demodulation: (B, I, H, W) -> (B, 3, H, W)."""
    return modulated_conv2d_ref(x, weight, style, demodulate=False) + bias


def to_rgb_fast(x: Tensor, weight: Tensor, style: Tensor, bias: Tensor) -> Tensor:
    """:func:`to_rgb_ref` as one batched matrix product; in the type of ``bias`` even under autocast."""
    b, i, h, w = x.shape
    filters = weight[:, :, 0, 0] * style[:, None, :]
    pixels = x.permute(0, 2, 3, 1).reshape(b, h * w, i)  # a view of channels-last features
    # pixels on the left: then their gradient comes back channels last too
    y = torch.bmm(pixels, filters.to(x.dtype).transpose(1, 2)).to(bias.dtype)
    return y.transpose(1, 2).reshape(b, -1, h, w) + bias


# --- plain layers -----------------------------------------------------------------------------------------------------


def bias_leaky(x: Tensor, bias: Tensor, gain: float = GAIN) -> Tensor:
    """Leaky ReLU of slope 0.2 of (x + bias), times ``gain``; bias per channel (dimension 1)."""
    return F.leaky_relu(x + bias.to(x.dtype).view(1, -1, *[1] * (x.ndim - 2)), SLOPE) * gain


def down_conv_ref(x: Tensor, weight: Tensor, kernel: Tensor, pad: int) -> Tensor:
    """Blur with ``pad`` zeros on each side, then convolve with stride 2 and no padding."""
    return F.conv2d(upfirdn2d_ref(x, kernel, pad=(pad, pad)), weight, stride=2)


def down_conv_fast(x: Tensor, weight: Tensor, kernel: Tensor, pad: int, bias: Tensor | None = None) -> Tensor:
    """:func:`down_conv_ref` plus bias; a 1x1 convolution needs the blur only at the samples that are kept."""
    if weight.shape[-1] == 1:
        return F.conv2d(depthwise_fast(x, kernel, pad, stride=2), weight, bias)
    return F.conv2d(depthwise_fast(x, kernel, pad), weight, bias, stride=2)
