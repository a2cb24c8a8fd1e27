"""Contact sheets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.errors import ShapeError


def contact_sheet(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Tile (R, R, 3) uint8 pictures row by row, the last row filled with mid grey.

    Returns:
        (rows * R, columns * R, 3) uint8.
    Raises:
        ShapeError: no pictures, different shapes, or fewer than one column.
    """
    if not len(images) or columns < 1 or len({np.shape(i) for i in images}) != 1:
        raise ShapeError(
            "a contact sheet needs pictures of one shape",
            got=f"{len(images)} pictures, {columns} columns",
            expected="one or more equal (H, W, 3) pictures and one or more columns",
        )
    h, w = images[0].shape[:2]
    rows = -(-len(images) // columns)
    out = np.full((rows * h, columns * w, 3), 128, np.uint8)
    for k, image in enumerate(images):
        y, x = k // columns * h, k % columns * w
        out[y : y + h, x : x + w] = image
    return out
