"""Encoders of pSp, e4e and ReStyle: a picture becomes offsets of the codes of all layers from the mean code.

A trunk gives one map per side; a small head per style (map2style) reduces one of these maps to a code. Two questions
tell the encoders apart: which maps the heads read (a feature pyramid, or the coarsest map alone), and whether each
head gives its own code or, progressively, a difference to the first head's. None of them adds the mean code.

One class serves every size: input, number of styles, code length, trunk and the map each style reads are arguments
whose defaults are the published ones. State dicts have the published layout (tests/golden).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BenchError
from bench.nets.layers import EqualLinear
from bench.nets.ops import check_shape
from bench.nets.resnet34 import RESNET34, ResNetTrunk
from bench.nets.resnet_ir import IR50, Groups, IRTrunk, Sides, sides_of

SLOPE = 0.01  # of the heads' leaky ReLU: the framework's default, unlike StyleGAN2's 0.2
COARSE, MIDDLE = 3, 7  # first style that reads the middle map, first that reads the fine one


def published_taps(n_styles: int) -> tuple[int, ...]:
    """Level of the pyramid each style reads in pSp and e4e, 0 the coarsest: styles 0 to 2, 3 to 6, from 7 on."""
    return tuple(0 if i < COARSE else 1 if i < MIDDLE else 2 for i in range(n_styles))


class Map2Style(nn.Module):
    """Strided convolutions that reduce a map to one pixel, and a linear layer.

    Args:
        channels: of the map. style_dim: D of the code.
        sides: (height, width) of the map; halved, rounded up, until one pixel is left.
        width: of all convolutions but the last, whose width is D; None, as published, is D. Heads hold most of an
            encoder's parameters; a last one narrower than D would confine codes to a subspace.

    Source: Richardson et al. 2021 (pSp), Sec. 3.1; parameter names of eladrich/pixel2style2pixel 5cfff38.
    """

    def __init__(self, channels: int, style_dim: int, sides: Sides, width: int | None = None):
        super().__init__()
        halvings = math.ceil(math.log2(max(sides)))
        layers: list[nn.Module] = []
        before = channels
        for n in range(halvings):
            after = style_dim if width is None or n == halvings - 1 else width
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.LeakyReLU(SLOPE)]
            before = after
        if not layers:
            raise BenchError("the trunk leaves one pixel", expected="two at least", fix="use fewer groups of units")
        self.shape = (channels, *sides)
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(style_dim, style_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D). Raises ShapeError for a map of another shape."""
        check_shape("map", x, (None, *self.shape))
        return self.linear(self.convs(x).flatten(1))


