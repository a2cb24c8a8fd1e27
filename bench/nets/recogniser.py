"""Small face recognisers trained in this repository: one for losses, one of another architecture for evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import UnknownName, WeightsError
from bench.images import resize
from bench.nets.identity import CROP_FROM, arcface_ir_se50, face_crop
from bench.nets.moco import moco_from
from bench.nets.ops import check_shape
from bench.nets.residual import ResidualBlock
from bench.nets.resnet_ir import Groups, IRTrunk, groups_of
from bench.nets.statedict import filled, part

MARGIN = 8  # the face fills a picture aligned the FFHQ way but for an eighth of the side at each edge


def aligned_crop(x: Tensor, side: int) -> Tensor:
    """Faces as recognisers want them, out of pictures aligned the FFHQ way.

    Eyes and mouth then lie where the five-point alignment of ArcFace puts them (to 1 px of 112), without landmarks.

    Args:
        x: (B, 3, R, R), R a multiple of 8. side: of the result.
    Returns:
        (B, 3, side, side): bilinear, with antialiasing where it shrinks.
    """
    cut = x.shape[-1] // MARGIN
    return resize(x[:, :, cut : x.shape[-2] - cut, cut : x.shape[-1] - cut], side, "bilinear_aa")


class Recogniser(nn.Module):
    """What all recognisers have in common. ``side``: of the faces they take."""

    side: int

    def of_pictures(self, x: Tensor) -> Tensor:
        """(B, 3, R, R) pictures in [-1, 1], aligned the FFHQ way -> (B, D) features of unit length."""
        return self(aligned_crop(x, self.side))


class SqueezedRecogniser(Recogniser):
    """Improved residual units with squeeze and excitation, as in ArcFace's IR-SE networks, but narrow.

    Args:
        side: of the faces, a multiple of 2^groups.
        groups: (channels, units) of each group; each halves the side.
        features: length of the result.
    """

    def __init__(self, side: int, groups: Groups, features: int):
        super().__init__()
        self.side = side
        self.trunk = IRTrunk(3, groups, True, side)
        last, grid = groups[-1][0], side >> len(groups)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(last), nn.Flatten(), nn.Linear(last * grid * grid, features), nn.BatchNorm1d(features)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, side, side) in [-1, 1] -> (B, features) of unit length."""
        check_shape("faces", x, (None, 3, self.side, self.side))
        return F.normalize(self.output_layer(self.trunk.features(x)[-1]).float(), dim=1)


class ResidualRecogniser(Recogniser):
    """Plain residual blocks after a coarse entry; each channel's last map is weighted by place before it is read.

    Args:
        side: of the faces, a multiple of 2^(groups + 1).
        groups: (channels, blocks) of each group; the entry divides the side by 4, each group but the first by 2.
        features: length of the result.

    Source: He et al. 2016 (blocks); Chen et al. 2018, MobileFaceNets (global depthwise convolution).
    """

    def __init__(self, side: int, groups: Groups, features: int):
        super().__init__()
        self.side = side
        before = groups[0][0]
        self.entry = nn.Sequential(nn.Conv2d(3, before, 5, 4, 2, bias=False), nn.BatchNorm2d(before), nn.ReLU())
        blocks: list[nn.Module] = []
        for number, (width, count) in enumerate(groups):
            for n in range(count):
                blocks.append(ResidualBlock(before, width, 2 if number and not n else 1))
                before = width
        self.body = nn.Sequential(*blocks)
        grid = side >> (len(groups) + 1)
        self.by_place = nn.Sequential(nn.Conv2d(before, before, grid, groups=before, bias=False), nn.Flatten())
        self.read = nn.Sequential(nn.BatchNorm1d(before), nn.Linear(before, features), nn.BatchNorm1d(features))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, side, side) in [-1, 1] -> (B, features) of unit length."""
        check_shape("faces", x, (None, 3, self.side, self.side))
        return F.normalize(self.read(self.by_place(self.body(self.entry(x)))).float(), dim=1)


KINDS: dict[str, Callable[[int, Groups, int], Recogniser]] = {
    "ir_se": SqueezedRecogniser,
    "residual": ResidualRecogniser,
}


def build(architecture: Mapping[str, Any]) -> Recogniser:
    """The recogniser that ``kind``, ``side``, ``groups`` and ``features`` describe, with start values.

    Raises:
        UnknownName: no such kind.
    """
    kind = architecture["kind"]
    if kind not in KINDS:
        raise UnknownName.of("kind of recogniser", kind, KINDS)
    groups: Sequence[tuple[int, int]] = [(width, units) for width, units in architecture["groups"]]
    return KINDS[kind](architecture["side"], groups, architecture["features"])


def identity_features(state: Mapping[str, Tensor], what: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """How the identity loss sees aligned pictures (B, 3, R, R) in [-1, 1]: (B, D) features of unit length.

    The weights choose: those of ``model_ir_se50.pth``, with the crop of the pSp family; those of MoCo v2, for pictures
    of any kind, whole; or of a recogniser of this suite.

    Raises:
        WeightsError: none of them.
    """
    if "layer1.0.conv1.weight" in state:
        return moco_from(state, what).to(device)
    if "input_layer.0.weight" not in state:
        return recogniser_from(state, what).to(device).of_pictures
    net = filled(arcface_ir_se50, state, what).to(device)
    return lambda x: net(face_crop(resize(x, CROP_FROM, "area")))


def recogniser_from(state: Mapping[str, Tensor], what: str) -> Recogniser:
    """The frozen recogniser of losses that holds these tensors; its sizes are read off them.

    Raises:
        WeightsError: not those of a :class:`SqueezedRecogniser`.
    """
    read = state.get("output_layer.2.weight")
    groups = groups_of(part(state, "trunk."), what)
    if read is None or read.ndim != 2:
        raise WeightsError(
            f"{what} hold no recogniser", got=", ".join(list(state)[:3]), expected="output_layer.2.weight"
        )
    grid = math.isqrt(read.shape[1] // groups[-1][0])
    return filled(lambda: SqueezedRecogniser(grid << len(groups), groups, len(read)), state, what)
