"""MTCNN: three small networks that find faces and five points on each, as the pSp family's identity score uses them.

The cascade keeps the quirks of that code, because its numbers depend on them; each is said where it stands.
Source: Zhang et al. 2016; facts of TreB1eN/InsightFace_Pytorch as copied in eladrich/pixel2style2pixel 5cfff38.
Parameter names are those of the published files.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn

MIN_FACE, FACTOR, CELL, STRIDE = 20, 0.707, 12, 2
THRESHOLDS = (0.15, 0.25, 0.35)
OVERLAPS = (0.7, 0.7, 0.7)
OVERLAP_IN_SCALE = 0.5


class _Flatten(nn.Module):
    """Columns before rows, as the weights were trained."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(2, 3).flatten(1)


def _pool(side: int) -> nn.MaxPool2d:
    return nn.MaxPool2d(side, 2, ceil_mode=True)


class PNet(nn.Module):
    """Proposals. (B, 3, H, W) -> offsets (B, 4, h, w) and probabilities (B, 2, h, w) on a grid of stride 2."""

    def __init__(self) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i, (into, width) in enumerate(((3, 10), (10, 16), (16, 32)), start=1):
            layers |= {f"conv{i}": nn.Conv2d(into, width, 3), f"prelu{i}": nn.PReLU(width)}
            if i == 1:
                layers["pool1"] = _pool(2)
        self.features = nn.Sequential(layers)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> offsets (B, 4, h, w) and probabilities (B, 2, h, w)."""
        x = self.features(x)
        # Over the width, not over the two classes: a slip of the source that its thresholds were chosen with.
        return self.conv4_2(x), self.conv4_1(x).softmax(-1)


class RNet(nn.Module):
    """Refinement. (B, 3, 24, 24) -> offsets (B, 4), probabilities (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = _dense(((3, 28, 3, 3), (28, 48, 3, 3), (48, 64, 2, 0)), 576, 128)
        self.conv5_1, self.conv5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 24, 24) -> offsets (B, 4) and probabilities (B, 2)."""
        x = self.features(x)
        return self.conv5_2(x), self.conv5_1(x).softmax(-1)


class ONet(nn.Module):
    """Output. (B, 3, 48, 48) -> points (B, 10; x first), offsets (B, 4), probabilities (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = _dense(((3, 32, 3, 3), (32, 64, 3, 3), (64, 64, 3, 2), (64, 128, 2, 0)), 1152, 256)
        self.conv6_1, self.conv6_2, self.conv6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, 48, 48) -> points (B, 10), offsets (B, 4) and probabilities (B, 2)."""
        x = self.features(x)
        return self.conv6_3(x), self.conv6_2(x), self.conv6_1(x).softmax(-1)


def _dense(convs: tuple[tuple[int, int, int, int], ...], into: int, width: int) -> nn.Sequential:
    """Convolutions (in, out, side, side of the pooling after it or 0), then a linear layer; PReLU after each."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (a, b, side, pool) in enumerate(convs, start=1):
        layers |= {f"conv{i}": nn.Conv2d(a, b, side), f"prelu{i}": nn.PReLU(b)}
        if pool:
            layers[f"pool{i}"] = _pool(pool)
    i = len(convs) + 1
    layers |= {"flatten": _Flatten(), f"conv{i}": nn.Linear(into, width), f"prelu{i}": nn.PReLU(width)}
    return nn.Sequential(layers)


