"""Where each pixel of a frame was in the frame before: from the renderer's own geometry, or estimated from pictures.

A motion is (R, R, 2) float32, (column, row) in pixels from a pixel of the later frame to its place in the earlier one,
NaN where that place does not exist or is hidden there. True motion is the renderer's (:mod:`bench.api.renderer`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.api.renderer import Renderer, View
from bench.data.dataset import PreparedDataset
from bench.data.sources import RenderSpec
from bench.errors import BenchError, DataError
from bench.files import atomic_write
from bench.renderers.by_name import renderer_of

AGREE = 1.0  # px: an estimate whose way back ends farther off than this is none


def view(dataset: PreparedDataset, image_id: str) -> View:
    """Render one image of a rendered dataset for its geometry.

    Raises:
        BenchError: the dataset is not rendered.
    """
    renderer, spec = rendered(dataset)
    scene = renderer.sample(spec.split, dataset.manifest.ids.index(image_id), spec.seed)
    return renderer.view(scene, dataset.manifest.resolution)


def rendered(dataset: PreparedDataset) -> tuple[Renderer, RenderSpec]:
    """Return the renderer of a dataset, and how the manifest says it was rendered.

    Raises:
        BenchError: the dataset is not rendered.
    """
    spec = dataset.manifest.render
    if spec is None:
        raise BenchError(f"dataset {dataset.id!r} has no true motion", got=dataset.manifest.kind, expected="rendered")
    return renderer_of(spec.renderer), spec


def true_motions(dataset: PreparedDataset, ids: Sequence[str]) -> list[np.ndarray]:
    """Motions from each frame but the first back to the one before it; kept beside the dataset's pictures.

    Args:
        ids: consecutive frames of one clip.
    """
    renderer, _ = rendered(dataset)
    state = f"{dataset.manifest.sha256} {renderer.code_sha256()}"
    paths = [dataset.paths.folder / "motion" / f"{i}.npz" for i in ids[1:]]
    found = [_kept(path, state) for path in paths]
    views: dict[int, View] = {}
    for n, path in enumerate(paths):
        if found[n] is None:
            views = {k: views.get(k) or view(dataset, ids[k]) for k in (n, n + 1)}
            found[n] = renderer.motion(views[n], views[n + 1])
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
