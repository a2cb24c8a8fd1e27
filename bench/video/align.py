"""FFHQ alignment of films: squares from landmarks, smoothed over time, cut out, and pasted back.

A square is (4,): its centre and half its upper side's vector, both (column, row) in pixels with the picture's corner at
(0, 0); the half left side's vector is that turned by a right angle.
Source: Karras et al. 2019 (FFHQ), facts as eladrich/pixel2style2pixel 5cfff38 uses them on every picture.
"""

from __future__ import annotations

import numpy as np

from bench.errors import DataError, ShapeError

EYES_APART, EYE_TO_MOUTH, DOWN = 2.0, 1.8, 0.1
BORDER = 0.1  # of the square's side, kept around it before the cut
FEATHER = 0.1  # of the square's side, over which a pasted square fades in


def square(points: np.ndarray) -> np.ndarray:
    """FFHQ's square of one face.

    Args:
        points: (68, 2) in the order of 300-W, or (5, 2): left eye, right eye, nose, corners of the mouth; pixels.
    Returns:
        (4,). Half side: eye vector minus the turned eye-to-mouth vector, of the length max(2 x eye distance,
        1.8 x eye-to-mouth). Centre: the eyes' middle plus a tenth of eye-to-mouth.
    Raises:
        ShapeError: another number of points. DataError: eyes and mouth coincide.
    """
    points = np.asarray(points, np.float64)
    if points.shape == (68, 2):
        left, right, mouth = points[36:42].mean(0), points[42:48].mean(0), (points[48] + points[54]) / 2
    elif points.shape == (5, 2):
        left, right, mouth = points[0], points[1], (points[3] + points[4]) / 2
    else:
        raise ShapeError("landmarks of a face have another form", got=points.shape, expected="(68, 2) or (5, 2)")
    across, eyes = right - left, (left + right) / 2
    down = mouth - eyes
    half = across + np.array([down[1], -down[0]])
    length = np.hypot(*half)
    if not length > 1e-6:
        raise DataError("landmarks span no face", got=f"eyes {across.round(2).tolist()} apart")
    half *= max(np.hypot(*across) * EYES_APART, np.hypot(*down) * EYE_TO_MOUTH) / length
    return np.concatenate([eyes + DOWN * down, half])


