"""Hair and beard as strands: rooted on the posed scalp, combed by cut, kept off the skull and out of the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annyfaces import look as K
from annyfaces import model as M
from annyfaces.noise import cell, smooth
from annyfaces.paint import SKULL_Z, beard_mask, hairline
from bench.compiled import jit, jit_inline

CENTRE = np.array([0.0, 0.015, SKULL_Z])
AZIMUTHS, ELEVATIONS, LOWEST = 48, 30, -1.15
STRANDS, BEARD_STRANDS = 2600, 1100
# comb directions
DOWN, BACK, SIDE, FORWARD, OUT, UP = range(6)


@dataclass(frozen=True)
class Cut:
    """How a cut grows: lengths in metres, weights of lift (off the scalp), comb and gravity per step."""

    comb: int
    short: float
    long: float
    lift: float
    gravity: float
    thickness: tuple[float, float]
    curl: float
    steps: int
    strands: int
    width: float
    front: float = -9.0  # canonical height at which strands over the face end (fringe); -9: swept aside


CUTS = {
    "buzz": Cut(DOWN, 0.004, 0.009, 0.6, 0.0, (0.002, 0.005), 0.1, 3, 2600, 1.6),
    "short": Cut(FORWARD, 0.022, 0.045, 0.55, 0.05, (0.007, 0.018), 0.12, 6, 2600, 2.0, 0.058),
    "side": Cut(SIDE, 0.040, 0.080, 0.50, 0.08, (0.009, 0.024), 0.08, 8, 2600, 2.1, 0.050),
    "back": Cut(BACK, 0.050, 0.110, 0.40, 0.04, (0.008, 0.020), 0.06, 9, 2600, 2.1),
    "fringe": Cut(FORWARD, 0.065, 0.110, 0.30, 0.22, (0.010, 0.020), 0.08, 9, 2600, 2.2, 0.026),
    "curly": Cut(OUT, 0.050, 0.110, 0.60, 0.25, (0.015, 0.034), 1.0, 12, 2200, 2.5, 0.045),
    "afro": Cut(OUT, 0.040, 0.085, 1.20, 0.0, (0.022, 0.060), 1.3, 10, 2600, 2.3, 0.055),
    "bob": Cut(SIDE, 0.150, 0.200, 0.30, 0.45, (0.012, 0.024), 0.05, 13, 2000, 2.6),
    "long": Cut(SIDE, 0.260, 0.380, 0.28, 0.50, (0.012, 0.024), 0.05, 15, 2000, 2.8),
    "wavy": Cut(SIDE, 0.230, 0.340, 0.35, 0.42, (0.015, 0.034), 0.45, 16, 1900, 2.8),
    "updo": Cut(UP, 0.090, 0.140, 0.25, 0.0, (0.007, 0.015), 0.04, 9, 2600, 2.1),
}


@dataclass(frozen=True)
class Scalp:
    """Root places and the skull's radius grid as corners and weights of fixed triangles."""

    corners: np.ndarray  # (STRANDS, 3) vertex numbers
    weights: np.ndarray  # (STRANDS, 3)
    canon: np.ndarray  # (STRANDS, 3)
    beard_corners: np.ndarray
    beard_weights: np.ndarray
    beard_canon: np.ndarray
    grid_corners: np.ndarray  # (ELEVATIONS * AZIMUTHS, 3)
    grid_weights: np.ndarray
    skull: np.ndarray  # vertex numbers whose mean follows the skull
    skull_mean: np.ndarray  # (3,) that mean on the average head


_CACHE: dict[int, Scalp] = {}


def scalp(model: M.HeadModel) -> Scalp:
    """Choose roots and radius grid once per process (deterministic)."""
    if id(model) not in _CACHE:
        p, ears = model.canon, model.ears
        faces = model.faces[model.kind == M.SKIN]
        outer = faces[(ears[faces].max(axis=1) < 0.3) & (p[faces][..., 1].min(axis=1) > -0.135)]
        generator = np.random.Generator(np.random.PCG64(20))
        plain = np.zeros(K.COUNT)
        middle = p[outer].mean(axis=1)
        grows = np.array([hairline(*m, plain) > -0.006 for m in middle]) & (middle[:, 1] > -0.075)
        hairs = _scatter(generator, p, outer[grows], STRANDS)
        bearded = np.array([beard_mask(*m, 0) > 0.05 for m in middle])
        beards = _scatter(generator, p, outer[bearded], BEARD_STRANDS)
        skull = np.unique(outer)
        skull = skull[(p[skull, 1] > 0.02) & (p[skull, 2] < -0.02)]
        corners, weights = _grid(p, outer)
        _CACHE[id(model)] = Scalp(
            corners=hairs[0],
            weights=hairs[1],
            canon=hairs[2],
            beard_corners=beards[0],
            beard_weights=beards[1],
            beard_canon=beards[2],
            grid_corners=corners,
            grid_weights=weights,
            skull=skull,
            skull_mean=p[skull].mean(axis=0),
        )
    return _CACHE[id(model)]