def _halved(sides: Sides, times: int) -> Sides:
    height, width = (-(-side // 2**times) for side in sides)
    return height, width


def _latents(heads: nn.ModuleList, maps: Sequence[Tensor], taps: Sequence[int], count: int) -> Tensor:
    """(B, count, D): what the first ``count`` heads make of the maps their taps name."""
    return torch.stack([head(maps[tap]) for head, tap in zip(heads[:count], taps[:count], strict=True)], 1)


def _heads_at(stage: int | None, n_styles: int) -> int:
    """How many heads a progressive encoder uses at a stage."""
    if stage is None:
        return n_styles
    if not 0 <= stage < n_styles:
        raise BenchError("no such stage of a progressive encoder", got=stage, expected=f"0 to {n_styles - 1}, or None")
    return stage + 1


def accumulate(parts: Tensor, n_styles: int) -> Tensor:
    """First code plus differences.

    Args:
        parts: (B, k, D), the first code and k - 1 differences to it, 1 <= k <= n_styles.
    Returns:
        (B, n_styles, D): code 0, then code 0 plus each difference; codes without one equal code 0.

    Source: Tov et al. 2021 (e4e), Sec. 4.1 and 5.1.
    """
    first, differences = parts[:, :1], parts[:, 1:]
    rest = n_styles - parts.shape[1]
    return first.expand(-1, n_styles, -1) + F.pad(differences, (0, 0, 1, rest))


class FPNEncoder(IRTrunk):
    """pSp: heads on three levels of a feature pyramid, each giving its own code.

    Args:
        n_styles: L, 2 log2(R) - 2 for a generator of side R. style_dim: D.
        channels_in, groups, se, input_size: as :class:`bench.nets.resnet_ir.IRTrunk`.
        taps: level of the pyramid each style reads, 0 the trunk's coarsest map, each further level twice the side.
            None is :func:`published_taps`. There are as many lateral layers as the finest level needs.
        head_width: as ``width`` of :class:`Map2Style`.

    Raises:
        BenchError: not one tap per style, or a level that the trunk does not have.

    Source: Richardson et al. 2021 (pSp), Sec. 3.1; parameter names (``latlayer1``, ``styles``) of
    eladrich/pixel2style2pixel 5cfff38. No convolution smooths the sums.
    """

    def __init__(
        self,
        n_styles: int = 18,
        style_dim: int = 512,
        channels_in: int = 3,
        groups: Groups = IR50,
        se: bool = True,
        input_size: int | Sequence[int] = 256,
        taps: Sequence[int] | None = None,
        head_width: int | None = None,
    ):
        super().__init__(channels_in, groups, se, input_size)
        self.n_styles, self.style_dim = n_styles, style_dim
        self.taps = tuple(published_taps(n_styles) if taps is None else taps)
        levels = len(groups)
        if len(self.taps) != n_styles or not all(0 <= tap < levels for tap in self.taps):
            raise BenchError(
                "taps do not fit the encoder", got=self.taps, expected=f"{n_styles} levels from 0 to {levels - 1}"
            )
        width = self.widths[-1]
        sides = sides_of(input_size)
        self.styles = nn.ModuleList(
            Map2Style(width, style_dim, _halved(sides, levels - tap), head_width) for tap in self.taps
        )
        for level in range(1, max(self.taps) + 1):
            self.add_module(f"latlayer{level}", nn.Conv2d(self.widths[-1 - level], width, 1))

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) pictures in [-1, 1] -> the maps the heads read, coarse to fine, all as wide as the coarsest."""
        *finer, coarsest = self.features(x)
        maps = [coarsest]
        for level in range(1, max(self.taps) + 1):
            lateral = getattr(self, f"latlayer{level}")(finer[-level])
            size = (lateral.shape[-2], lateral.shape[-1])
            maps.append(F.interpolate(maps[-1], size=size, mode="bilinear", align_corners=True) + lateral)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) pictures in [-1, 1] -> (B, L, D) codes relative to the mean code."""
        return _latents(self.styles, self.pyramid(x), self.taps, self.n_styles)


class ProgressiveEncoder(FPNEncoder):
    """e4e: the pyramid of pSp; the first head gives a code for all layers, the others differences to it.

    Arguments as :class:`FPNEncoder`, parameters too: nothing in a state dict tells the two apart.

    Source: Tov et al. 2021 (e4e), Sec. 5.1; omertov/encoder4editing 99ea505.
    """

    def forward(self, x: Tensor, stage: int | None = None) -> Tensor:
        """Pictures to codes relative to the mean code.

        Args:
            x: (B, C, H, W) in [-1, 1].
            stage: use differences 1 to ``stage`` alone (training starts from 0, one code for all); None uses all.
        Returns:
            (B, L, D).
        """
        count = _heads_at(stage, self.n_styles)
        return accumulate(_latents(self.styles, self.pyramid(x), self.taps, count), self.n_styles)


class BackboneEncoder(IRTrunk):
    """ReStyle-pSp for faces: every head reads the coarsest map and gives its own code. No pyramid.

    Args:
        n_styles, style_dim: as :class:`FPNEncoder`.
        channels_in: 6, the picture first, then the render of the step before.
        groups, se, input_size: as :class:`bench.nets.resnet_ir.IRTrunk`.
        head_width: as ``width`` of :class:`Map2Style`.

    Source: Alaluf et al. 2021 (ReStyle), Sec. 4.1; yuval-alaluf/restyle-encoder 5e80276.
    """

    def __init__(
        self,
        n_styles: int = 18,
        style_dim: int = 512,
        channels_in: int = 6,
        groups: Groups = IR50,
        se: bool = True,
        input_size: int | Sequence[int] = 256,
        head_width: int | None = None,
    ):
        super().__init__(channels_in, groups, se, input_size)
        self.n_styles, self.style_dim = n_styles, style_dim
        self.styles = _coarse_heads(self, len(groups), head_width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), picture and render in [-1, 1] (renders may leave it) -> (B, L, D) offsets of the codes."""
        return _coarse_latents(self, x, self.n_styles)


class ProgressiveBackboneEncoder(BackboneEncoder):
    """ReStyle-e4e for faces: as :class:`BackboneEncoder`, with differences to the first code."""

    def forward(self, x: Tensor, stage: int | None = None) -> Tensor:
        """As :meth:`BackboneEncoder.forward`; ``stage`` as :meth:`ProgressiveEncoder.forward`."""
        return accumulate(_coarse_latents(self, x, _heads_at(stage, self.n_styles)), self.n_styles)


class ResNetEncoder(ResNetTrunk):
    """ReStyle-pSp for other domains: as :class:`BackboneEncoder`, on a ResNet-34 trunk.

    Arguments as :class:`BackboneEncoder`; ``groups`` as :class:`bench.nets.resnet34.ResNetTrunk`.

    Source: Alaluf et al. 2021 (ReStyle); yuval-alaluf/restyle-encoder 5e80276.
    """

    def __init__(
        self,
        n_styles: int = 18,
        style_dim: int = 512,
        channels_in: int = 6,
        groups: Groups = RESNET34,
        input_size: int | Sequence[int] = 256,
        head_width: int | None = None,
    ):
        super().__init__(channels_in, groups, input_size)
        self.n_styles, self.style_dim = n_styles, style_dim
        self.styles = _coarse_heads(self, len(groups), head_width)

    def forward(self, x: Tensor) -> Tensor:
        """As :meth:`BackboneEncoder.forward`."""
        return _coarse_latents(self, x, self.n_styles)


class ProgressiveResNetEncoder(ResNetEncoder):
    """ReStyle-e4e for other domains: as :class:`ResNetEncoder`, with differences to the first code."""

    def forward(self, x: Tensor, stage: int | None = None) -> Tensor:
        """As :meth:`BackboneEncoder.forward`; ``stage`` as :meth:`ProgressiveEncoder.forward`."""
        return accumulate(_coarse_latents(self, x, _heads_at(stage, self.n_styles)), self.n_styles)


def _coarse_heads(net: BackboneEncoder | ResNetEncoder, halvings: int, width: int | None) -> nn.ModuleList:
    """One head per style for the trunk's coarsest map."""
    sides = _halved(sides_of(net.input_size), halvings)
    return nn.ModuleList(Map2Style(net.widths[-1], net.style_dim, sides, width) for _ in range(net.n_styles))


def _coarse_latents(net: BackboneEncoder | ResNetEncoder, x: Tensor, count: int) -> Tensor:
    """(B, count, D) results of the first heads on the trunk's coarsest map."""
    return _latents(net.styles, net.features(x)[-1:], [0] * count, count)
