"""StyleGAN2 generator and discriminator: "Analyzing and Improving the Image Quality of StyleGAN" (Karras et al. 2020).

One class for every size and width. State dicts have the layout of rosinality/stylegan2-pytorch bef283a, so published
files load with ``strict=True``; outputs equal the official network's (tests/golden). ``impl="ref"`` uses the operators
as defined, ``impl="fast"`` (default) equal but cheaper ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from bench.errors import BenchError, ShapeError
from bench.nets.fusion import fuse
from bench.nets.layers import ConvLayer, EqualLinear, PixelNorm, ResBlock, StyledConv, ToRGB
from bench.nets.ops import check_shape

IMPLEMENTATIONS = ("fast", "ref")
Consult = Callable[[Tensor], Tensor] | tuple[Tensor, Tensor]


def default_channels(channel_multiplier: int = 2) -> dict[int, int]:
    """Side -> feature channels of the published networks; multiplier 2 is configuration F, 1 is E."""
    narrow = {64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}
    return {**dict.fromkeys((4, 8, 16, 32), 512), **{r: c * channel_multiplier for r, c in narrow.items()}}


def _sides(size: int, channels: Mapping[int, int]) -> list[int]:
    sides = [1 << i for i in range(2, size.bit_length())]
    if size < 8 or sides[-1] != size:
        raise BenchError("StyleGAN2 cannot have this size", got=size, expected="a power of two from 8 up")
    missing = [r for r in sides if r not in channels]
    if missing:
        raise BenchError(
            f"no channel count for sides {missing}", got=dict(channels), expected=f"one entry for each of {sides}"
        )
    return sides


class Generator(nn.Module):
    """Mapping and synthesis network.

    Args:
        size: side of the pictures, a power of two from 8 up.
        style_dim: length D of z and of a code.
        n_mlp: layers of the mapping network.
        channel_multiplier: width of the published networks (:func:`default_channels`).
        channels: side -> feature channels, instead of the published widths.
        impl: "fast" or "ref".

    Layers are counted by the index of the style that feeds them: 0 is ``conv1``, i is ``convs[i - 1]``. The two layers
    of side r have indices 2 log2(r) - 5 and 2 log2(r) - 4 (64: 7 and 8). ``n_latent`` = 2 log2(size) - 2 codes feed
    them and the colour layers, which share: ``to_rgb1`` takes code 1, ``to_rgbs[b]`` code 2b + 3.
    """

    def __init__(
        self,
        size: int = 1024,
        style_dim: int = 512,
        n_mlp: int = 8,
        channel_multiplier: int = 2,
        channels: Mapping[int, int] | None = None,
        impl: str = "fast",
    ):
        super().__init__()
        self.channels = dict(channels or default_channels(channel_multiplier))
        sides = _sides(size, self.channels)
        self.size, self.style_dim, self.n_mlp, self.impl = size, style_dim, n_mlp, impl
        self.n_latent, self.n_layers = 2 * len(sides), 2 * len(sides) - 1
        self.style = nn.Sequential(
            PixelNorm(), *[EqualLinear(style_dim, style_dim, lr_mul=0.01, activate=True) for _ in range(n_mlp)]
        )
        width = self.channels[4]
        self.input = _Constant(width)
        self.conv1 = StyledConv(width, width, style_dim)
        self.to_rgb1 = ToRGB(width, style_dim, up=False)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        for layer in range(self.n_layers):
            side = self.layer_side(layer)
            self.noises.register_buffer(f"noise_{layer}", torch.randn(1, 1, side, side))
        for side in sides[1:]:
            before, width = width, self.channels[side]
            self.convs += [StyledConv(before, width, style_dim, up=True), StyledConv(width, width, style_dim)]
            self.to_rgbs.append(ToRGB(width, style_dim))

    @property
    def impl(self) -> str:
        """Which operators compute: "fast" or "ref"."""
        return self._impl

    @impl.setter
    def impl(self, value: str) -> None:
        """Choose the implementation of the generator's operations by name."""
        self._impl = _checked_impl(value)

    @staticmethod
    def layer_side(layer: int) -> int:
        """Side of a layer's output."""
        return 4 << ((layer + 1) // 2)

    def mapping(self, z: Tensor) -> Tensor:
        """(B, D) standard normal -> (B, D) codes of W. Full precision even under autocast."""
        check_shape("z", z, (None, self.style_dim))
        with torch.autocast(z.device.type, enabled=False):
            return self.style(z.to(self.input.input.dtype))

    def repeat_w(self, w: Tensor) -> Tensor:
        """(B, D) codes of W -> (B, L, D) codes of W+, the same for every layer."""
        check_shape("w", w, (None, self.style_dim))
        return w[:, None].expand(-1, self.n_latent, -1)

    @staticmethod
    def truncate(w: Tensor, psi: float, latent_avg: Tensor) -> Tensor:
        """``latent_avg + psi (w - latent_avg)``: (B, D) towards (D,), or (B, L, D) towards (L, D)."""
        return latent_avg + psi * (w - latent_avg)

    def stored_noise(self) -> list[Tensor]:
        """The noise maps of the checkpoint, (1, 1, r, r) for each layer."""
        return [getattr(self.noises, f"noise_{i}") for i in range(self.n_layers)]

    def synthesize(
        self,
        w_plus: Tensor,
        noise: str | Sequence[Tensor] = "stored",
        consult: Mapping[int | str, Consult] | None = None,
        return_features: Iterable[int | str] | None = None,
    ) -> Tensor | tuple[Tensor, dict[int | str, Tensor]]:
        """Codes to pictures.

        Args:
            w_plus: (B, L, D) codes.
            noise: "stored" (the checkpoint's maps), "random" (fresh for every call and image), "zero", or one
                (1 or B, 1, r, r) map for each of ``n_layers`` layers.
            consult: layer -> what is done to that layer's output: a callable (B, C, r, r) -> same shape, or a pair
                (gate, detail) for :func:`bench.nets.fusion.fuse`. A layer is a style index or a name ("convs.6").
            return_features: layers whose outputs (after consultation) are wanted too.
        Returns:
            (B, 3, R, R) unbounded, float32 under autocast; with ``return_features`` also {layer: (B, C, r, r)}.
        Raises:
            ShapeError, BenchError: codes, noise, fused maps or layer names that do not fit.
        """
        check_shape("w_plus", w_plus, (None, self.n_latent, self.style_dim))
        maps = self._noise(noise, len(w_plus), w_plus)
        hooks = {self.layer_index(k): v for k, v in (consult or {}).items()}
        wanted = {k: self.layer_index(k) for k in return_features or ()}
        kept: dict[int, Tensor] = {}
        w = w_plus.unbind(1)
        x = self.input.input.expand(len(w_plus), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        skip: Tensor | None = None
        for layer, conv in enumerate([self.conv1, *self.convs]):
            x = conv(x, w[layer], maps[layer], self.impl)
            if layer in hooks:
                x = _consulted(x, hooks[layer], layer)
            if layer in wanted.values():
                kept[layer] = x
            if layer % 2 == 0:
                to_rgb = self.to_rgbs[layer // 2 - 1] if layer else self.to_rgb1
                skip = to_rgb(x, w[layer + 1], skip, self.impl)
        assert skip is not None  # layer 0 has colours
        return skip if return_features is None else (skip, {k: kept[i] for k, i in wanted.items()})

    forward = synthesize  # the network may be called; no wrapper is meant: training sums gradients itself

    def layer_index(self, layer: int | str) -> int:
        """Style index of a layer given by index or name."""
        names = ["conv1", *(f"convs.{i}" for i in range(self.n_layers - 1))]
        index = names.index(layer) if layer in names else layer
        if not isinstance(index, int) or not 0 <= index < self.n_layers:
            raise BenchError(
                f"no synthesis layer {layer!r}",
                expected=f"0 to {self.n_layers - 1}, or a name from conv1 to {names[-1]}",
            )
        return index

    def _noise(self, noise: str | Sequence[Tensor], batch: int, like: Tensor) -> Sequence[Tensor]:
        sides = [self.layer_side(i) for i in range(self.n_layers)]
        dtype = self.input.input.dtype
        if noise == "stored":
            return self.stored_noise()
        if noise == "random":
            return [torch.randn(batch, 1, r, r, device=like.device, dtype=dtype) for r in sides]
        if noise == "zero":
            return [torch.zeros(1, 1, r, r, device=like.device, dtype=dtype) for r in sides]
        if isinstance(noise, str) or len(noise) != self.n_layers:
            raise BenchError(
                "unknown noise for the generator",
                got=repr(noise) if isinstance(noise, str) else f"{len(noise)} maps",
                expected=f"'stored', 'random', 'zero' or {self.n_layers} maps",
            )
        for i, (given, r) in enumerate(zip(noise, sides, strict=True)):
            check_shape(f"noise map {i}", given, (1 if given.shape[0] == 1 else batch, 1, r, r))
        return noise


class _Constant(nn.Module):
    """The learned 4x4 start of synthesis."""

    def __init__(self, channels: int):
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


def _consulted(x: Tensor, hook: Consult, layer: int) -> Tensor:
    y = hook(x) if callable(hook) else fuse(x, *hook)
    if y.shape != x.shape:
        raise ShapeError(
            f"consultation of layer {layer} changed the shape", got=tuple(y.shape), expected=tuple(x.shape)
        )
    return y


def _checked_impl(value: str) -> str:
    if value not in IMPLEMENTATIONS:
        raise BenchError("unknown implementation", got=repr(value), expected=f"one of: {', '.join(IMPLEMENTATIONS)}")
    return value


class Discriminator(nn.Module):
    """Residual discriminator with minibatch standard deviation.

    Args:
        size, channel_multiplier, channels, impl: as :class:`Generator`; ``channels`` counts features at each side.
    """

    group = 4

    def __init__(
        self, size: int, channel_multiplier: int = 2, channels: Mapping[int, int] | None = None, impl: str = "fast"
    ):
        super().__init__()
        self.channels = dict(channels or default_channels(channel_multiplier))
        sides = _sides(size, self.channels)[::-1]
        self.size, self.impl = size, _checked_impl(impl)
        widths = [self.channels[r] for r in sides]
        blocks = [ResBlock(a, b) for a, b in zip(widths, widths[1:], strict=False)]
        self.convs = nn.Sequential(ConvLayer(3, widths[0], 1), *blocks)
        last = widths[-1]
        self.final_conv = ConvLayer(last + 1, last, 3)  # one channel more: the spread
        self.final_linear = nn.Sequential(EqualLinear(last * 16, last, activate=True), EqualLinear(last, 1))

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, R, R) pictures in [-1, 1] -> (B, C, 4, 4), each picture on its own."""
        check_shape("pictures", x, (None, 3, self.size, self.size))
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.convs:
            x = block(x, self.impl)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, R, R) pictures in [-1, 1] -> (B, 1) logits.

        The batch is cut in groups of min(B, 4) pictures that see each other's spread: image i is grouped with those
        whose index differs by multiples of B / group.

        Raises:
            ShapeError: B above 4 is not a multiple of 4, or pictures of another size.
        """
        return self.judge(self.features(x))

    def judge(self, features: Tensor) -> Tensor:
        """(B, C, 4, 4) result of :meth:`features` -> (B, 1) logits, in full precision even under autocast."""
        with torch.autocast(features.device.type, enabled=False):
            x = self._with_spread(features.to(next(self.parameters()).dtype))
            return self.final_linear(self.final_conv(x, self.impl).flatten(1))

    def _with_spread(self, x: Tensor) -> Tensor:
        """Append the groups' mean standard deviation as a channel: (B, C, 4, 4) -> (B, C + 1, 4, 4)."""
        b, c, h, w = x.shape
        group = min(b, self.group)
        if b % group:
            allowed = f"up to {self.group} or a multiple of it"
            raise ShapeError("discriminator batch cannot be grouped", got=b, expected=allowed)
        deviation = torch.sqrt(x.reshape(group, b // group, c, h, w).var(0, unbiased=False) + 1e-8)
        spread = deviation.mean((1, 2, 3)).repeat(group)
        return torch.cat([x, spread[:, None, None, None].expand(-1, -1, h, w)], 1)


def parameter_count(net: nn.Module) -> int:
    """Trainable numbers of a network."""
    return sum(math.prod(p.shape) for p in net.parameters())
