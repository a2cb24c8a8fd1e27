"""Which pictures a report shows, and how they become a figure of exact pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.report.report_data import ReportData

CANDIDATES = 400  # at most so many pictures are read to choose from
TYPICAL = 0.8  # share of the candidates nearest to the mean picture: extremes are shown by the plots, not by the grid


def choose_varied(ids: Sequence[str], read: Callable[[str], np.ndarray], count: int) -> list[str]:
    """Ids of pictures that differ much from each other, in the given order; the same choice every time.

    Farthest-point choice on 8 x 8 thumbnails, starting from the most typical picture.

    Args:
        ids: to choose from. read: id -> (R, R, 3) uint8. count: how many; fewer ids than that are all taken.
    """
    if len(ids) <= count:
        return list(ids)
    step = max(1, len(ids) // CANDIDATES)
    pool = list(ids)[::step]
    small = np.stack([thumbnail(read(i)) for i in pool]).reshape(len(pool), -1)
    distance = ((small - small.mean(0)) ** 2).sum(1)
    typical = np.argsort(distance, kind="stable")[: max(count, int(TYPICAL * len(pool)))]
    chosen = [int(typical[0])]
    nearest = np.full(len(pool), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((small - small[chosen[-1]]) ** 2).sum(1))
        candidates = typical[~np.isin(typical, chosen)]
        chosen.append(int(candidates[np.argmax(nearest[candidates])]))
    return [pool[i] for i in sorted(chosen)]


def thumbnail(image: np.ndarray, side: int = 8) -> np.ndarray:
    """(R, R, 3) uint8 -> (side, side, 3) float64 in [0, 1] by area means; R need not be a multiple of ``side``."""
    edges = np.linspace(0, image.shape[0], side + 1).round().astype(int)
    rows = np.add.reduceat(image.astype(np.float64), edges[:-1], axis=0)
    cells = np.add.reduceat(rows, edges[:-1], axis=1)
    return cells / (np.diff(edges)[:, None, None] * np.diff(edges)[None, :, None] * 255.0)


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """(R, R, 3) uint8 -> Lanczos-enlarged (factor R, factor R, 3) uint8, for looking at, never for measuring."""
    from PIL import Image

    if factor == 1:
        return image
    size = (image.shape[1] * factor, image.shape[0] * factor)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def difference(x: np.ndarray, x_hat: np.ndarray) -> np.ndarray:
    """(R, R) float64 in [0, 1]: absolute difference of two uint8 pictures, mean over channels."""
    return np.abs(x.astype(np.float64) - x_hat.astype(np.float64)).mean(-1) / 255.0


def sheet(report: ReportData, dataset: str, columns: int = 12, rows: int = 6, gap: int = 2) -> np.ndarray:
    """A contact sheet of prepared pictures, evenly spaced through the dataset, on white; uint8."""
    prepared, ids = report.prepared(dataset), report.manifest(dataset).ids
    count = min(columns * rows, len(ids))
    chosen = [ids[int(k)] for k in np.linspace(0, len(ids) - 1, count).round()]
    columns = min(columns, count)
    rows = -(-count // columns)
    side = report.manifest(dataset).resolution
    out = np.full((rows * (side + gap) + gap, columns * (side + gap) + gap, 3), 255, np.uint8)
    for k, image_id in enumerate(chosen):
        y, x = gap + k // columns * (side + gap), gap + k % columns * (side + gap)
        out[y : y + side, x : x + side] = prepared.read(image_id)
    return out
