"""Warp of a map by sparse points: thin-plate splines through the displacements, solved by SciPy."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import ShapeError


def warp(x: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Move what lies at ``source`` to ``target``; what comes from outside is 0.

    The displacement of each pixel is interpolated, not its position, so that equal points give the very same map; its
    affine part is solved for, so that shifts, turns and scalings of the points are those of the whole map.

    Args:
        x: (B, C, H, W). source, target: (B, N, 2) points, (column, row) in pixels of ``x``, N >= 3, not on a line.
    Returns:
        (B, C, H, W), sampled bilinearly. No gradient reaches the points.
    Raises:
        ShapeError: points of another number than pictures, or unlike each other.
        ValueError: two target points are one, or all lie on a line.

    Source: Bookstein 1989 (thin-plate splines), as ``scipy.interpolate.RBFInterpolator``.
    """
    if source.shape != target.shape or source.ndim != 3 or len(source) != len(x) or source.shape[-1] != 2:
        raise ShapeError(
            "points do not fit the maps", got=(tuple(source.shape), tuple(target.shape)), expected=f"({len(x)}, N, 2)"
        )
    side = np.array([x.shape[-1], x.shape[-2]])
    at = np.stack(np.meshgrid(np.arange(side[0]), np.arange(side[1])), -1).astype(np.float64)
    grids = [at + _displacement(*points, at) for points in zip(_points(source), _points(target), strict=True)]
    inside = (2 * np.stack(grids) + 1) / side - 1  # of grid_sample: -1 and 1 are the outer edges
    grid = torch.from_numpy(inside).to(x.device, x.dtype)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _points(points: Tensor) -> np.ndarray:
    return points.detach().cpu().double().numpy()


def _displacement(source: np.ndarray, target: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(H, W, 2): from each pixel to where its value comes from; (N, 2) points, (H, W, 2) pixels."""
    from scipy.interpolate import RBFInterpolator

    offsets = source - target
    if not offsets.any():
        return np.zeros_like(at)
    plane = np.linalg.matrix_rank(target - target.mean(0)) == 2
    if not plane or len(np.unique(target, axis=0)) < len(target):
        raise ValueError("points to warp by coincide or lie on a line")
    return RBFInterpolator(target, offsets, kernel="thin_plate_spline")(at.reshape(-1, 2)).reshape(at.shape)
