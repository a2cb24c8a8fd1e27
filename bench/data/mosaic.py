"""Frames of comparison films: pictures in rows and columns with names, drawn without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

GAP, MARGIN = 6, 10
PAPER, INK, ABSENT = (255, 255, 255), (40, 40, 40), (225, 225, 225)


@lru_cache(maxsize=4)
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)  # comes with Pillow: equal films on every machine


def board(
    cells: Sequence[Sequence[np.ndarray | None]], columns: Sequence[str], rows: Sequence[str] = (), side: int = 256
) -> np.ndarray:
    """One frame of a film.

    Args:
        cells: rows of (H, W, 3) uint8 pictures, None where there is none.
        columns, rows: their names; without any they take no place.
        side: height of a cell; pictures are enlarged by Lanczos, for looking at.
    Returns:
        (H', W', 3) uint8, both even, the same for the same shape of cells.
    """
    from PIL import Image, ImageDraw

    shape = next(cell.shape for row in cells for cell in row if cell is not None)
    high, wide = side, round(side * shape[1] / shape[0])
    size = max(12, side // 14)
    font = _font(size)
    head = round(1.8 * size) if columns else 0
    edge = round(max((font.getlength(name) for name in rows), default=0)) + (2 * GAP if rows else 0)
    width = edge + len(cells[0]) * (wide + GAP) - GAP + 2 * MARGIN
    height = head + len(cells) * (high + GAP) - GAP + 2 * MARGIN
    page = Image.new("RGB", (width + width % 2, height + height % 2), PAPER)
    draw = ImageDraw.Draw(page)
    for c, name in enumerate(columns):
        middle = MARGIN + edge + c * (wide + GAP) + wide / 2
        draw.text((middle, MARGIN + head / 2 - 2), name, INK, font=_fitting(name, wide, size), anchor="mm")
    for r, row in enumerate(cells):
        top = MARGIN + head + r * (high + GAP)
        if rows:
            draw.text((MARGIN + edge - 2 * GAP, top + high / 2), rows[r], INK, font=font, anchor="rm")
        for c, cell in enumerate(row):
            left = MARGIN + edge + c * (wide + GAP)
            if cell is None:
                draw.rectangle((left, top, left + wide - 1, top + high - 1), ABSENT)
                continue
            page.paste(Image.fromarray(cell).resize((wide, high), Image.Resampling.LANCZOS), (left, top))
    return np.asarray(page)


def _fitting(text: str, width: int, size: int) -> Any:
    """The largest font up to ``size`` in which a text fits."""
    while size > 9 and _font(size).getlength(text) > width:
        size -= 1
    return _font(size)
