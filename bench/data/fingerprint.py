"""Telling another machine's rounding from another picture.

Pictures are the same bytes wherever the same library versions compute the same floats. A processor that rounds a
matrix product differently can move a few pixels by a level; such a picture has another hash but the same coarse
colours. It is then accepted as *drifted*, counted and named in prepared.json, while any other difference is an error.
"""

from __future__ import annotations

import numpy as np

FIELDS = 4  # coarse colours: FIELDS x FIELDS means
DRIFT = 2  # levels by which a coarse colour may differ for the picture to count as the same


def coarse(image: np.ndarray) -> str:
    """Mean colours of FIELDS x FIELDS fields as hex: (R, R, 3) uint8 -> 2 * FIELDS * FIELDS * 3 digits."""
    height, width = image.shape[0] // FIELDS, image.shape[1] // FIELDS
    trimmed = image[: height * FIELDS, : width * FIELDS].astype(np.float64)
    means = trimmed.reshape(FIELDS, height, FIELDS, width, 3).mean((1, 3))
    return np.floor(means + 0.5).astype(np.uint8).tobytes().hex()


def drifted(a: str | None, b: str | None) -> bool:
    """True when two coarse descriptions are close enough to be the same picture rounded differently."""
    if not a or not b or len(a) != len(b):
        return False
    first, second = (np.frombuffer(bytes.fromhex(text), np.uint8).astype(int) for text in (a, b))
    return bool(np.abs(first - second).max() <= DRIFT)
