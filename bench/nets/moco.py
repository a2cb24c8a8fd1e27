"""ResNet-50 features of MoCo v2: similarity of pictures that are not faces, where there is no face recogniser."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from bench.nets.ops import check_shape
from bench.nets.statedict import filled

DEPTHS = (3, 4, 6, 3)
WIDTH = 64
EXPANSION = 4
INPUT = 224


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 convolutions with batch norm, and a shortcut."""

    def __init__(self, channels_in: int, width: int, stride: int):
        super().__init__()
        channels_out = width * EXPANSION
        self.conv1, self.bn1 = nn.Conv2d(channels_in, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or channels_in != channels_out:
            projection = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, 4 width, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class MocoFeatures(nn.Module):
    """ResNet-50 without its classifier; unit features, whose dot product is the similarity of two pictures.

    Args:
        depths: blocks of each stage.
        width: channels of the first stage; doubled from stage to stage.

    Source: He et al. 2016 (ResNet; here with the stride in the 3x3 convolution); weights of Chen et al. 2020 (MoCo v2);
    used as a loss by Tov et al. 2021 (e4e), Sec. 4. Parameter names are torchvision's, as in the published file below
    ``module.encoder_q.``, the query encoder; momentum encoder and queue served the pre-training alone.
    """

    def __init__(self, depths: tuple[int, ...] = DEPTHS, width: int = WIDTH):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        before = width
        self.stages = len(depths)
        for stage, depth in enumerate(depths):
            wide = width << stage
            blocks = []
            for block in range(depth):
                blocks.append(Bottleneck(before, wide, 2 if stage and not block else 1))
                before = wide * EXPANSION
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 2048) of unit length.

        The picture is brought to 224 by nearest neighbour and not normalised to ImageNet statistics: as in the source's
        training loss, so that a loss computed here is the one published systems were trained with.
        """
        check_shape("pictures", x, (None, 3, None, None))
        x = F.relu(self.bn1(self.conv1(F.interpolate(x, size=INPUT, mode="nearest"))))
        x = F.max_pool2d(x, 3, 2, 1)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return F.normalize(x.mean((2, 3)), dim=1)


def moco_from(state: Mapping[str, Tensor], what: str) -> MocoFeatures:
    """The frozen features of a MoCo query encoder; its depths and width are read off the tensors.

    Args:
        state: names of torchvision's ResNet; a head ``fc`` served the pre-training alone and is left out.
    Raises:
        WeightsError: not such a network.
    """
    backbone = {key: value for key, value in state.items() if not key.startswith("fc.")}
    stages = sum(f"layer{n}.0.conv1.weight" in backbone for n in range(1, 9))
    depths = tuple(sum(f"layer{n}.{b}.conv1.weight" in backbone for b in range(99)) for n in range(1, stages + 1))
    width = len(backbone["conv1.weight"]) if "conv1.weight" in backbone else WIDTH
    return filled(lambda: MocoFeatures(depths, width), backbone, what)
