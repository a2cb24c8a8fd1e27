"""Hats, caps, beanies and headbands: shells laid over the skull's radius grid, with brims."""

from __future__ import annotations

import numpy as np

from annyfaces import colours as C
from annyfaces import hair as H
from annyfaces.geometry import Posed, vertex_normals
from annyfaces.look import detail
from annyfaces.scene import Scene

ROUND, ROWS = 48, 9


def worn(scene: Scene) -> dict | None:
    """The hat or headband of a scene."""
    return detail(scene, "hat") or detail(scene, "headband")


def _shell(posed, grid, centre, low, high, offset, rows):
    """(rows * ROUND, 3) rest points between two elevations per azimuth, ``offset`` metres off the skull."""
    a = 2 * np.pi * np.arange(ROUND)[None, :] / ROUND
    t = np.arange(rows)[:, None] / (rows - 1)
    e = low(a) + (high(a) - low(a)) * t
    d = np.stack([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)], axis=-1)
    lift = np.broadcast_to(offset(t) if callable(offset) else offset, e.shape)
    return (centre + d * (H.radii(grid, d.reshape(-1, 3)).reshape(e.shape) + lift)[..., None]).reshape(-1, 3)


def _lattice(rows: int, columns: int, closed: bool) -> np.ndarray:
    """Triangles of a grid of vertices, row by row."""
    faces = []
    for i in range(rows - 1):
        for j in range(columns if closed else columns - 1):
            a, b = i * columns + j, i * columns + (j + 1) % columns
            faces += [(a, b, b + columns), (a, b + columns, a + columns)]
    return np.asarray(faces, np.int32)


def build(scene: Scene, posed: Posed, grid: np.ndarray, centre: np.ndarray):
    """Headwear as (points camera space (v, 3), normals, own coordinates (v, 3), faces (f, 3), rows (f,), things (n, 5))
    or None. ``things``: albedo, gloss, texture."""
    d = worn(scene)
    if d is None:
        return None
    u = d["u"]
    colour = C.hsv(u[0], 0.15 + 0.7 * u[1], 0.15 + 0.75 * u[2])
    thick = 0.011 + 0.004 * u[3]
    pieces = []  # (points, own coordinates, faces, thing)
    if d["kind"] == "headband":
        middle, half = 0.36 + 0.10 * u[4], 0.05 + 0.06 * u[5]
        p = _shell(
            posed,
            grid,
            centre,
            lambda a: middle - half + 0.25 * np.cos(a) - 0.1,
            lambda a: middle + half + 0.25 * np.cos(a) - 0.1,
            thick + 0.002,
            4,
        )
        pieces.append((p, _own(4, 40, 4), _lattice(4, ROUND, True), (*colour, 0.2, 2.0 if u[6] > 0.6 else 3.0)))
    else:
        kind = int(u[7] * 3) % 3  # beanie, cap, brimmed hat
        front = (0.30, 0.42, 0.38)[kind] + 0.06 * u[4]
        bulge = (0.006, 0.004, 0.022 + 0.012 * u[5])[kind]

        def edge(a, front=front):
            return front - 0.30 + 0.30 * np.cos(a)

        def crown(t, bulge=bulge):
            return thick + bulge * np.sin(np.pi * np.minimum(1.0, 0.5 * t + 0.3))

        p = _shell(posed, grid, centre, edge, lambda a: np.pi / 2 + 0 * a, crown, ROWS)
        texture = 1.0 if kind == 0 else 3.0
        pieces.append((p, _own(ROWS, 30, 8), _lattice(ROWS, ROUND, True), (*colour, 0.1, texture)))
        if kind == 0:
            fold = _shell(posed, grid, centre, edge, lambda a: edge(a) + 0.26, thick + 0.007, 3)
            pieces.append((fold, _own(3, 30, 2), _lattice(3, ROUND, True), (*(colour * (0.6 + 0.7 * u[6])), 0.1, 1.0)))
        else:
            pieces.append(_brim(p[:ROUND], centre, kind == 2, u, colour))
    return _gather(pieces, posed)


def _own(rows: int, across: float, up: float) -> np.ndarray:
    i, j = np.meshgrid(np.arange(rows) / (rows - 1), np.arange(ROUND) / ROUND, indexing="ij")
    return np.stack([j.ravel() * across, i.ravel() * up, np.zeros(rows * ROUND)], axis=1)


def _brim(edge: np.ndarray, centre: np.ndarray, all_round: bool, u: list, colour: np.ndarray):
    """A peak in front, or a brim all round, from the hat's lowest row."""
    azimuth = 2 * np.pi * np.arange(ROUND) / ROUND
    signed = (azimuth + np.pi) % (2 * np.pi) - np.pi
    reach = (
        np.full(ROUND, 0.035 + 0.025 * u[5]) if all_round else 0.062 * np.cos(signed / 1.15 * np.pi / 2).clip(0) ** 0.6
    )
    out = edge - centre
    out[:, 1] = 0
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    drop = np.array([0.0, -0.35 if all_round else -0.30, 0.0])
    rows = [edge + (out + drop * t) * (reach * t)[:, None] for t in (0.0, 0.5, 1.0)]
    faces = _lattice(3, ROUND, True)
    if not all_round:
        faces = faces[(reach[faces % ROUND] > 1e-3).any(axis=1)]
    return np.concatenate(rows), _own(3, 30, 1), faces, (*(colour * (0.75 if u[6] < 0.6 else 0.45)), 0.15, 0.0)


def _gather(pieces, posed: Posed):
    points, own, faces, row, things, base = [], [], [], [], [], 0
    for k, (p, o, f, thing) in enumerate(pieces):
        points.append(p)
        own.append(o)
        faces.append(f + base)
        row.append(np.full(len(f), k, np.uint8))
        things.append(thing)
        base += len(p)
    rest = np.round(np.concatenate(points) @ posed.rotation.T, 7)
    joined = np.concatenate(faces).astype(np.int32)
    return (
        rest,
        vertex_normals(rest, joined),
        np.concatenate(own),
        joined,
        np.concatenate(row),
        np.asarray(things, np.float64),
    )
