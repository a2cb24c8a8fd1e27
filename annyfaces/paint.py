"""Where things are on the skin, in canonical coordinates (metres from between the eyes): masks and marks of age."""

from __future__ import annotations

import numpy as np

from annyfaces import look as K
from annyfaces.noise import bump, cell, smooth, step
from bench.compiled import jit

SKULL_Z = -0.085  # canonical depth of the skull's vertical axis
# azimuth about that axis (0 front, pi back) against the height of the hairline
_AZIMUTH = np.array([0.0, 0.25, 0.45, 0.62, 0.78, 0.92, 1.05, 1.15, 1.25, 1.45, 1.70, 1.95, 2.25, 3.15])
_HEIGHT = np.array(
    [0.073, 0.072, 0.067, 0.058, 0.045, 0.030, 0.012, -0.006, -0.013, -0.002, 0.0, -0.035, -0.058, -0.066]
)


@jit
def hairline(x, y, z, look):
    """Signed height above the hairline, metres: positive where hair grows."""
    azimuth = np.arctan2(abs(x), z - SKULL_Z)
    base = np.interp(azimuth, _AZIMUTH, _HEIGHT)
    front = step(1.15, 0.5, azimuth)
    base += 0.006 * look[K.HAIRLINE] * front
    temple = step(0.15, 0.5, azimuth) * step(1.15, 0.7, azimuth)
    base += look[K.RECEDING] * (0.010 * front + 0.030 * temple)
    height = y - base
    if look[K.BALD_TOP] > 0.5:
        height = min(height, 0.018 - y - 0.02 * step(1.6, 0.9, azimuth))
    return height


@jit
def beard_mask(x, y, z, style):
    """Where a beard of a style grows, 0..1."""
    ax = abs(x)
    line = -0.062 + max(0.0, ax - 0.026) * 1.15
    jaw = step(0.007, -0.010, y - line) * step(-0.128, -0.112, y) * step(-0.085, -0.07, z)
    chin = step(0.027, 0.020, ax) * step(-0.066, -0.074, y) * step(-0.122, -0.108, y) * step(-0.03, -0.01, z)
    lip = step(0.034, 0.026, ax) * step(-0.040, -0.0435, y + 0.10 * max(0.0, ax - 0.012)) * step(-0.066, -0.058, y)
    sides = step(0.031, 0.027, ax) * step(0.020, 0.024, ax) * step(-0.085, -0.075, y) * step(-0.048, -0.054, y)
    if style == 1:
        return max(max(chin, lip), sides)
    if style == 2:
        return lip
    return max(max(jaw, chin), max(lip, sides))


@jit
def brow_mask(x, y, look):
    """How much brow covers a point, 0..1, with hairs along the brow."""
    ax = abs(x)
    start, end = 0.0095, 0.009 + 0.041 * look[K.BROW_LENGTH]
    t = (ax - start) / (end - start)
    if t < -0.08 or t > 1.06:
        return 0.0
    arch = 0.0032 * (1 + 0.8 * look[K.BROW_ARCH])
    middle = 0.0155 + 0.0012 * look[K.BROW_ANGLE] * (t - 0.4) + arch * np.sin(np.pi * min(max(t, 0.0), 1.0) * 0.85)
    middle += 0.0030 * t - 0.0045 * max(0.0, t - 0.65)
    half = 0.0034 * look[K.BROW_THICK] * (1.0 - 0.62 * max(0.0, t) ** 1.6) * (0.75 + 0.25 * step(0.0, 0.2, t))
    across = (y - middle) / half
    body = step(1.15, 0.45, abs(across)) * step(-0.08, 0.10, t) * step(1.06, 0.9, t)
    hairs = 0.65 + 0.5 * smooth(ax * 900 + y * 500, y * 260, 3.0, int(look[K.SEED]))
    return min(1.0, body * hairs) * look[K.BROW_DENSITY]