def smooth(crop_boxes: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian mean over time, (N, 4) -> (N, 4); the ends are held. ``sigma``: in frames, 0 for none."""
    if not sigma:
        return crop_boxes.copy()
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(crop_boxes, sigma, axis=0, mode="nearest")


def corners(square: np.ndarray) -> np.ndarray:
    """(4, 2): upper left, lower left, lower right, upper right."""
    centre, half = square[:2], square[2:]
    side = np.array([-half[1], half[0]])
    return np.stack([centre - half - side, centre - half + side, centre + half + side, centre + half - side])


def cut(frame: np.ndarray, square: np.ndarray, size: int) -> np.ndarray:
    """The square as an upright picture.

    As FFHQ does: shrink by a whole factor, reflect and blur what lies outside the frame, then sample bilinearly.

    Args:
        frame: (H, W, 3) uint8.
    Returns:
        (size, size, 3) uint8.
    """
    from PIL import Image

    quad, side = corners(square), 2 * np.hypot(*square[2:])
    factor = int(side / size * 0.5)
    image = Image.fromarray(frame)
    if factor > 1:
        shrunk = (max(1, round(image.width / factor)), max(1, round(image.height / factor)))
        quad = quad * np.array(shrunk) / np.array(image.size)
        image, side = image.resize(shrunk, Image.Resampling.LANCZOS), side / factor
    extended, quad = _extended(np.asarray(image), quad, side)
    return np.asarray(
        Image.fromarray(extended).transform(
            (size, size), Image.Transform.QUAD, tuple(quad.ravel()), Image.Resampling.BILINEAR
        )
    )


def _extended(image: np.ndarray, quad: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture continued by reflection as far as the square reaches out of it, and the corners in that."""
    height, width = image.shape[:2]
    border = max(3, round(side * BORDER))
    low, high = np.floor(quad.min(0)).astype(int) - border, np.ceil(quad.max(0)).astype(int) + border
    over = np.maximum([-low[1], high[1] - height, -low[0], high[0] - width], 0)
    if over.max() <= border:  # the square itself lies inside; PIL asks for nothing beyond its corners
        return image, quad
    over = np.maximum(over, round(side * 0.3))
    top, bottom, left, right = (int(v) for v in over)
    wide = np.pad(image.astype(np.float32), ((top, bottom), (left, right), (0, 0)), mode="reflect")
    rows, columns = np.mgrid[: wide.shape[0], : wide.shape[1]]
    near = [columns / left, rows / top, (wide.shape[1] - 1 - columns) / right, (wide.shape[0] - 1 - rows) / bottom]
    fade = (1 - np.minimum.reduce(near))[..., None].astype(np.float32)  # 0 at the frame's edge, 1 at the far end
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(wide, (side * 0.02, side * 0.02, 0))
    wide += (blurred - wide) * np.clip(fade * 3 + 1, 0, 1)
    wide += (np.median(wide, axis=(0, 1)) - wide) * np.clip(fade, 0, 1)
    return np.clip(np.round(wide), 0, 255).astype(np.uint8), quad + [left, top]


def paste(frame: np.ndarray, square: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A frame with the square replaced; its border fades over FEATHER of the side.

    Args:
        frame: (H, W, 3) uint8. image: (S, S, 3) uint8, upright.
    Returns:
        (H, W, 3) uint8; pixels outside the square are the frame's own.
    """
    from PIL import Image

    side = 2 * np.hypot(*square[2:])
    small = max(2, min(image.shape[0], int(np.ceil(side))))  # never sampled more sparsely than it is drawn
    upright = Image.fromarray(image)
    if small < image.shape[0]:
        upright = upright.resize((small, small), Image.Resampling.LANCZOS)
    height, width = frame.shape[:2]
    rows, columns = np.mgrid[:height, :width] + 0.5
    half = square[2:]
    across, down = columns - square[0], rows - square[1]
    u = (across * half[0] + down * half[1]) / (half @ half)  # -1 to 1 inside the square
    v = (down * half[0] - across * half[1]) / (half @ half)
    depth = (1 - np.maximum(np.abs(u), np.abs(v))) / (2 * FEATHER)  # 0 at its border, 1 where it is whole
    ramp = np.clip(depth, 0, 1)
    weight = (ramp * ramp * (3 - 2 * ramp))[..., None]
    sampled = _sampled(np.asarray(upright, np.float64), (v + 1) / 2 * small - 0.5, (u + 1) / 2 * small - 0.5)
    return np.round(frame + weight * (sampled - frame)).clip(0, 255).astype(np.uint8)


def _sampled(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(H, W, 3) bilinear samples; places outside take the border's values."""
    from scipy.ndimage import map_coordinates

    at = np.stack([rows, columns])
    return np.stack([map_coordinates(image[..., c], at, order=1, mode="nearest") for c in range(3)], -1)


def filled(points: list[np.ndarray | None], longest: int) -> tuple[np.ndarray, list[int]]:
    """Landmarks of every frame, gaps of up to ``longest`` frames bridged linearly between their neighbours.

    Args:
        points: of each frame, None where no face was found.
    Returns:
        (N, P, 2); numbers of the frames that were bridged.
    Raises:
        DataError: no face anywhere, or a gap too long or at an end; the message names frames.
    """
    have = [n for n, sampled in enumerate(points) if sampled is not None]
    if not have:
        raise DataError(f"no face in any of {len(points)} frames", fix="take another clip, or pass --landmarks FILE")
    gaps = [n for n in range(len(points)) if points[n] is None]
    edges = [n for n in gaps if n < have[0] or n > have[-1]]
    long = [n for a, b in zip(have, have[1:], strict=False) if b - a - 1 > longest for n in range(a + 1, b)]
    if edges or long:
        named = sorted({*edges, *long})
        listed = ", ".join(str(n) for n in named[:8]) + (", ..." if len(named) > 8 else "")
        raise DataError(
            f"no face in {len(named)} of {len(points)} frames",
            got=f"frames {listed} (counted from 0)",
            expected=f"a face in each, or gaps of at most {longest} frames between faces",
            fix="cut the clip, or pass --landmarks FILE",
        )
    known = np.stack([np.asarray(points[n], np.float64) for n in have])
    flat = known.reshape(len(have), -1)
    whole = np.stack([np.interp(np.arange(len(points)), have, column) for column in flat.T], 1)
    return whole.reshape(len(points), *known.shape[1:]), gaps
