"""Toy pictures, and the outcome of a check on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.seeds import seed_for

COUNT = 4
TOY_SIDE = 64


class Broken(Exception):
    """A clause of the contract that does not hold; the text is the reason."""


class NotChecked(Exception):
    """A clause that could not be tried here; the text is the reason."""


@dataclass(frozen=True)
class Outcome:
    """One line of the table. A clause that could not be tried (``checked`` False) has not passed."""

    check: str
    passed: bool
    reason: str = ""
    checked: bool = True


def toy_images(side: int = TOY_SIDE, count: int = COUNT, seed: int = 0) -> np.ndarray:
    """(count, side, side, 3) uint8: soft colour gradients with a disc each; the same bytes everywhere."""
    rows, columns = np.mgrid[0:side, 0:side] / (side - 1)
    images = []
    for n in range(count):
        rng = np.random.default_rng(seed_for(seed, "toy image", n))
        base, across, down, disc = (rng.uniform(-1, 1, 3) for _ in range(4))
        centre, radius = rng.uniform(0.3, 0.7, 2), rng.uniform(0.15, 0.3)
        inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
        image = 0.5 + 0.25 * base + 0.2 * (columns[..., None] - 0.5) * across + 0.2 * (rows[..., None] - 0.5) * down
        image = np.where(inside[..., None], 0.5 + 0.4 * disc, image)
        images.append(np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8))
    return np.stack(images)
