"""Distortion alignment (ADA): bring what the code lost of a picture into line with the render it is to be added to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.images import resize
from bench.nets.ir_unit import IRUnit, entry
from bench.nets.ops import check_shape

WIDTHS = (16, 32, 48, 64)
UNITS = 3  # in each stage


def stage(widths: Sequence[int], stride: int = 1) -> nn.Sequential:
    """IR units from each width to the next: (B, widths[0], H, W) -> (B, widths[-1], H / stride, W / stride)."""
    pairs = zip(widths, widths[1:], strict=False)
    return nn.Sequential(*[IRUnit(a, b, 1 if n else stride) for n, (a, b) in enumerate(pairs)])


class DistortionAligner(nn.Module):
    """Encoder and decoder with skip connections over a distortion map and the picture it must fit.

    Each encoder stage after the first halves the side, each decoder stage brings it back to that of its skip
    connection. No bound is put on the result: a distortion has the range of a difference of pictures.

    Args:
        widths: channels of the encoder's stages, fine to coarse; those of the decoder follow.
            Published: (16, 32, 48, 64), 0.60 M numbers.

    Source: Wang et al. 2022 (HFGI), Sec. 3.3; parameter names of Tengfei-Wang/HFGI e30f33c (``grid_align.``). There the
    sides 64, 128 and 256 are constants; here they are those of the skip connections, so pictures of any size will do.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS):
        super().__init__()
        if len(widths) < 2:
            raise BenchError("an aligner needs two stages at least", got=list(widths), expected=f"e.g. {list(WIDTHS)}")
        self.stages = len(widths)
        self.conv_layer1 = entry(6, widths[0])
        for n, (before, width) in enumerate(zip(widths, widths[1:], strict=False), 2):
            self.add_module(f"conv_layer{n}", stage([before, *[width] * UNITS], stride=2))
        before = widths[-1]
        for n, (skip, after) in enumerate(zip(widths[-2::-1], [*widths[-3::-1], 3], strict=True), 1):
            self.add_module(f"dconv_layer{n}", stage([before + skip, before, after, after]))
            before = after

    def forward(self, target: Tensor, distortion: Tensor) -> Tensor:
        """Align a distortion to a picture.

        Args:
            target: (B, 3, H, W) render in [-1, 1] that the distortion is for (for an edit: the edited one).
            distortion: (B, 3, H, W) source minus reconstruction, in [-2, 2], misaligned.
        Returns:
            (B, 3, H, W) aligned distortion, unbounded.
        Raises:
            ShapeError: not two batches of RGB pictures of one shape.
        """
        check_shape("target", target, (None, 3, None, None))
        check_shape("distortion", distortion, tuple(target.shape))
        x, skips = torch.cat([distortion, target], 1), []
        for n in range(1, self.stages + 1):
            x = getattr(self, f"conv_layer{n}")(x)
            skips.append(x)
        for n, skip in enumerate(skips[-2::-1], 1):
            x = torch.cat([resize(x, (skip.shape[-2], skip.shape[-1]), "bilinear"), skip], 1)
            x = getattr(self, f"dconv_layer{n}")(x)
        return x


def widths_in(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Channels of the stages ``conv_layer1``, ``conv_layer2``, ... in a state dict of the aligner or the encoder."""
    widths: list[int] = []
    while (key := f"conv_layer{len(widths) + 1}." + ("0.res_layer.3.weight" if widths else "0.weight")) in state:
        widths.append(len(state[key]))
    return tuple(widths)
