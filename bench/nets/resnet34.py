"""Trunk of plain residual blocks (ResNet-34), used by ReStyle for domains other than faces."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bench.nets.ops import check_shape
from bench.nets.resnet_ir import Groups, check_groups, sides_of

RESNET34: Groups = ((64, 3), (128, 4), (256, 6), (512, 3))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, the first with the stride, each with batch norm, around a shortcut; ReLU after the sum.

    The shortcut is a 1x1 convolution and batch norm where side or width changes.

    Source: He et al. 2016 (ResNet); parameter names of torchvision.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels_in != channels_out:
            projection = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H / stride, W / stride), rounded up."""
        identity = x if self.downsample is None else self.downsample(x)
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + identity)


class ResNetTrunk(nn.Module):
    """7x7 entry with stride 2, then groups of blocks; the first block of every group but the first halves the side.

    Unlike the classifier there is no pooling after the entry, and its activation is a PReLU: a 256 px picture gives
    maps of side 128, 64, 32 and 16, as :class:`bench.nets.resnet_ir.IRTrunk` does.

    Args:
        channels_in: 6 for a picture and a render.
        groups: (channels, blocks) of each group. The entry has the channels of the first. Published: :data:`RESNET34`.
        input_size: side of the pictures, or (height, width).

    Source: He et al. 2016; layout (``conv1``, ``bn1``, ``relu``, ``body``) of yuval-alaluf/restyle-encoder 5e80276.
    """

    def __init__(self, channels_in: int = 6, groups: Groups = RESNET34, input_size: int | Sequence[int] = 256):
        super().__init__()
        check_groups(groups)
        self.channels_in, self.input_size = channels_in, input_size
        self.widths = [width for width, _ in groups]
        before = self.widths[0]
        self.conv1 = nn.Conv2d(channels_in, before, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(before)
        self.relu = nn.PReLU(before)
        blocks = []
        self.ends: list[int] = []
        for group, (width, depth) in enumerate(groups):
            for n in range(depth):
                blocks.append(BasicBlock(before, width, 2 if group and not n else 1))
                before = width
            self.ends.append(len(blocks) - 1)
        self.body = nn.Sequential(*blocks)

    def features(self, x: Tensor) -> list[Tensor]:
        """The map after each group, fine to coarse; shapes, errors as :meth:`bench.nets.resnet_ir.IRTrunk.features`."""
        check_shape("pictures", x, (None, self.channels_in, *sides_of(self.input_size)))
        maps, x = [], self.relu(self.bn1(self.conv1(x)))
        for n, block in enumerate(self.body):
            x = block(x)
            if n in self.ends:
                maps.append(x)
        return maps


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A trunk's tensors out of torchvision's ResNet-34, whose blocks are counted by layer; the classifier is left out.

    What is no such network gives nothing, or too little to fill a trunk.
    """
    blocks = sorted({(int(m[1]), int(m[2])) for key in state if (m := re.match(r"layer(\d+)\.(\d+)\.", key))})
    names = {f"layer{layer}.{block}.": f"body.{n}." for n, (layer, block) in enumerate(blocks)}
    trunk = {key: value for key, value in state.items() if key.startswith(("conv1.", "bn1."))}
    for theirs, ours in names.items():
        trunk |= {ours + key.removeprefix(theirs): value for key, value in state.items() if key.startswith(theirs)}
    return trunk
