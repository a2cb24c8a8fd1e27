"""A scene's hair and beard: from its cut to strands in the person's own space."""

from __future__ import annotations

import numpy as np

from bench.annyfaces import hair as H
from bench.annyfaces import look as K
from bench.annyfaces import model as M
from bench.annyfaces.geometry import Posed
from bench.annyfaces.noise import cell
from bench.annyfaces.scene import Scene

NONE = np.zeros((0, 2, 3))


def _at(points: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (points[corners] * weights[..., None]).sum(axis=1)


def hair_strands(model: M.HeadModel, scene: Scene, posed: Posed, look: np.ndarray, covered: float = 9.0):
    """((n, k, 3) strands in rest space, NaN-ended; (3,) skull centre in rest space)."""
    s, identity = H.scalp(model), scene.identity
    centre = H.CENTRE + posed.rest[s.skull].mean(axis=0) - s.skull_mean
    cut = H.CUTS.get(identity["cut"])
    if cut is None and look[K.BALD_TOP] < 0.5:
        return NONE, centre
    cut = cut or H.CUTS["buzz"]
    grid = np.linalg.norm(_at(posed.rest, s.grid_corners, s.grid_weights) - centre, axis=1)
    grid = grid.reshape(H.ELEVATIONS, H.AZIMUTHS)
    rest_normals = posed.normals @ posed.rotation
    n = cut.strands
    length = cut.short + (cut.long - cut.short) * identity["hair_length"]
    thick = cut.thickness[0] + (cut.thickness[1] - cut.thickness[0]) * identity["hair_volume"]
    strands = H.grow(
        _at(posed.rest, s.corners[:n], s.weights[:n]), _at(rest_normals, s.corners[:n], s.weights[:n]), s.canon[:n], grid,
        centre, cut.comb, length, cut.lift, cut.gravity, thick, cut.curl * (0.6 + 0.7 * identity["hair_wave"]),
        cut.steps, cut.front, 0.030 * identity["parting"], identity["hair_wave"], covered, look,
        identity["hair_seed"] % 65536)
    return strands[~np.isnan(strands[:, 0, 0])], centre


def beard_strands(model: M.HeadModel, scene: Scene, posed: Posed, look: np.ndarray) -> np.ndarray:
    """Short hairs of a beard in rest space; none for stubble or a shaven face."""
    identity = scene.identity
    if identity["beard"] < 0.25 or identity["beard_style"] == "stubble":
        return NONE
    s, style, seed = H.scalp(model), K.STYLES.index(identity["beard_style"]), identity["hair_seed"] % 65536
    keep = np.array([H.beard_mask(*c, style) > 0.25 + 0.5 * cell(i, 4, 0, seed) for i, c in enumerate(s.beard_canon)])
    keep &= _at(model.lips[:, None], s.beard_corners, s.beard_weights)[:, 0] < 0.1
    roots = _at(posed.rest, s.beard_corners[keep], s.beard_weights[keep])
    normals = _at(posed.normals @ posed.rotation, s.beard_corners[keep], s.beard_weights[keep])
    number = np.flatnonzero(keep)
    spread = np.array([[cell(int(i), 11, 0, seed) - 0.5, 0.0, cell(int(i), 12, 0, seed) - 0.5] for i in number]).reshape(-1, 3)
    size = (0.002 + 0.011 * (identity["beard"] - 0.25)) * (0.7 + 0.6 * spread[:, :1])
    down = np.array([0.0, -1.0, 0.0])
    middle = roots + size * (0.45 * normals + 0.5 * down + 0.5 * spread)
    return np.stack([roots, middle, middle + size * (0.15 * normals + 0.8 * down + 0.7 * spread)], axis=1)
