"""True motion between two frames of a clip, from the renderer's own geometry.

A motion is (R, R, 2) float32, (column, row) in pixels from a pixel of the later frame to its place in the earlier one,
NaN where that place does not exist or is hidden there. A point of the head's mesh follows its triangle; hair, headwear
and spectacles turn with the head; what is behind the head stays. Beards, earrings and things in front of the face have
no true motion and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annyfaces import labels as P
from annyfaces.geometry import DISTANCE, project
from annyfaces.render import Renderer
from annyfaces.scene import Scene

HIDDEN = 0.006  # 1/m: a surface this much nearer (a centimetre at the camera's distance) hides what lies behind it
SPREAD = 1.0  # px: samples of one pixel that move more apart than this straddle an edge


@dataclass(frozen=True)
class View:
    """What the renderer knows of one frame, in samples (``factor`` a pixel side).

    Args:
        screen: (V, 3) projected vertices of the head and headwear: column, row, 1/distance. faces: (F, 3).
        head: the first so many faces are the head's. rotation, similarity: of the camera, as in ``geometry.Posed``.
        depth, triangle, weights, parts: (S, S[, 2]) buffers as ``raster`` leaves them.
    """

    screen: np.ndarray
    faces: np.ndarray
    head: int
    rotation: np.ndarray
    similarity: np.ndarray
    depth: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray
    parts: np.ndarray
    factor: int


class Tracer(Renderer):
    """A renderer that keeps each frame's buffers as a :class:`View`."""

    _view: View

    def trace(self, scene: Scene) -> View:
        """Render a scene and return its view."""
        self.render_one(scene)
        return self._view

    def _overlays(self, scene, posed, screen, extras, look, buffers) -> None:
        faces = self.model.faces
        self._view = View(
            screen,
            faces,
            len(faces),
            posed.rotation,
            posed.similarity,
            buffers.depth.copy(),
            buffers.triangle.copy(),
            buffers.weights.copy(),
            buffers.parts.copy(),
            self.samples,
        )
        super()._overlays(scene, posed, screen, extras, look, buffers)


def between(earlier: View, later: View) -> np.ndarray:
    """The motion from a frame back to another one of the same clip."""
    side = later.depth.shape[0]
    rows, columns = np.mgrid[:side, :side] + 0.5
    place = np.full((side, side, 3), np.nan)
    behind = later.depth == 0
    place[behind] = np.stack([columns, rows, np.zeros_like(rows)], -1)[behind]
    mesh = (later.triangle >= 0) & (later.triangle < later.head)
    place[mesh] = _on_mesh(earlier, later, mesh)
    turning = ~mesh & ~behind & np.isin(later.parts, (P.HAIR, P.HAT, P.GLASSES))
    at = np.stack([columns[turning], rows[turning], later.depth[turning]], -1)
    place[turning] = _turned(earlier, later, at, side)
    place[~_visible(earlier, place)] = np.nan
    moves = place[..., :2] - np.stack([columns, rows], -1)
    return _pixels(moves / later.factor, later.factor)


def _on_mesh(earlier: View, later: View, where: np.ndarray) -> np.ndarray:
    """(N, 3) earlier column, row and 1/distance of surface points. Triangles are millimetres: linear on the screen."""
    corners = earlier.screen[later.faces[later.triangle[where]]]
    second, third = later.weights[where].T[..., None].astype(np.float64)
    return corners[:, 0] * (1 - second - third) + corners[:, 1] * second + corners[:, 2] * third


def _turned(earlier: View, later: View, at: np.ndarray, side: int) -> np.ndarray:
    """(N, 3) the same of points that turn with the head, given theirs in the later frame."""
    flat = (at[:, :2] / side - later.similarity[:, 2]) @ np.linalg.inv(later.similarity[:, :2]).T
    points = np.stack([flat[:, 0], -flat[:, 1], np.ones(len(at))], -1) / at[:, 2:]
    points[:, 2] = DISTANCE - points[:, 2]
    return project(np.ascontiguousarray(points @ later.rotation @ earlier.rotation.T), earlier.similarity, float(side))


def _visible(earlier: View, place: np.ndarray) -> np.ndarray:
    """(S, S) bool: the place is in the picture and nothing nearer covers it."""
    side = earlier.depth.shape[0]
    known = np.isfinite(place[..., 0])
    cell = np.floor(np.where(known[..., None], place[..., :2], -1)).astype(int)
    inside = known & (cell >= 0).all(-1) & (cell < side).all(-1)
    cell = np.clip(cell, 0, side - 1)
    found = earlier.depth[cell[..., 1], cell[..., 0]]
    return inside & (found - np.nan_to_num(place[..., 2]) < np.where(place[..., 2] == 0, 1e-12, HIDDEN))


def _pixels(moves: np.ndarray, factor: int) -> np.ndarray:
    """Samples to pixels: the mean, where all samples of a pixel have a motion and agree on it."""
    side = moves.shape[0] // factor
    cells = moves.reshape(side, factor, side, factor, 2).transpose(0, 2, 1, 3, 4).reshape(side, side, -1, 2)
    mean = cells.mean(2)  # NaN where any is
    apart = np.linalg.norm(cells - mean[:, :, None], axis=-1).max(-1)
    mean[~(apart <= SPREAD / 2)] = np.nan
    return mean.astype(np.float32)
