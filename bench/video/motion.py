"""Where each pixel of a frame was in the frame before: from the renderer's own geometry, or estimated from pictures.

A motion is (R, R, 2) float32, (column, row) in pixels from a pixel of the later frame to its place in the earlier one,
NaN where that place does not exist or is hidden there. True motion: a point of the head's mesh follows its triangle;
hair, headwear and spectacles turn with the head; what is behind the head stays. Beards, earrings and things in front of
the face have no true motion and are left out.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import annyfaces
from bench.data.dataset import PreparedDataset
from bench.errors import BenchError, DataError
from bench.files import atomic_write, file_sha256

HIDDEN = 0.006  # 1/m: a surface this much nearer (a centimetre at the camera's distance) hides what lies behind it
SPREAD = 1.0  # px: samples of one pixel that move more apart than this straddle an edge
AGREE = 1.0  # px: an estimate whose way back ends farther off than this is none


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


@lru_cache(maxsize=2)
def _tracer(resolution: int) -> Any:
    """A renderer that keeps each frame's buffers as ``view``."""
    from annyfaces.render import Renderer

    class Tracer(Renderer):
        view: View

        def _overlays(self, scene, posed, screen, extras, look, buffers) -> None:
            faces = self.model.faces
            self.view = View(
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

    return Tracer(resolution)


def view(dataset: PreparedDataset, image_id: str) -> View:
    """The view of one picture of a rendered dataset; rendering it takes what rendering takes.

    Raises:
        BenchError: the dataset is not rendered.
    """
    from annyfaces.scene import sample_scene

    spec = dataset.manifest.render
    if spec is None:
        raise BenchError(f"dataset {dataset.id!r} has no true motion", got=dataset.manifest.kind, expected="rendered")
    tracer = _tracer(dataset.manifest.resolution)
    tracer.render_one(sample_scene(spec.split, dataset.manifest.ids.index(image_id), spec.seed))
    return tracer.view


def between(earlier: View, later: View) -> np.ndarray:
    """The motion from a frame back to another one of the same clip."""
    from annyfaces import labels as P

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
    from annyfaces.geometry import DISTANCE, project

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


def true_motions(dataset: PreparedDataset, ids: Sequence[str]) -> list[np.ndarray]:
    """Motions from each frame but the first back to the one before it; kept beside the dataset's pictures.

    Args:
        ids: consecutive frames of one clip.
    """
    state = f"{dataset.manifest.sha256} {annyfaces.code_sha256()} {file_sha256(__file__)}"
    paths = [dataset.paths.folder / "motion" / f"{i}.npz" for i in ids[1:]]
    found = [_kept(path, state) for path in paths]
    views: dict[int, View] = {}
    for n, path in enumerate(paths):
        if found[n] is None:
            views = {k: views.get(k) or view(dataset, ids[k]) for k in (n, n + 1)}
            found[n] = between(views[n], views[n + 1])
            buffer = io.BytesIO()
            np.savez_compressed(buffer, motion=found[n], state=np.array(state))
            atomic_write(path, buffer.getvalue())
    return [motion for motion in found if motion is not None]


def _kept(path: Path, state: str) -> np.ndarray | None:
    try:
        with np.load(path, allow_pickle=False) as held:
            return held["motion"] if str(held["state"]) == state else None
    except (OSError, ValueError, KeyError, EOFError):
        return None


def estimated_motions(frames: np.ndarray) -> list[np.ndarray]:
    """The same from pictures alone: dense optical flow (DIS), left out where the way there and back does not close.

    Args:
        frames: (N, H, W, 3) uint8, consecutive.
    Raises:
        BenchError: OpenCV is not installed.
    Source: Kroeger et al. 2016 (DIS), as OpenCV's preset MEDIUM.
    """
    try:
        import cv2
    except ImportError:
        raise BenchError("estimated motion needs cv2", fix="pip install 'hfgi-bench[video]'") from None
    if min(frames.shape[1:3]) < 16:
        raise DataError("frames are too small for estimated motion", got=frames.shape[1:3], expected="16 px or more")
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the flow's stripes depend on their number
    try:
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames]
        pairs = list(zip(grey, grey[1:], strict=False))
        return [_closed(flow.calc(b, a, None), flow.calc(a, b, None)) for a, b in pairs]
    finally:
        cv2.setNumThreads(threads)


def _closed(back: np.ndarray, there: np.ndarray) -> np.ndarray:
    """``back`` with NaN where following it and then ``there`` ends elsewhere, or it leaves the picture."""
    again = warped(there, back)
    out = back.astype(np.float32).copy()
    out[~(np.linalg.norm(again + back, axis=-1) <= AGREE)] = np.nan
    return out


def warped(values: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Values (H, W, C) of the earlier frame, brought to the later one, bilinearly; NaN where there is no motion.

    Places less than half a pixel outside take the border's values.
    """
    height, width = motion.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    x, y = columns + motion[..., 0].astype(np.float64), rows + motion[..., 1].astype(np.float64)
    inside = (x >= -0.5) & (y >= -0.5) & (x <= width - 0.5) & (y <= height - 0.5)  # False for NaN
    x, y = np.clip(np.where(inside, x, 0), 0, width - 1), np.clip(np.where(inside, y, 0), 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    u, v = (x - left)[..., None], (y - top)[..., None]
    upper = values[top, left] * (1 - u) + values[top, left + 1] * u
    lower = values[top + 1, left] * (1 - u) + values[top + 1, left + 1] * u
    out = upper * (1 - v) + lower * v
    out[~inside] = np.nan
    return out