def _scatter(generator, p, faces, count):
    """Points spread evenly over triangles: corners, barycentric weights, canonical places."""
    a, b, c = p[faces[:, 0]], p[faces[:, 1]], p[faces[:, 2]]
    area = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1))
    u = generator.random((count, 3))
    level = (np.arange(count) + u[:, 0]) / count * area[-1]
    chosen = np.minimum(np.searchsorted(area, level), len(faces) - 1)
    root = np.sqrt(u[:, 1])
    weights = np.round(np.stack([1 - root, root * (1 - u[:, 2]), root * u[:, 2]], axis=1), 9)
    order = np.argsort(generator.random(count), kind="stable")
    corners, weights = faces[chosen][order].astype(np.int64), weights[order]
    return corners, weights, (p[corners] * weights[..., None]).sum(axis=1)


def _grid(p, faces):
    """Outermost triangle hit by each ray of the radius grid."""
    directions = np.empty((ELEVATIONS * AZIMUTHS, 3))
    for i in range(ELEVATIONS):
        e = LOWEST + (np.pi / 2 - LOWEST) * i / (ELEVATIONS - 1)
        for j in range(AZIMUTHS):
            a = 2 * np.pi * j / AZIMUTHS
            directions[i * AZIMUTHS + j] = np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)
    return _cast(p, faces.astype(np.int64), directions)


@jit
def _cast(p, faces, directions):
    corners = np.zeros((directions.shape[0], 3), np.int64)
    weights = np.zeros((directions.shape[0], 3))
    for n in range(directions.shape[0]):
        best, d = -1.0, directions[n]
        for f in range(faces.shape[0]):
            a, b, c = p[faces[f, 0]] - CENTRE, p[faces[f, 1]] - CENTRE, p[faces[f, 2]] - CENTRE
            ab, ac = b - a, c - a
            normal = np.cross(d, ac)
            det = np.dot(ab, normal)
            if abs(det) < 1e-12:
                continue
            u = np.dot(-a, normal) / det
            q = np.cross(-a, ab)
            v = np.dot(d, q) / det
            t = np.dot(ac, q) / det
            if u >= -1e-6 and v >= -1e-6 and u + v <= 1 + 1e-6 and t > best:
                best = t
                corners[n] = faces[f]
                weights[n] = np.array([1 - u - v, u, v])
    return corners, np.round(weights * 1e6) / 1e6


@jit
def radius_at(grid, x, y, z):
    """Skull radius along a direction from the centre, metres (bilinear in azimuth and elevation)."""
    flat = np.sqrt(x * x + z * z)
    i = (np.arctan2(y, flat) - LOWEST) / (np.pi / 2 - LOWEST) * (ELEVATIONS - 1)
    j = np.arctan2(x, z) / (2 * np.pi) * AZIMUTHS
    if j < 0:
        j += AZIMUTHS
    i = min(max(i, 0.0), ELEVATIONS - 1.001)
    i0, j0 = int(i), int(j)
    u, v = i - i0, j - j0
    j0, j1 = j0 % AZIMUTHS, (j0 + 1) % AZIMUTHS
    return (grid[i0, j0] * (1 - v) + grid[i0, j1] * v) * (1 - u) + (
        grid[i0 + 1, j0] * (1 - v) + grid[i0 + 1, j1] * v
    ) * u


@jit
def radii(grid, directions):
    """(n,) :func:`radius_at` of many directions."""
    out = np.empty(directions.shape[0])
    for n in range(directions.shape[0]):
        out[n] = radius_at(grid, directions[n, 0], directions[n, 1], directions[n, 2])
    return out