@jit
def cloth_mask(x, y, z, look):
    """Signed depth under the neckline, metres: positive where the garment covers the skin."""
    ax, kind, rise = abs(x), int(look[K.NECKLINE]), 0.006 * look[K.NECK_HEIGHT]
    behind = 0.22 * max(0.0, -0.06 - z)
    if kind == 2:
        return -0.118 + 0.5 * rise + behind - 0.25 * max(0.0, z + 0.05) - y
    if kind == 1:
        return -0.178 + 0.75 * ax + rise + behind - y
    if kind == 3:
        return -0.165 + 0.30 * ax + rise + behind - y
    if kind == 4:
        return min(
            -0.121 + 0.5 * rise + 0.9 * behind - 0.15 * max(0.0, z + 0.05) - y,
            max(ax - 0.012 - 0.35 * (-0.10 - y), -0.155 - y),
        )
    return -0.146 + 0.22 * ax + rise + behind - y


@jit
def wrinkles(x, y, z, age, seed):
    """Darkening of forehead lines, crow's feet, frown line and nasolabial folds, 0..0.4."""
    if age <= 0.02 or y < -0.09 or y > 0.075:
        return 0.0
    ax, total = abs(x), 0.0
    if y > 0.026 and ax < 0.05:
        drift = 0.004 * (smooth(x * 60, 0.5, 0.5, seed) - 0.5) - 0.9 * x * x
        wave = 0.5 + 0.5 * np.cos((y - drift) * 2 * np.pi / 0.0105)
        total += 0.30 * wave**4 * step(0.026, 0.034, y) * step(0.066, 0.052, y) * step(0.05, 0.03, ax)
    if ax > 0.046 and ax < 0.066 and abs(y) < 0.018:
        fan = (y - 0.001) / (ax - 0.034)
        total += 0.28 * (0.5 + 0.5 * np.cos(fan * 20.0)) ** 3 * step(0.046, 0.052, ax) * step(0.066, 0.058, ax)
    if ax < 0.008 and y > 0.006 and y < 0.028:
        total += 0.2 * step(0.0022, 0.0008, abs(ax - 0.0045))
    if y < -0.028 and y > -0.08:
        fold = 0.017 + 0.32 * (-0.028 - y)
        total += 0.24 * step(0.0030, 0.0006, abs(ax - fold)) * step(-0.08, -0.06, y)
    if y < -0.006 and y > -0.028:
        pouch = -0.0145 - 26.0 * (ax - 0.030) ** 2 * -1.0
        total += 0.24 * step(0.0022, 0.0006, abs(y - pouch)) * step(0.018, 0.012, abs(ax - 0.031))
    return min(total * age, 0.42)


@jit
def freckle(x, y, z, amount, seed):
    """Freckle cover 0..1: jittered dots on nose and cheeks."""
    zone = max(bump(x, y, 0.0, -0.020, 0.030, 0.015), 0.8 * bump(abs(x), y, 0.035, -0.022, 0.018, 0.014))
    zone = max(zone, 0.35 * bump(x, y, 0.0, 0.045, 0.035, 0.015))
    if zone < 0.05:
        return 0.0
    size, best = 0.0042, 0.0
    i0, j0 = int(np.floor(x / size)), int(np.floor(y / size))
    for i in range(i0 - 1, i0 + 2):
        for j in range(j0 - 1, j0 + 2):
            if cell(i, j, 2, seed) < amount * zone:
                px = (i + 0.2 + 0.6 * cell(i, j, 3, seed)) * size
                py = (j + 0.2 + 0.6 * cell(i, j, 4, seed)) * size
                radius = 0.0007 + 0.0011 * cell(i, j, 5, seed)
                d = np.sqrt((x - px) ** 2 + (y - py) ** 2)
                best = max(best, step(radius, 0.4 * radius, d))
    return best


@jit
def hairlines(canon, look):
    """(V,) :func:`hairline` at every vertex; samples interpolate it."""
    out = np.empty(canon.shape[0])
    for i in range(canon.shape[0]):
        out[i] = hairline(canon[i, 0], canon[i, 1], canon[i, 2], look)
    return out
