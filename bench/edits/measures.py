"""Numbers about one edited picture: distances inside and outside the face, what moved beside the attribute.

All work on 8-bit pictures as they are stored. Which parts of a picture are what comes from part labels of rendered
datasets, or from the user's own masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.prepare import read_labels
from bench.errors import DataError

FACE = ("skin", "brow", "eye", "lip", "mouth", "beard", "glasses")
HEAD = (*FACE, "neck", "ear", "hair", "hat", "earring", "occluder")


@dataclass(frozen=True)
class Regions:
    """Args: face: (R, R) bool, where the face is. rest: all but the head, which no edit should touch."""

    face: np.ndarray
    rest: np.ndarray

    def __or__(self, other: Regions) -> Regions:
        """Of two pictures together: the face of either, the background of both."""
        return Regions(self.face | other.face, self.rest & other.rest)


def of_labels(labels: np.ndarray, parts: Sequence[str]) -> Regions:
    """Make regions from part labels.

    Args:
        labels: (R, R) uint8, index into ``parts``.
        parts: names of the part labels, the renderer's.
    """
    face, head = (np.isin(labels, [parts.index(name) for name in names]) for names in (FACE, HEAD))
    return Regions(face, ~head)


def of_mask(folder: Path, image_id: str, side: int) -> Regions:
    """From the user's mask: a PNG of one channel, face where it is not 0.

    Raises:
        DataError: missing, damaged or of another size.
    """
    path = folder / f"{image_id}.png"
    if not path.is_file():
        raise DataError(f"picture {image_id!r} has no mask", expected=str(path), fix="add it, or correct --masks")
    mask = read_labels(path)
    if mask.shape != (side, side):
        raise DataError(f"mask {path} has the wrong size", got=mask.shape, expected=(side, side))
    return Regions(mask > 0, mask == 0)


def mean_over(values: np.ndarray, where: np.ndarray) -> float:
    """Mean of (R, R) values where a mask holds; NaN where it holds nowhere."""
    return float(values[where].mean()) if where.any() else float("nan")


def distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(R, R) absolute difference of two (R, R, 3) uint8 pictures, mean over channels, in 0..1.

    Examples:
        >>> distance(np.zeros((1, 1, 3), np.uint8), np.array([[[0, 51, 102]]], np.uint8)).round(6).tolist()
        [[0.2]]
    """
    return np.abs(one.astype(np.float64) - other.astype(np.float64)).mean(-1) / 255.0


def similarity(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(R, R) structural similarity of two pictures (11 x 11 Gaussian), mean over channels; the window is reflected."""
    import torch

    from bench.measures.ssim import RADIUS, gaussian, maps

    x, y = (
        torch.from_numpy(np.pad(p, ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)), "reflect").astype(np.float64) / 255)
        for p in (one, other)
    )
    luminance, structure = maps(x.permute(2, 0, 1)[None], y.permute(2, 0, 1)[None], gaussian())
    return (luminance * structure)[0].mean(0).numpy()


def inside(regions: Regions, picture: np.ndarray, elsewhere: np.ndarray) -> np.ndarray:
    """``picture`` in the face, ``elsewhere`` outside it: for measures that need a whole picture."""
    return np.where(regions.face[..., None], picture, elsewhere)


def leakage(
    moved: Mapping[str, float], due: Mapping[str, float], spread: Mapping[str, float], meant: str
) -> dict[str, float]:
    """Attribute -> change beyond what is due, in standard deviations, for all but the one that was meant.

    Args:
        moved: attribute -> its change by the edit. due: its change in the exact edit (0 where that is not known).
        spread: attribute -> standard deviation among calibration pictures.
    """
    return {
        name: (moved[name] - due.get(name, 0.0)) / spread[name] for name in moved if name != meant and spread[name] > 0
    }


def code_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Distance of two codes (L, D): Euclidean for each row, mean over rows."""
    return float(np.linalg.norm(one.astype(np.float64) - other, axis=-1).mean())


def picture_rows(edit: np.ndarray, target: np.ndarray, regions: Regions) -> dict[str, Any]:
    """Measure -> value of an edit against its exact target, in the face and outside it."""
    apart, alike = distance(edit, target), similarity(edit, target)
    return {
        "mae_face": mean_over(apart, regions.face),
        "mae_rest": mean_over(apart, ~regions.face),
        "ssim_face": mean_over(alike, regions.face),
        "ssim_rest": mean_over(alike, ~regions.face),
    }
