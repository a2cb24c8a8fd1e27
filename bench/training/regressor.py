"""Training of the regressor of known factors and landmarks, and how much of them it explains on new faces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from bench.errors import BenchError
from bench.images import resize
from bench.nets.regressor import POINTS, Reader, Regressor
from bench.training.data import PackedImages
from bench.training.known import MIRROR
from bench.training.supervised import Span, SupervisedConfig, SupervisedTraining, identity_rows

READ_TOGETHER = 250  # pictures


class RegressorConfig(SupervisedConfig):
    """Keys of a regressor's training beside the common ones."""

    side: int = Field(64, gt=0)
    widths: list[int] = Field(min_length=1)
    blocks: list[int] = Field(min_length=1)
    held_out: Span = Field(description="identities to be measured on, never trained on")
    landmark_weight: float = Field(0.5, ge=0)
    factors: list[str] = Field(min_length=1, description="read alike from a picture and its mirror image")
    odd_factors: list[str] = Field(default_factory=list, description="change their sign with it")

    @property
    def names(self) -> list[str]:
        """All factors, in the network's order."""
        return [*self.factors, *self.odd_factors]

    @property
    def test_identities(self) -> Span:
        """As ``held_out``."""
        return self.held_out


def truth_values(truth: pd.DataFrame, config: RegressorConfig) -> np.ndarray:
    """(N, F + 136) float64: factors, then x and y of each landmark in pixels from the picture's corner.

    Raises:
        BenchError: the ground truth has no such column.
    """
    columns = [*config.names, *(f"lm_{i:02d}_{axis}" for i in range(POINTS) for axis in "xy")]
    absent = [c for c in columns if c not in truth]
    if absent:
        raise BenchError(f"the ground truth has no column {absent[0]!r}", fix="mend `factors` in the configuration")
    return truth[columns].to_numpy(np.float64)


def mirrored_values(values: np.ndarray, config: RegressorConfig, side: int) -> np.ndarray:
    """What the same pictures' mirror images show; ``side`` in pixels."""
    out = values.copy()
    even, count = len(config.factors), len(config.names)
    out[:, even:count] *= -1
    points = values[:, count:].reshape(len(values), POINTS, 2)[:, list(MIRROR)]
    points[..., 0] = side - points[..., 0]
    out[:, count:] = points.reshape(len(values), -1)
    return out


class RegressorTraining(SupervisedTraining[RegressorConfig]):
    """Regression of standardised factors and landmarks, of images and of their mirror images."""

    log_every, checkpoint_every = 6400, 32000
    net: Regressor

    def read_truth(self, truth: pd.DataFrame) -> None:
        """Keep the targets, standardised: (N, F + 136) as the images are, and mirrored."""
        self.held_out = identity_rows(truth, self.config.held_out)[0]
        self.values = truth_values(truth, self.config)
        self.picture_side = self.images.images.shape[1]
        upright = self.values[self.rows]
        mirrored = mirrored_values(upright, self.config, self.picture_side)
        both = np.concatenate([upright, mirrored])
        self.mean, self.scale = both.mean(0), both.std(0) + 1e-6
        self.targets = [
            torch.from_numpy(((v - self.mean) / self.scale).astype(np.float32)) for v in (upright, mirrored)
        ]

    def build(self) -> Mapping[str, nn.Module]:
        """Make the regressor."""
        config = self.config
        self.net = Regressor(config.side, config.widths, config.blocks, len(config.names)).to(self.device)
        self.net.to(memory_format=torch.channels_last)
        return {"net": self.net}

    def augmented(self, x: Tensor) -> Tensor:
        """Resize images and change their brightness; soften half of the batches as inversions are."""
        rng = self.rng("seen")
        x = resize(x, self.config.side, "area")
        if rng.random() < 0.5:
            x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        gain = torch.from_numpy(rng.uniform(0.92, 1.08, (len(x), 1, 1, 1)).astype(np.float32)).to(x.device)
        return ((x + 1) * gain - 1).clamp(-1, 1).contiguous(memory_format=torch.channels_last)

    def losses(self, output: tuple[Tensor, Tensor], drawn: np.ndarray, flips: np.ndarray) -> dict[str, Tensor]:
        """``factors`` and ``landmarks``: mean squared errors in standard deviations."""
        index, count = torch.from_numpy(drawn), len(self.config.names)
        target = torch.where(torch.from_numpy(flips)[:, None], self.targets[1][index], self.targets[0][index])
        target = target.to(self.device)
        factors, points = output
        return {"factors": F.mse_loss(factors, target[:, :count]), "landmarks": F.mse_loss(points, target[:, count:])}

    def weights(self) -> Mapping[str, float]:
        """1, and that of the landmarks."""
        return {"factors": 1.0, "landmarks": self.config.landmark_weight}

    def reader(self) -> Reader:
        """The network as it is now, with the units of what it reads."""
        mean, scale = (torch.from_numpy(v.astype(np.float32)).to(self.device) for v in (self.mean, self.scale))
        return Reader(self.net.eval(), tuple(self.config.names), mean, scale, self.picture_side)


def measured(reader: Reader, images: PackedImages, rows: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """How much a regressor explains on pictures it was not trained on.

    Args:
        rows: of ``images`` and of ``values``, which are as :func:`truth_values` gives them.
    Returns:
        ``r2``: factor -> share of variance explained; ``landmark_px``: mean distance in pixels of the pictures (its
        mean, median and 95 % quantile over pictures); ``pictures``.
    """
    found, points = [], []
    for start in range(0, len(rows), READ_TOGETHER):
        part = rows[start : start + READ_TOGETHER]
        factors, marks = reader.read(images.batch(part, np.zeros(len(part), bool))[0].to(reader.mean.device))
        found.append(factors.cpu().numpy())
        points.append(marks.cpu().numpy())
    count = len(reader.names)
    guessed, truth = np.concatenate(found).astype(np.float64), values[rows]
    r2 = 1 - ((guessed - truth[:, :count]) ** 2).mean(0) / truth[:, :count].var(0)
    offsets = np.concatenate(points) + 0.5 - truth[:, count:].reshape(len(rows), POINTS, 2)
    distance = np.linalg.norm(offsets, axis=-1).mean(1)
    return {
        "r2": {name: round(float(v), 4) for name, v in zip(reader.names, r2, strict=True)},
        "landmark_px": {
            "mean": round(float(distance.mean()), 3),
            "median": round(float(np.median(distance)), 3),
            "q95": round(float(np.quantile(distance, 0.95)), 3),
        },
        "pictures": len(rows),
    }
