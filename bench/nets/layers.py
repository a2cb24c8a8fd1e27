"""Building blocks of StyleGAN2 with equalised learning rate; parameter names are those of published checkpoints."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.nets import ops


class EqualLinear(nn.Module):
    """``y = x (W lr_mul / sqrt(in))^T + b lr_mul``, optionally followed by the biased activation.

    W starts as N(0, 1) / lr_mul, so that every layer has the same effective step size.
    """

    def __init__(
        self, features_in: int, features_out: int, bias_init: float = 0.0, lr_mul: float = 1.0, activate: bool = False
    ):
        super().__init__()
        weight = torch.randn(features_out, features_in)
        self.weight = nn.Parameter(weight if lr_mul == 1 else weight / lr_mul)  # on the meta device, / takes a second
        self.bias = nn.Parameter(torch.full((features_out,), float(bias_init)))
        self.scale, self.lr_mul, self.activate = lr_mul / math.sqrt(features_in), lr_mul, activate

    def forward(self, x: Tensor) -> Tensor:
        """(B, in) -> (B, out)."""
        if self.activate:
            return ops.bias_leaky(F.linear(x, self.weight * self.scale), self.bias * self.lr_mul)
        return F.linear(x, self.weight * self.scale, self.bias * self.lr_mul)


class PixelNorm(nn.Module):
    """Bring each vector to unit mean square."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class Blur(nn.Module):
    """Holds a low-pass kernel under its published name; the operators apply it."""

    kernel: Tensor

    def __init__(self, gain: float = 1.0):
        super().__init__()
        self.register_buffer("kernel", ops.binomial_kernel(gain))


class ModulatedConv2d(nn.Module):
    """Weights and style input of a modulated convolution."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int, style_dim: int, up: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, channels_out, channels_in, kernel_size, kernel_size))
        if up:
            self.blur = Blur(gain=4.0)
        self.modulation = EqualLinear(style_dim, channels_in, bias_init=1.0)
        self.scale = 1 / math.sqrt(channels_in * kernel_size**2)

    @property
    def kernel(self) -> Tensor | None:
        """Blur kernel of an up-sampling layer, else None."""
        return self.blur.kernel if hasattr(self, "blur") else None

    def style(self, w: Tensor) -> Tensor:
        """(B, D) code -> (B, in) scales, in full precision: demodulation squares and sums them."""
        with torch.autocast(w.device.type, enabled=False):
            return self.modulation(w.to(self.modulation.weight.dtype))

    def filters(self) -> Tensor:
        """(O, I, k, k) equalised weights."""
        return self.weight[0] * self.scale


class _Strength(nn.Module):
    """Learned factor of a layer's noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class _Bias(nn.Module):
    """Bias that belongs to an activation."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class StyledConv(nn.Module):
    """Modulated convolution (with x2 up-sampling if ``up``), noise, bias, activation."""

    def __init__(self, channels_in: int, channels_out: int, style_dim: int, up: bool = False):
        super().__init__()
        self.conv = ModulatedConv2d(channels_in, channels_out, 3, style_dim, up)
        self.noise = _Strength()
        self.activate = _Bias(channels_out)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor, impl: str) -> Tensor:
        """(B, I, H, W), (B, D), (1 or B, 1, H', W') -> (B, O, H', W')."""
        styled = ops.styled_conv_fast if impl == "fast" else ops.styled_conv_ref
        conv = self.conv
        return styled(x, conv.filters(), conv.style(w), noise * self.noise.weight, self.activate.bias, conv.kernel)


class ToRGB(nn.Module):
    """Colours of one resolution, added to the up-sampled colours of the one before."""

    def __init__(self, channels: int, style_dim: int, up: bool = True):
        super().__init__()
        if up:
            self.upsample = Blur(gain=4.0)
        self.conv = ModulatedConv2d(channels, 3, 1, style_dim)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, w: Tensor, skip: Tensor | None, impl: str) -> Tensor:
        """(B, I, H, W), (B, D), (B, 3, H/2, W/2) or None -> (B, 3, H, W), float32 even under autocast."""
        to_rgb = ops.to_rgb_fast if impl == "fast" else ops.to_rgb_ref
        y = to_rgb(x, self.conv.filters(), self.conv.style(w), self.bias)
        if skip is None:
            return y
        if impl == "fast":
            return y + ops.upsample_fast(skip, self.upsample.kernel)
        return y + ops.upfirdn2d_ref(skip, self.upsample.kernel, up=2, pad=(2, 1))


class EqualConv2d(nn.Module):
    """Weights of a convolution with equalised learning rate; no bias of its own."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel_size, kernel_size))
        self.scale = 1 / math.sqrt(channels_in * kernel_size**2)


class ConvLayer(nn.ModuleList):
    """[blur,] convolution [, activation]: the discriminator's layer, its parts numbered as published.

    Args:
        down: halve the side: blur, then stride 2.
        activate: bias and leaky ReLU; without it there is no bias either.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel_size: int, down: bool = False, activate: bool = True
    ):
        parts: list[nn.Module] = [Blur()] if down else []
        parts.append(EqualConv2d(channels_in, channels_out, kernel_size))
        if activate:
            parts.append(_Bias(channels_out))
        super().__init__(parts)
        self.down, self.activate = down, activate
        # 4 taps need 3 zeros; the convolution that follows takes kernel_size - 1 more and has no padding of its own.
        self.pad = (kernel_size + 2) // 2 if down else kernel_size // 2

    def forward(self, x: Tensor, impl: str, gain: float = 1.0) -> Tensor:
        """(B, I, H, W) -> (B, O, H, W) or half the side; the result is multiplied by ``gain``."""
        conv, last = cast(EqualConv2d, self[int(self.down)]), cast(_Bias, self[-1])
        kernel = cast(Blur, self[0]).kernel if self.down else None
        weight = conv.weight * conv.scale
        if impl == "ref":
            y = (
                F.conv2d(x, weight, padding=self.pad)
                if kernel is None
                else ops.down_conv_ref(x, weight, kernel, self.pad)
            )
            return (ops.bias_leaky(y, last.bias) if self.activate else y) * gain
        gain *= ops.GAIN if self.activate else 1.0  # leaky ReLU is positively homogeneous: the gain can go before it
        weight = (weight * gain).contiguous(memory_format=torch.channels_last)
        bias = last.bias * gain if self.activate else None
        if kernel is None:
            y = F.conv2d(x, weight, bias, padding=self.pad)
        else:
            y = ops.down_conv_fast(x, weight, kernel, self.pad, bias)
        return F.leaky_relu_(y, ops.SLOPE) if self.activate else y


class ResBlock(nn.Module):
    """Residual block of the discriminator: two 3x3 layers and a 1x1 skip, halving the side, divided by sqrt(2)."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.conv1 = ConvLayer(channels_in, channels_in, 3)
        self.conv2 = ConvLayer(channels_in, channels_out, 3, down=True)
        self.skip = ConvLayer(channels_in, channels_out, 1, down=True, activate=False)

    def forward(self, x: Tensor, impl: str) -> Tensor:
        """(B, I, H, W) -> (B, O, H/2, W/2)."""
        half = 1 / math.sqrt(2)
        return self.conv2(self.conv1(x, impl), impl, half) + self.skip(x, impl, half)
