"""Trunk of IR units (ArcFace's residual network, with or without squeeze and excitation) that keeps a map per side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise

from torch import Tensor, nn

from bench.errors import BenchError, WeightsError
from bench.nets.ir_unit import IRUnit, entry
from bench.nets.ops import check_shape

ENTRY, RESNET_ENTRY = "input_layer.0.weight", "conv1.weight"


def groups_of(trunk: Mapping[str, Tensor], what: str) -> Groups:
    """(channels, units) of the groups of a trunk, of IR units or residual blocks, read off its tensors."""
    resnet = RESNET_ENTRY in trunk
    last = "conv2" if resnet else "res_layer.3"
    units = [len(trunk[key]) for n in range(len(trunk)) if (key := f"body.{n}.{last}.weight") in trunk]
    if not (resnet or ENTRY in trunk) or not units:
        raise WeightsError(f"weights {what!r} hold no trunk", got=", ".join(list(trunk)[:3]), expected=ENTRY)
    return [(width, len(list(same))) for width, same in groupby(units)]


Groups = Sequence[tuple[int, int]]  # (channels, units) of each group of units, fine to coarse
Sides = tuple[int, int]  # height, width
IR50: Groups = ((64, 3), (128, 4), (256, 14), (512, 3))
IR101: Groups = ((64, 3), (128, 13), (256, 30), (512, 3))


def sides_of(input_size: int | Sequence[int]) -> Sides:
    """(height, width) of pictures given by their side or by both."""
    if isinstance(input_size, int):
        return input_size, input_size
    height, width = input_size
    return height, width


def check_groups(groups: Groups) -> None:
    """Raise BenchError unless there is a group, each has a unit, and neighbours differ in width.

    Strides leave no trace in weights: the change of width is what tells where a group begins, so that a trunk can be
    built anew from its weights alone.
    """
    widths = [width for width, _ in groups]
    alike = any(a == b for a, b in pairwise(widths))
    if not groups or alike or any(width < 1 or units < 1 for width, units in groups):
        raise BenchError(
            "a trunk needs groups of (channels, units), each of another width than the one before",
            got=list(groups),
            expected=f"e.g. {list(IR50)}",
        )


class IRTrunk(nn.Module):
    """Entry at full side, then groups of units; the first unit of every group, the first group's too, halves the side.

    Args:
        channels_in: 3 for a picture, 6 for a picture and a render.
        groups: (channels, units) of each group. The entry has the channels of the first. Published: :data:`IR50`,
            whose taps are the results of units 2, 6, 20 and 23 (sides 128, 64, 32, 16 for 256 px).
        se: units with squeeze and excitation.
        input_size: side of the pictures, or (height, width): (192, 256) for cars.

    Source: Deng et al. 2019 (ArcFace), Hu et al. 2018 (SE); parameter names (``input_layer``, ``body``) and the
    stride of the first group of eladrich/pixel2style2pixel 5cfff38.
    """

    def __init__(
        self,
        channels_in: int = 3,
        groups: Groups = IR50,
        se: bool = True,
        input_size: int | Sequence[int] = 256,
    ):
        super().__init__()
        check_groups(groups)
        self.channels_in, self.input_size = channels_in, input_size
        self.widths = [width for width, _ in groups]
        self.input_layer = entry(channels_in, self.widths[0])
        units, before = [], self.widths[0]
        self.ends: list[int] = []
        for width, depth in groups:
            for n in range(depth):
                units.append(IRUnit(before, width, 1 if n else 2, se))
                before = width
            self.ends.append(len(units) - 1)
        self.body = nn.Sequential(*units)

    def features(self, x: Tensor) -> list[Tensor]:
        """The map after each group, fine to coarse.

        Args:
            x: (B, C, H, W) in [-1, 1], of the trunk's channels and input size.
        Returns:
            One (B, width, H / 2^g, W / 2^g) per group g = 1, 2, ..., sides rounded up.
        Raises:
            ShapeError: other channels or sides.
        """
        check_shape("pictures", x, (None, self.channels_in, *sides_of(self.input_size)))
        maps, x = [], self.input_layer(x)
        for n, unit in enumerate(self.body):
            x = unit(x)
            if n in self.ends:
                maps.append(x)
        return maps