@jit
def grow(
    roots,
    normals,
    canon,
    grid,
    centre,
    comb,
    length,
    lift,
    gravity,
    thickness,
    curl,
    steps,
    front,
    part,
    wave,
    look,
    seed,
):
    """Strands in rest space.

    Args:
        roots, normals, canon: (n, 3). grid: (ELEVATIONS, AZIMUTHS) skull radii about ``centre``.
        length, thickness: metres. front: see :class:`Cut`. part: x of the parting, metres.
    Returns:
        (n, steps + 1, 3), NaN after a strand's end.
    """
    count = roots.shape[0]
    out = np.full((count, steps + 1, 3), np.nan)
    for n in range(count):
        x, y, z = canon[n, 0], canon[n, 1], canon[n, 2]
        if hairline(x, y, z, look) < 0.004 * (cell(n, 1, 0, seed) - 0.4):
            continue
        px, py, pz = roots[n, 0] - centre[0], roots[n, 1] - centre[1], roots[n, 2] - centre[2]
        dx, dy, dz = normals[n, 0], normals[n, 1], normals[n, 2]
        tuft = smooth(x * 90, y * 90, z * 90, seed) - 0.5
        tuft2 = smooth(x * 90 + 40, y * 90, z * 90, seed) - 0.5
        own = cell(n, 2, 0, seed)
        layer = thickness * (0.15 + 0.85 * own)
        size = length * (0.75 + 0.35 * cell(n, 3, 0, seed) + 0.25 * tuft) / steps
        if comb == FORWARD or comb == SIDE or comb == BACK or comb == OUT:  # shorter at the sides and nape
            low = min(max((y + 0.02) / 0.07, 0.0), 1.0)
            if length < 0.12:
                size *= 0.30 + 0.70 * low
                layer *= 0.30 + 0.70 * low
        phase = 6.28 * (own + 1.5 * tuft)
        side = 1.0 if x - part >= 0.0 else -1.0
        out[n, 0, 0], out[n, 0, 1], out[n, 0, 2] = px + centre[0], py + centre[1], pz + centre[2]
        cx, cy, cz = dx, dy, dz
        for k in range(1, steps + 1):
            r = np.sqrt(px * px + py * py + pz * pz) + 1e-12
            nx, ny, nz = px / r, py / r, pz / r
            tx, ty, tz = _comb(comb, nx, ny, nz, side, x, y)
            tx, ty, tz = tx + 0.9 * tuft, ty, tz + 0.9 * tuft2
            inward = tx * nx + ty * ny + tz * nz
            tx, ty, tz = tx - inward * nx, ty - inward * ny, tz - inward * nz
            up = lift * 1.5 * (1.0 - (k - 1) / steps) ** 2
            a = phase + k * (1.1 + 0.5 * wave)
            cx = 0.55 * cx + 0.6 * tx + up * nx + 0.45 * curl * np.sin(a)
            cy = 0.55 * cy + 0.6 * ty + up * ny - gravity * k / steps * 2.0 + 0.25 * curl * np.cos(a * 1.3)
            cz = 0.55 * cz + 0.6 * tz + up * nz + 0.45 * curl * np.cos(a)
            norm = 1.0 / (np.sqrt(cx * cx + cy * cy + cz * cz) + 1e-12)
            cx, cy, cz = cx * norm, cy * norm, cz * norm
            px, py, pz = px + cx * size, py + cy * size, pz + cz * size
            r = np.sqrt(px * px + py * py + pz * pz) + 1e-12
            if py > -0.10:
                floor = radius_at(grid, px, py, pz) + layer * min(1.0, 1.6 * k / steps)
                target_count = max(r, floor)
                if comb != OUT and r > floor:
                    target_count = floor + (r - floor) * 0.3
                px, py, pz = px * target_count / r, py * target_count / r, pz * target_count / r
            height, ahead, across = py + centre[1], pz + centre[2], px + centre[0]
            if front > -1.0 and ahead > -0.04 and abs(across) < 0.056 and height < front + 0.008 * own + 0.012 * tuft:
                break
            if ahead > -0.075 and height < 0.055:  # keep the face free
                guard = 0.060 + 0.012 * min(1.0, max(0.0, (0.055 - height) / 0.05)) + 0.010 * own
                if abs(across) < guard:
                    if front > -1.0 and abs(across) > 0.045:
                        break
                    px = (side if abs(across) < 0.02 else (1.0 if across > 0 else -1.0)) * guard - centre[0]
                    pz = min(pz, -0.035 - centre[2] - 0.02 * own)
            out[n, k, 0], out[n, k, 1], out[n, k, 2] = px + centre[0], py + centre[1], pz + centre[2]
    return out


@jit_inline
def _comb(comb, nx, ny, nz, side, x, y):
    """Wanted direction of growth at a place of the skull (before it is laid on the surface)."""
    if comb == BACK:
        return 0.15 * nx, 0.15 - 0.5 * (1.0 - ny), -1.0
    if comb == SIDE:
        return side * (0.9 - 0.3 * abs(nx)), -0.35 - 0.5 * abs(nx), 0.10 - 0.45 * abs(nx)
    if comb == FORWARD:
        top = max(0.0, ny)
        return 0.25 * side * top, -0.4 - 0.7 * (1.0 - top), 0.9 * top - 0.25 * (1.0 - top)
    if comb == OUT:
        return 0.0, -0.15, 0.0
    if comb == UP:
        return -nx * 0.6, 0.75 - ny, -0.55 - nz * 0.3
    return -ny * nx, -1.0, -ny * nz


@jit
def beard_hairs(roots, normals, canon, lip, style, size, seed):
    """(n, 3, 3) short hairs in rest space that bend down; only where the style grows and off the lips.

    Args:
        roots, normals, canon: (m, 3). lip: (m,) lip mask. size: metres.
    """
    out, n = np.empty((roots.shape[0], 3, 3)), 0
    for i in range(roots.shape[0]):
        if lip[i] > 0.1 or beard_mask(canon[i, 0], canon[i, 1], canon[i, 2], style) < 0.25 + 0.5 * cell(i, 4, 0, seed):
            continue
        a, b = cell(i, 11, 0, seed) - 0.5, cell(i, 12, 0, seed) - 0.5
        reach = size * (0.7 + 0.6 * a)
        for c in range(3):
            width = a if c == 0 else (b if c == 2 else 0.0)
            down = -1.0 if c == 1 else 0.0
            out[n, 0, c] = roots[i, c]
            out[n, 1, c] = roots[i, c] + reach * (0.45 * normals[i, c] + 0.5 * down + 0.5 * width)
            out[n, 2, c] = out[n, 1, c] + reach * (0.15 * normals[i, c] + 0.8 * down + 0.7 * width)
        n += 1
    return out[:n]
