"""Ambient occlusion of the average head, baked per vertex by looking at it from many directions."""

from __future__ import annotations

import numpy as np

from annyfaces import model as M
from annyfaces.raster import draw_triangles

DIRECTIONS = 96
SIZE = 320
BIAS = 0.0025  # metres a point may lie behind the nearest surface and still count as seen


def bake_occlusion(canon: np.ndarray, faces: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """(V,) share of the upper-weighted sky each vertex sees in the rest pose, 0..1, in steps of 1/255.

    Skin, eyes and teeth are occluders; lashes are not.
    """
    solid = np.ascontiguousarray(faces[kind < M.LASH_UPPER])
    normals = vertex_normals_slow(canon, faces)
    visible, total = np.zeros(len(canon)), np.zeros(len(canon))
    for axis in _sphere(DIRECTIONS):
        right, up = _frame(axis)
        points = np.stack([canon @ right, canon @ up, canon @ axis], axis=1)
        low, high = points.min(axis=0), points.max(axis=0)
        scale = (SIZE - 2) / (high - low)[:2].max()
        screen = np.stack(
            [(points[:, 0] - low[0]) * scale + 1, (points[:, 1] - low[1]) * scale + 1, points[:, 2] + 10.0], axis=1
        )
        depth = np.zeros((SIZE, SIZE))
        draw_triangles(
            screen,
            solid,
            0,
            len(solid),
            False,
            depth,
            np.zeros((SIZE, SIZE), np.int32),
            np.zeros((SIZE, SIZE, 2), np.float32),
        )
        cell = np.clip(screen[:, :2].astype(int), 0, SIZE - 1)
        facing = np.maximum(normals @ axis, 0.0) * (1.0 + 0.4 * axis[1])
        visible += facing * (screen[:, 2] + BIAS >= depth[cell[:, 1], cell[:, 0]])
        total += facing
    return np.round(visible / np.maximum(total, 1e-9) * 255) / 255


def vertex_normals_slow(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals, area weighted."""
    a, b, c = (points[faces[:, i]] for i in range(3))
    cross = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for i in range(3):
        np.add.at(normals, faces[:, i], cross)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _sphere(count: int) -> np.ndarray:
    """Evenly spread unit directions, rounded so that every machine looks from the same ones."""
    k = np.arange(count) + 0.5
    y, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - y * y)
    return np.round(np.stack([r * np.cos(angle), y, r * np.sin(angle)], axis=1), 6)


def _frame(axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    helper = np.array([0.0, 1.0, 0.0]) if abs(axis[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    right = np.cross(helper, axis)
    right /= np.linalg.norm(right)
    return right, np.cross(axis, right)
