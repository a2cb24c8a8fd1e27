"""Structured backgrounds and reflections: what only one picture has."""

from __future__ import annotations

import numpy as np

from annyfaces import colours as C
from annyfaces import factors as F
from annyfaces.noise import cell, smooth, step
from bench.compiled import jit

KINDS = ("shapes", "stripes", "marks", "bokeh", "photo", "panels")


def decorate(out: np.ndarray, drop: dict) -> np.ndarray:
    """Draw a backdrop over (S, S, 3) float32 linear, in place, and return it."""
    r, u = F.generator(drop["seed"]), drop["u"]
    kind = F.pick(r, KINDS, (1.2, 0.9, 1.0, 0.8, 1.6, 0.8))
    colours = np.array(
        [C.hsv(u[0] + F.normal(r, 0.18), F.between(r, 0.1, 0.85), F.between(r, 0.15, 0.95)) for _ in range(6)]
    )
    if kind == "photo":  # muted and related, as walls, trees and streets are
        colours = np.array(
            [C.hsv(u[0] + F.normal(r, 0.06), F.between(r, 0.05, 0.45), F.between(r, 0.12, 0.85)) for _ in range(6)]
        )
        return _photo(out, colours, 2.0 + 4.0 * u[1], 0.35 + 0.65 * u[2], int(drop["seed"] % 65536))
    if kind == "stripes":
        return _stripes(out, colours, np.pi * u[1], 0.04 + 0.16 * u[2], 0.25 + 0.5 * u[3], u[4], 0.6 + 0.4 * u[5])
    if kind == "marks":
        return _marks(out, colours[0], colours[1], 0.05 + 0.06 * u[1], u[2], int(drop["seed"] % 65536))
    if kind == "panels":
        return _panels(
            out, colours, np.sort(np.array([F.between(r, 0, 1) for _ in range(4)])), u[1], 0.012 + 0.02 * u[2]
        )
    count = 5 + int(r.integers(9))
    rows = np.array(
        [
            [
                F.between(r, -0.05, 1.05),
                F.between(r, -0.05, 1.05),
                F.between(r, 0.04, 0.22),
                F.between(r, 0, np.pi),
                float(r.integers(4)),
                float(r.integers(6)),
                F.between(r, 0.4, 1.6),
            ]
            for _ in range(count)
        ]
    )
    if kind == "bokeh":
        rows[:, 2] *= 0.55
        return _bokeh(out, colours, rows)
    return _shapes(out, colours, rows)


@jit
def _shapes(out, colours, rows):
    """Discs, boxes, triangles and rings."""
    size = out.shape[0]
    for n in range(rows.shape[0]):
        cx, cy, r, a = rows[n, 0], rows[n, 1], rows[n, 2], rows[n, 3]
        kind, colour, aspect = int(rows[n, 4]), colours[int(rows[n, 5])], rows[n, 6]
        c, s = np.cos(a), np.sin(a)
        for i in range(size):
            for j in range(size):
                x, y = (j + 0.5) / size - cx, (i + 0.5) / size - cy
                if abs(x) > 1.7 * r or abs(y) > 1.7 * r:
                    continue
                p, q = x * c + y * s, (y * c - x * s) * aspect
                if kind == 0:
                    inside = p * p + q * q < r * r
                elif kind == 1:
                    inside = max(abs(p), abs(q)) < 0.8 * r
                elif kind == 2:
                    inside = q > -0.6 * r and 1.7 * abs(p) + q < 0.9 * r
                else:
                    d = np.sqrt(p * p + q * q)
                    inside = d < r and d > 0.65 * r
                if inside:
                    for k in range(3):
                        out[i, j, k] = colour[k]
    return out


@jit
def _stripes(out, colours, angle, period, share, phase, cover):
    size, c, s = out.shape[0], np.cos(angle), np.sin(angle)
    for i in range(size):
        for j in range(size):
            t = ((j * c + i * s) / size) / period + phase
            if t % 1.0 < share:
                colour = colours[int(np.floor(t)) % 2]
                for k in range(3):
                    out[i, j, k] += (colour[k] - out[i, j, k]) * cover
    return out


