"""What a rendered picture is known to show, as targets for the codes of a joint encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.training.config import Known

# The 68-point scheme (iBUG 300-W) mirrored left to right: point i of the mirror image is point MIRROR[i].
MIRROR = (
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),  # nose
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # outer lips
    *(64, 63, 62, 61, 60, 67, 66, 65),  # inner lips
)


def target_count(known: Known) -> int:
    """Numbers per picture."""
    return len(known.factors) + len(known.odd_factors) + (2 * len(MIRROR) if known.landmarks else 0)


@dataclass
class KnownTargets:
    """Standardised targets of a training set and of its mirror image.

    Args:
        upright, mirrored: (N, T) float32; factors first, landmarks (x and y of each point) after them.
        weight: (T,) sums to 1 over the factors and to 1 over the landmarks.
    """

    upright: Tensor
    mirrored: Tensor
    weight: Tensor

    def batch(self, rows: np.ndarray, flip: np.ndarray) -> Tensor:
        """(B, T) targets of the rows, mirrored where ``flip``."""
        index = torch.from_numpy(rows)
        return torch.where(torch.from_numpy(flip)[:, None], self.mirrored[index], self.upright[index])


def known_targets(known: Known, truth: pd.DataFrame, rows: np.ndarray, resolution: int) -> KnownTargets | None:
    """Targets of the given rows of the ground truth; None where the configuration asks for none.

    Args:
        resolution: side in pixels of the pictures that the landmarks refer to.
    Raises:
        BenchError: the ground truth has no such column.
    """
    if not target_count(known):
        return None
    points = [f"lm_{i:02d}_{axis}" for i in range(len(MIRROR)) for axis in "xy"] if known.landmarks else []
    columns = [*known.factors, *known.odd_factors, *points]
    absent = [c for c in columns if c not in truth]
    if absent:
        raise BenchError(f"the ground truth has no column {absent[0]!r}", fix="mend `known` in the configuration")
    values = truth[columns].to_numpy(np.float64)[rows]
    mirrored = values.copy()
    even, odd = len(known.factors), len(known.odd_factors)
    mirrored[:, even : even + odd] *= -1
    if known.landmarks:
        marks = values[:, even + odd :].reshape(len(values), -1, 2)[:, list(MIRROR)]
        marks[..., 0] = resolution - marks[..., 0]
        mirrored[:, even + odd :] = marks.reshape(len(values), -1)
    both = np.concatenate([values, mirrored])
    mean, scale = both.mean(0), both.std(0) + 1e-6
    counts = np.array([even + odd] * (even + odd) + [max(len(points), 1)] * len(points), np.float64)
    upright, mirrored = ((v - mean) / scale for v in (values, mirrored))
    return KnownTargets(*(torch.from_numpy(a.astype(np.float32)) for a in (upright, mirrored, 1 / counts)))
