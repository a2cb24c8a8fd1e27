"""The sums of SSIM over one plane after another, compiled for a CPU: each sample is read once, rows stay in its cache.

Self-contained on purpose: the cache of compiled code looks at the file that a function stands in.
"""

from __future__ import annotations

import numpy as np

from bench.compiled import jit

TAPS = 11  # of the symmetric window, unrolled in ``_weigh``


@jit
def _products(a, b, out):
    """Two rows of samples -> (4, W): both, the sum of their squares, their product."""
    for j in range(len(a)):
        out[0, j] = a[j]
        out[1, j] = b[j]
        out[2, j] = a[j] * a[j] + b[j] * b[j]
        out[3, j] = a[j] * b[j]


@jit
def _weigh(r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, half, out):
    """Eleven neighbours, element by element, by the symmetric window whose first six taps are ``half``."""
    t0, t1, t2, t3, t4, t5 = half
    for j in range(len(out)):
        outer = t0 * (r0[j] + r10[j]) + t1 * (r1[j] + r9[j]) + t2 * (r2[j] + r8[j])
        out[j] = outer + (t3 * (r3[j] + r7[j]) + t4 * (r4[j] + r6[j]) + t5 * r5[j])


@jit
def _add_ssim(filtered, unbias, c1, c2, whole, structure):
    """Add SSIM and its structure factor at each position of a row to (W',) sums; ``filtered``: (4, W')."""
    for j in range(len(whole)):
        product = filtered[0, j] * filtered[1, j]
        squares = filtered[0, j] * filtered[0, j] + filtered[1, j] * filtered[1, j]
        factor = (2 * unbias * (filtered[3, j] - product) + c2) / (unbias * (filtered[2, j] - squares) + c2)
        structure[j] += factor
        whole[j] += (2 * product + c1) / (squares + c1) * factor


@jit
def symmetric(x, y, half, unbias, c1, c2):
    """Means of SSIM and of its structure factor over all positions of an 11 x 11 window.

    Args:
        x, y: (N, H, W) float64. half: the first six taps; the others mirror them.
        unbias: factor of the variances.
    Returns:
        (2, N).
    """
    planes, height, width = x.shape
    inner = width - TAPS + 1
    means = np.empty((2, planes))
    line, ring, filtered = np.empty((4, width)), np.empty((4, TAPS, inner)), np.empty((4, inner))
    for n in range(planes):
        whole, structure = np.zeros(inner), np.zeros(inner)
        for i in range(height):
            _products(x[n, i], y[n, i], line)
            for m in range(4):
                p = line[m]
                out = ring[m, i % TAPS]
                _weigh(p, p[1:], p[2:], p[3:], p[4:], p[5:], p[6:], p[7:], p[8:], p[9:], p[10:], half, out)
            if i < TAPS - 1:
                continue
            s = i + 1  # the oldest row of the ring, modulo its length
            for m in range(4):
                r = ring[m]
                _weigh(
                    r[s % TAPS], r[(s + 1) % TAPS], r[(s + 2) % TAPS], r[(s + 3) % TAPS], r[(s + 4) % TAPS],
                    r[(s + 5) % TAPS], r[(s + 6) % TAPS], r[(s + 7) % TAPS], r[(s + 8) % TAPS], r[(s + 9) % TAPS],
                    r[(s + 10) % TAPS], half, filtered[m],
                )  # fmt: skip
            _add_ssim(filtered, unbias, c1, c2, whole, structure)
        means[0, n], means[1, n] = whole.sum(), structure.sum()
    return means / ((height - TAPS + 1) * inner)


@jit
def uniform(x, y, side, unbias, c1, c2):
    """As :func:`symmetric` for ``side`` x ``side`` equal taps, from running sums: the cost does not depend on ``side``."""
    planes, height, width = x.shape
    inner, share = width - side + 1, 1.0 / (side * side)
    means = np.empty((2, planes))
    line, gone, columns = np.empty((4, width)), np.empty((4, width)), np.empty((4, width))
    filtered = np.empty((4, inner))
    for n in range(planes):
        whole, structure = np.zeros(inner), np.zeros(inner)
        columns[:] = 0.0
        for i in range(height):
            _products(x[n, i], y[n, i], line)
            if i >= side:
                _products(x[n, i - side], y[n, i - side], gone)
                line -= gone
            columns += line
            if i < side - 1:
                continue
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for j in range(side - 1):
                a, b, c, d = a + columns[0, j], b + columns[1, j], c + columns[2, j], d + columns[3, j]
            for j in range(inner):
                k = j + side - 1
                a, b, c, d = a + columns[0, k], b + columns[1, k], c + columns[2, k], d + columns[3, k]
                filtered[0, j], filtered[1, j] = a * share, b * share
                filtered[2, j], filtered[3, j] = c * share, d * share
                a, b, c, d = a - columns[0, j], b - columns[1, j], c - columns[2, j], d - columns[3, j]
            _add_ssim(filtered, unbias, c1, c2, whole, structure)
        means[0, n], means[1, n] = whole.sum(), structure.sum()
    return means / ((height - side + 1) * inner)


@jit
def halve(x):
    """(N, H, W) float64 -> (N, H // 2, W // 2): means of 2 x 2."""
    planes, height, width = x.shape
    out = np.empty((planes, height // 2, width // 2))
    for n in range(planes):
        for i in range(height // 2):
            above, below = x[n, 2 * i], x[n, 2 * i + 1]
            for j in range(width // 2):
                out[n, i, j] = ((above[2 * j] + above[2 * j + 1]) + (below[2 * j] + below[2 * j + 1])) * 0.25
    return out
