"""Value noise from integer hashing: the same on every machine, no tables, no state."""

from __future__ import annotations

import numpy as np

from bench.compiled import jit, jit_inline


@jit_inline
def cell(i, j, k, seed):
    """A number in 0..1 for an integer cell."""
    h = (
        np.uint32(i) * np.uint32(374761393)
        + np.uint32(j) * np.uint32(668265263)
        + np.uint32(k) * np.uint32(2147483647)
        + np.uint32(seed) * np.uint32(1274126177)
    )
    h = np.uint32(h)
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(1103515245))
    h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(2246822519))
    h = np.uint32(h ^ (h >> np.uint32(15)))
    return np.float64(h) / 4294967295.0


@jit
def smooth(x, y, z, seed):
    """Trilinear value noise, 0..1, one cell per unit.

    Compiled anew for each seed that is written as a plain number: write ``np.int64(5)``.
    """
    i, j, k = np.floor(x), np.floor(y), np.floor(z)
    u, v, w = x - i, y - j, z - k
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    a, b, c = int(i), int(j), int(k)
    x00 = cell(a, b, c, seed) * (1 - u) + cell(a + 1, b, c, seed) * u
    x10 = cell(a, b + 1, c, seed) * (1 - u) + cell(a + 1, b + 1, c, seed) * u
    x01 = cell(a, b, c + 1, seed) * (1 - u) + cell(a + 1, b, c + 1, seed) * u
    x11 = cell(a, b + 1, c + 1, seed) * (1 - u) + cell(a + 1, b + 1, c + 1, seed) * u
    return (x00 * (1 - v) + x10 * v) * (1 - w) + (x01 * (1 - v) + x11 * v) * w


@jit_inline
def step(low, high, x):
    """Smoothstep: 0 below ``low``, 1 above ``high`` (``low`` > ``high`` falls)."""
    t = (x - low) / (high - low)
    t = min(max(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@jit_inline
def bump(x, y, cx, cy, rx, ry):
    """A soft elliptic spot, 1 in the middle, 0 at twice the radius."""
    d = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2
    t = max(0.0, 1.0 - 0.25 * d)
    return t * t