@jit
def _marks(out, ink, paper, size_of, slant, seed):
    """Rows of letter-like strokes on a sign."""
    size = out.shape[0]
    for i in range(size):
        for j in range(size):
            x, y = j / size + 0.15 * (slant - 0.5) * i / size, i / size
            line = y / (size_of * 1.7)
            letter = x / (size_of * 0.8)
            li, ch = int(np.floor(line)), int(np.floor(letter))
            u, v = letter - ch, line - li
            if v > 0.65 or cell(ch, li, 0, seed) < 0.16:
                continue
            u, v = u / 0.8, v / 0.65
            if u > 1.0:
                continue
            shape, thick, hit = int(cell(ch, li, 1, seed) * 256), 0.2, False
            hit |= bool(shape & 1) and u < thick
            hit |= bool(shape & 2) and u > 1 - thick
            hit |= bool(shape & 4) and v < thick
            hit |= bool(shape & 8) and v > 1 - thick
            hit |= bool(shape & 16) and abs(v - 0.5) < 0.5 * thick
            hit |= bool(shape & 32) and abs(u - v) < 0.7 * thick
            hit |= bool(shape & 64) and abs(u - 0.5) < 0.5 * thick
            if hit:
                for k in range(3):
                    out[i, j, k] = ink[k] if li % 3 else paper[k]
    return out


@jit
def _bokeh(out, colours, rows):
    """Out-of-focus lights."""
    size = out.shape[0]
    for i in range(size):
        for j in range(size):
            for k in range(3):
                out[i, j, k] *= 0.5
    for n in range(rows.shape[0]):
        colour = colours[int(rows[n, 5])]
        for i in range(size):
            for j in range(size):
                d = np.sqrt(((j + 0.5) / size - rows[n, 0]) ** 2 + ((i + 0.5) / size - rows[n, 1]) ** 2) / rows[n, 2]
                if d < 1.1:
                    m = step(1.05, 0.9, d) * (0.35 + 0.3 * d * d)
                    for k in range(3):
                        out[i, j, k] += m * colour[k]
    return out


@jit
def _photo(out, colours, scale, strength, seed):
    """Blurred, photo-like blotches: domain-warped noise between several colours, darker below a horizon."""
    size = out.shape[0]
    for i in range(size):
        for j in range(size):
            x, y = j / size * scale, i / size * scale
            wx = smooth(x * 1.3, y * 1.3, 1.0, seed) * 2.4
            wy = smooth(x * 1.3, y * 1.3, 5.0, seed) * 2.4
            n = (
                0.6 * smooth(x + wx, y + wy, 2.0, seed)
                + 0.3 * smooth(2.3 * x + wy, 2.3 * y, 3.0, seed)
                + 0.1 * smooth(6 * x, 6 * y, 4.0, seed)
            )
            t = min(max((n - 0.2) / 0.6, 0.0), 0.999) * 5
            a = int(t)
            f = t - a
            for k in range(3):
                colour = colours[a, k] * (1 - f) + colours[a + 1, k] * f
                out[i, j, k] += (colour - out[i, j, k]) * strength
    return out


@jit
def _panels(out, colours, cuts, level, frame):
    """Upright panels with frames, like doors, shelves and windows, and a skirting below."""
    size = out.shape[0]
    for i in range(size):
        y = i / size
        for j in range(size):
            x, k, near = j / size, 0, 1.0
            for c in range(cuts.shape[0]):
                if x > cuts[c]:
                    k = c + 1
                near = min(near, abs(x - cuts[c]))
            shade = (
                0.35 if near < frame or abs(y - 0.2 - 0.6 * level) < frame else (1.0 if y < 0.2 + 0.6 * level else 0.7)
            )
            for c in range(3):
                out[i, j, c] = colours[k % 3, c] * shade
    return out


@jit
def reflect(painted, u, v, w, s):
    """Lay the mirror image of a bright window over the whole picture, as if seen through glass (in place)."""
    size = painted.shape[0]
    angle = (u - 0.5) * 1.2
    c, n = np.cos(angle), np.sin(angle)
    for i in range(size):
        for j in range(size):
            x, y = j / size - 0.5, i / size - 0.5
            p, q = x * c + y * n, y * c - x * n
            if s < 0.5:
                band = abs((p + 0.6 * (v - 0.5)) / (0.10 + 0.10 * w))
                m = step(1.0, 0.75, band) + 0.6 * step(0.3, 0.2, abs(band - 1.5))
            else:
                a, b = (p - 0.5 * (v - 0.5)) / 0.22, (q - 0.3 * (w - 0.5)) / 0.28
                m = (
                    step(1.0, 0.93, abs(a))
                    * step(1.0, 0.93, abs(b))
                    * step(0.04, 0.09, abs(a))
                    * step(0.04, 0.09, abs(b))
                )
            m *= 0.08 + 0.16 * w
            for k in range(3):
                painted[i, j, k] = painted[i, j, k] * (1 - 0.4 * m) + m * (0.9 if k < 2 else 1.0)
