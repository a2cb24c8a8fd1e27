"""A small network that reads known factors and the 68 landmarks off a picture of a face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import WeightsError
from bench.images import resize
from bench.nets.ops import check_shape
from bench.nets.residual import ResidualBlock
from bench.nets.statedict import filled, part

POINTS = 68
CORNER = 0.5  # the ground truth counts from the picture's corner, detectors from the centre of the first pixel


class Regressor(nn.Module):
    """Plain residual blocks; the last map is weighted by place, then read linearly by two heads.

    Args:
        side: of the pictures it takes, a multiple of 2^(groups).
        widths: channels of each group; the entry and each later group halve the side.
        blocks: of each group.
        factors: how many numbers the first head gives.

    Source: He et al. 2016 (blocks); Chen et al. 2018, MobileFaceNets (global depthwise convolution).
    """

    def __init__(self, side: int, widths: Sequence[int], blocks: Sequence[int], factors: int):
        super().__init__()
        self.side, before = side, widths[0]
        self.entry = nn.Sequential(nn.Conv2d(3, before, 5, 2, 2, bias=False), nn.BatchNorm2d(before), nn.ReLU())
        body: list[nn.Module] = []
        for number, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for n in range(count):
                body.append(ResidualBlock(before, width, 2 if number and not n else 1))
                before = width
        self.body = nn.Sequential(*body)
        grid = side >> len(widths)
        self.by_place = nn.Conv2d(before, 2 * before, grid, groups=before)
        self.factors = nn.Linear(2 * before, factors)
        self.landmarks = nn.Linear(2 * before, 2 * POINTS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, side, side) in [-1, 1] -> standardised factors (B, F) and landmarks (B, 136; x and y of each)."""
        check_shape("pictures", x, (None, 3, self.side, self.side))
        read = F.relu(self.by_place(self.body(self.entry(x)))).flatten(1)
        return self.factors(read).float(), self.landmarks(read).float()


@dataclass
class Reader:
    """A frozen regressor with the units of what it reads.

    Args:
        net: in evaluation mode. names: of its factors. mean, scale: (F + 136,) float32, undo standardisation.
        landmark_side: side in pixels of the pictures whose landmarks it was trained on.
    """

    net: Regressor
    names: tuple[str, ...]
    mean: Tensor
    scale: Tensor
    landmark_side: int

    @torch.no_grad()
    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, R, R) in [-1, 1] -> factors (B, F) in their own units, landmarks (B, 68, 2) in pixels of R.

        Landmarks are (column, row); (0, 0) is the centre of the first pixel.
        """
        both = torch.cat(self.net(resize(x.clamp(-1, 1).float(), self.net.side, "area")), 1) * self.scale + self.mean
        count = len(self.names)
        points = both[:, count:].reshape(-1, POINTS, 2) * (x.shape[-1] / self.landmark_side) - CORNER
        return both[:, :count], points

    def factors(self, x: Tensor) -> dict[str, Tensor]:
        """name -> (B,) values."""
        values, _ = self.read(x)
        return {name: values[:, n] for n, name in enumerate(self.names)}


def architecture_of(state: Mapping[str, Tensor]) -> tuple[int, list[int], list[int], int]:
    """(side, widths, blocks, factors) of a regressor's tensors; a block with a projection begins a group."""
    widths, blocks = [int(state["entry.0.weight"].shape[0])], [0]
    number = 0
    while f"body.{number}.residual.0.weight" in state:
        if f"body.{number}.shortcut.0.weight" in state:
            widths.append(int(state[f"body.{number}.residual.0.weight"].shape[0]))
            blocks.append(0)
        blocks[-1] += 1
        number += 1
    return int(state["by_place.weight"].shape[-1]) << len(widths), widths, blocks, len(state["factors.weight"])


def reader_from(state: Mapping[str, Tensor], names: Sequence[str], what: str, device: torch.device) -> Reader:
    """The frozen regressor of exported tensors (``net.*``, ``mean``, ``scale``, ``landmark_side``).

    Args:
        names: of its factors; empty if landmarks alone are wanted.
    Raises:
        WeightsError: the file holds something else.
    """
    net_state = part(state, "net.")
    absent = {"mean", "scale", "landmark_side"} - set(state) | {"by_place.weight", "entry.0.weight"} - set(net_state)
    if absent:
        raise WeightsError(f"{what} hold no regressor", got=f"no {', '.join(sorted(absent))}")
    sizes = architecture_of(net_state)
    net = filled(lambda: Regressor(*sizes), net_state, what).to(device)
    units = (state["mean"].to(device), state["scale"].to(device))
    return Reader(net, tuple(names) or ("",) * sizes[3], *units, int(state["landmark_side"]))
