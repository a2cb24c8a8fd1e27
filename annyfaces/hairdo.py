"""A scene's hair and beard: from its cut to strands in the person's own space."""

from __future__ import annotations

import numpy as np

from annyfaces import hair as H
from annyfaces import look as K
from annyfaces import model as M
from annyfaces.geometry import Posed
from annyfaces.look import detail
from annyfaces.scene import Scene

NONE = np.zeros((0, 2, 3))


def _at(points: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (points[corners] * weights[..., None]).sum(axis=1)


def hair_strands(model: M.HeadModel, scene: Scene, posed: Posed, look: np.ndarray):
    """Strands (n, k, 3) in rest space, NaN-ended; the skull's radius grid; its centre (3,) in rest space."""
    s, identity = H.scalp(model), scene.identity
    centre = H.CENTRE + posed.rest[s.skull].mean(axis=0) - s.skull_mean
    grid = np.linalg.norm(_at(posed.rest, s.grid_corners, s.grid_weights) - centre, axis=1)
    grid = grid.reshape(H.ELEVATIONS, H.AZIMUTHS)
    cut = H.CUTS.get(identity["cut"]) or H.CUTS["buzz"]
    rest_normals = posed.normals @ posed.rotation
    n = cut.strands
    length = cut.short + (cut.long - cut.short) * identity["hair_length"]
    thick = cut.thickness[0] + (cut.thickness[1] - cut.thickness[0]) * identity["hair_volume"]
    lift, front = cut.lift, cut.front
    if detail(scene, "hat"):  # pressed flat, and no fringe under the brim
        thick, lift = min(thick, 0.007), min(lift, 0.2)
    elif detail(scene, "headband"):
        lift *= 0.7
    strands = H.grow(
        _at(posed.rest, s.corners[:n], s.weights[:n]),
        _at(rest_normals, s.corners[:n], s.weights[:n]),
        s.canon[:n],
        grid,
        centre,
        cut.comb,
        length,
        lift,
        cut.gravity,
        thick,
        cut.curl * (0.6 + 0.7 * identity["hair_wave"]),
        cut.steps,
        front,
        0.030 * identity["parting"],
        identity["hair_wave"],
        look,
        identity["hair_seed"] % 65536,
    )
    return strands[~np.isnan(strands[:, 0, 0])], grid, centre


def hair_width(scene: Scene) -> float:
    """Width of a strand in samples at 256 samples a side."""
    cut = H.CUTS.get(scene.identity["cut"])
    return cut.width if cut else 1.2


def beard_strands(model: M.HeadModel, scene: Scene, posed: Posed, look: np.ndarray) -> np.ndarray:
    """Short hairs of a beard in rest space; none for stubble or a shaven face."""
    identity = scene.identity
    if identity["beard"] < 0.25 or identity["beard_style"] == "stubble":
        return NONE
    s, style, seed = H.scalp(model), K.STYLES.index(identity["beard_style"]), identity["hair_seed"] % 65536
    return H.beard_hairs(
        _at(posed.rest, s.beard_corners, s.beard_weights),
        _at(posed.normals @ posed.rotation, s.beard_corners, s.beard_weights),
        s.beard_canon,
        _at(model.lips[:, None], s.beard_corners, s.beard_weights)[:, 0],
        style,
        0.002 + 0.011 * (identity["beard"] - 0.25),
        seed,
    )