class MTCNN(nn.Module):
    """The cascade on one picture."""

    def __init__(self) -> None:
        super().__init__()
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def points(self, picture: np.ndarray) -> np.ndarray | None:
        """Five points of the first face found, or None.

        Args:
            picture: (H, W, 3) uint8 RGB.
        Returns:
            (5, 2) float64 pixels: left eye, right eye, nose, corners of the mouth.
        """
        boxes = self._propose(picture)
        if len(boxes):
            boxes = self._refine(picture, boxes)
        return self._output(picture, boxes) if len(boxes) else None

    def _propose(self, picture: np.ndarray) -> np.ndarray:
        """(N, 5) boxes (x1, y1, x2, y2, score) from every scale of the picture."""
        height, width = picture.shape[:2]
        scale, found = CELL / MIN_FACE, []
        while min(height, width) * scale > CELL:
            size = (math.ceil(width * scale), math.ceil(height * scale))
            offsets, probabilities = self.pnet(self._input([_resized(picture, size)]))
            boxes = _boxes_of(probabilities[0, 1].cpu().numpy(), offsets[0].cpu().numpy(), scale)
            found.append(boxes[suppress(boxes[:, :5], OVERLAP_IN_SCALE)])
            scale *= FACTOR
        boxes = np.concatenate(found) if found else np.zeros((0, 9))
        boxes = boxes[suppress(boxes[:, :5], OVERLAPS[0])]
        return _squared(_moved(boxes[:, :5], boxes[:, 5:]))

    def _refine(self, picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        offsets, probabilities = (o.cpu().numpy() for o in self.rnet(self._input(_cut(picture, boxes, 24))))
        keep = probabilities[:, 1] > THRESHOLDS[1]
        boxes, offsets = np.column_stack([boxes[keep, :4], probabilities[keep, 1]]), offsets[keep]
        order = suppress(boxes, OVERLAPS[1])
        return _squared(_moved(boxes[order], offsets[order]))

    def _output(self, picture: np.ndarray, boxes: np.ndarray) -> np.ndarray | None:
        crops = self._input(_cut(picture, boxes, 48))
        points, offsets, probabilities = (o.cpu().double().numpy() for o in self.onet(crops))
        keep = probabilities[:, 1] > THRESHOLDS[2]
        boxes, points = np.column_stack([boxes[keep, :4], probabilities[keep, 1]]), points[keep]
        sides = boxes[:, 2:4] - boxes[:, :2] + 1
        x, y = boxes[:, :1] + sides[:, :1] * points[:, :5], boxes[:, 1:2] + sides[:, 1:] * points[:, 5:]
        order = suppress(_moved(boxes, offsets[keep]), OVERLAPS[2], smaller=True)
        return np.stack([x[order[0]], y[order[0]]], axis=1) if len(order) else None

    def _input(self, pictures: list[np.ndarray]) -> Tensor:
        """(B, 3, h, w) float32, (x - 127.5) / 128."""
        batch = torch.from_numpy(np.stack(pictures).astype(np.float32)).movedim(-1, 1)
        return (batch - 127.5).mul(0.0078125).to(self.pnet.conv4_1.weight.device)


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pillow's bilinear, to (width, height)."""
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))


def _boxes_of(probability: np.ndarray, offsets: np.ndarray, scale: float) -> np.ndarray:
    """(N, 9): box in the picture, score, offsets, of each cell above the first threshold."""
    rows, columns = np.nonzero(probability > THRESHOLDS[0])
    left, top = STRIDE * columns + 1.0, STRIDE * rows + 1.0
    corners = np.stack([left, top, left + CELL, top + CELL]) / scale
    return np.column_stack([np.round(corners).T, probability[rows, columns], offsets[:, rows, columns].T])


def suppress(boxes: np.ndarray, threshold: float, smaller: bool = False) -> list[int]:
    """Greedy suppression: rows kept, best score first.

    Args:
        boxes: (N, 5). smaller: overlap is over the smaller box, not over the union.
    """
    left, top, right, bottom, score = boxes.T
    area = (right - left + 1) * (bottom - top + 1)
    order, kept = np.argsort(score), []
    while len(order):
        best, order = order[-1], order[:-1]
        kept.append(int(best))
        width = np.minimum(right[best], right[order]) - np.maximum(left[best], left[order]) + 1
        height = np.minimum(bottom[best], bottom[order]) - np.maximum(top[best], top[order]) + 1
        shared = width.clip(min=0) * height.clip(min=0)
        whole = np.minimum(area[best], area[order]) if smaller else area[best] + area[order] - shared
        order = order[shared / whole <= threshold]
    return kept


def _moved(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Corners shifted by offsets in parts of the sides."""
    sides = boxes[:, 2:4] - boxes[:, :2] + 1
    return np.column_stack([boxes[:, :4] + np.tile(sides, 2) * offsets, boxes[:, 4:]])


def _squared(boxes: np.ndarray) -> np.ndarray:
    """Boxes widened to squares about their middle, corners rounded."""
    sides = boxes[:, 2:4] - boxes[:, :2] + 1
    side = sides.max(1, keepdims=True) if len(boxes) else sides[:, :1]
    start = boxes[:, :2] + sides * 0.5 - side * 0.5
    return np.column_stack([np.round(start), np.round(start + side - 1), boxes[:, 4:]])


def _cut(picture: np.ndarray, boxes: np.ndarray, side: int) -> list[np.ndarray]:
    """Square crops at ``side``, black outside the picture."""
    height, width = picture.shape[:2]
    crops = []
    for left, top, right, bottom in boxes[:, :4].astype(int):
        crop = np.zeros((bottom - top + 1, right - left + 1, 3), np.uint8)
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(right, width - 1), min(bottom, height - 1)
        if x2 >= x1 and y2 >= y1:
            crop[y1 - top : y2 - top + 1, x1 - left : x2 - left + 1] = picture[y1 : y2 + 1, x1 : x2 + 1]
        crops.append(_resized(crop, (side, side)))
    return crops
