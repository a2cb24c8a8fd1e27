"""Face paint and tattoos in canonical coordinates, and shadow patterns cast from outside the picture."""

from __future__ import annotations

import numpy as np

from annyfaces import look as K
from annyfaces.noise import cell, smooth, step
from bench.compiled import jit


@jit
def face_paint(x, y, z, look):
    """(cover 0..1, 1.0 for the second colour) of the scene's face paint or tattoo at a skin point."""
    kind, u, v = int(look[K.PAINT]), look[K.PAINT_U], look[K.PAINT_V]
    if z < -0.06 or y < -0.115 or y > 0.07:
        return 0.0, 0.0
    ax, side = abs(x), 1.0 if v > 0.5 else -1.0
    if kind == 1:  # cheek stripes
        m = 0.0
        for k in range(2 + int(u * 2)):
            line = -0.020 - 0.0085 * k - 0.2 * (ax - 0.03)
            m = max(m, step(0.0028, 0.0018, abs(y - line)))
        return m * step(0.016, 0.019, ax) * step(0.060, 0.055, ax), 0.0
    if kind == 2:  # spots
        size = 0.011 + 0.006 * u
        i, j = int(np.floor(x / size)), int(np.floor(y / size))
        d = np.sqrt((x / size - i - 0.5) ** 2 + (y / size - j - 0.5) ** 2)
        return step(0.40, 0.30, d) * (1.0 if cell(i, j, 0, int(look[K.SEED])) < 0.55 else 0.0), (
            1.0 if cell(i, j, 1, 3) < 0.4 else 0.0
        )
    if kind == 3:  # a bandit's mask
        return step(0.018, 0.0155, abs(y - 0.003 - 0.12 * (ax - 0.03))), 0.0
    if kind == 4:  # star on one cheek or round one eye
        cx, cy = side * (0.030 + 0.010 * u), -0.030 + 0.05 * (u - 0.5)
        a = np.arctan2(x - cx, y - cy)
        radius = 0.012 + 0.004 * np.cos(5 * a)
        d = np.sqrt((x - cx) ** 2 + (y - cy) ** 2)
        return step(radius, radius - 0.0018, d), (1.0 if d < 0.45 * radius else 0.0)
    if kind == 5:  # half the face
        edge = 0.006 * (smooth(y * 120, u * 9, 0.0, np.int64(5)) - 0.5)
        return step(0.0, 0.002, side * x + edge), (1.0 if abs(y - 0.01) < 0.012 else 0.0)
    if kind == 6:  # a tear below one eye
        cx = side * 0.034
        fall = (-0.016 - y) / 0.020
        if fall < 0.0 or fall > 1.0:
            return 0.0, 0.0
        return step(1.0, 0.6, abs(x - cx) / (0.0012 + 0.0035 * fall * (1.4 - fall))), 0.0
    if kind == 7:  # parallel lines at the temple and on the chin
        wave = abs(((ax * 1.2 + y) / 0.0055) % 1.0 - 0.5)
        zone = (side * x > 0.038 and y > 0.0) or (ax < 0.014 and y < -0.078)
        return step(0.26, 0.16, wave) * (1.0 if zone else 0.0), 0.0
    cx, cy = x - side * 0.022, y - 0.042  # kind 8: marks like handwriting on the forehead
    i = int(np.floor(cx / 0.0042))
    if abs(cx) > 0.020 or abs(cy) > 0.006:
        return 0.0, 0.0
    tall = 0.0025 + 0.003 * cell(i, 1, 1, int(look[K.SEED]))
    stroke = abs(cx / 0.0042 - i - 0.3 - 0.4 * cell(i, int(np.floor(cy / 0.002)), 2, int(look[K.SEED])))
    return step(0.30, 0.18, stroke) * step(tall, tall - 0.001, abs(cy)), 0.0


@jit
def cast_pattern(x, y, look):
    """Share of key light that a blind, a branch, a window bar or an edge outside the picture lets through, 0.12..1.

    Args:
        x, y: position across the light's direction, metres.
    """
    kind, u, v, w = int(look[K.PATTERN]), look[K.PATTERN_U], look[K.PATTERN_V], look[K.PATTERN_W]
    angle = (u - 0.5) * 1.4
    s, t = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    soft = 0.10 + 0.15 * w
    if kind == 1:  # blinds
        period = 0.030 + 0.030 * v
        lit = step(0.5 - soft, 0.5 + soft, 2 * abs((t / period + w) % 1.0 - 0.5))
    elif kind == 2:  # a hard edge across the face
        lit = step(-0.004 - 0.01 * w, 0.004 + 0.01 * w, s + 0.05 * (v - 0.5))
    elif kind == 3:  # leaves
        n = smooth(x * 28 + 9 * u, y * 28 + 7 * v, w * 5, np.int64(11))
        n += 0.5 * smooth(x * 70, y * 70, v * 5, np.int64(12))
        lit = step(0.62, 0.80, n)
    else:  # window bars
        bar = min(abs((s / 0.11 + v) % 1.0 - 0.5), abs((t / 0.13 + w) % 1.0 - 0.5))
        lit = step(0.10, 0.16, bar)
    return 0.12 + 0.88 * lit
