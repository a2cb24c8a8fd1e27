"""Numbers about films: how errors change from frame to frame beyond the motion, and how far identity drifts.

An error is a signed difference of two pictures. One that moves with the surface it lies on does not flicker: what is
measured is how far the error of a frame is from that of the frame before, carried along the motion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.video.motion import warped


def difference(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 each -> float64 in [-1, 1], the first minus the second."""
    return (images.astype(np.float64) - others.astype(np.float64)) / 255.0


def flicker(before: np.ndarray, after: np.ndarray, motion: np.ndarray) -> float:
    """Mean absolute change of an error from a frame to the next, over the pixels that have a motion.

    Args:
        before, after: (H, W, C) of two frames in turn. motion: (H, W, 2) from the later to the earlier, as in
            bench/video/motion.py.
    Returns:
        Mean over pixels and channels; 0 for an error that moves along; NaN where no pixel has a motion.
    """
    change = np.abs(after - warped(before, motion)).mean(-1)
    known = np.isfinite(change)
    return float(change[known].mean()) if known.any() else float("nan")


def flickers(ids: Sequence[str], errors: Mapping[str, np.ndarray], motions: Sequence[np.ndarray]) -> dict[str, float]:
    """Later frame -> :func:`flicker`, of all neighbours that both have an error.

    Args:
        ids: of a clip, in order. errors: id -> (H, W, C). motions: N - 1 of them.
    """
    pairs = zip(ids, ids[1:], motions, strict=False)
    flicker_of = {b: flicker(errors[a], errors[b], motion) for a, b, motion in pairs if a in errors and b in errors}
    return {i: value for i, value in flicker_of.items() if np.isfinite(value)}


def drifts(ids: Sequence[str], similarity: Sequence[float]) -> dict[str, float]:
    """Frame -> 1 - its similarity to the clip's first frame. Args: similarity: of each frame to the first."""
    return {i: 1.0 - float(s) for i, s in zip(ids, similarity, strict=True)}
