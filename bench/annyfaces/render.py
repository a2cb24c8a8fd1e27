"""Scenes to pictures: geometry, hair, shadow map, z-buffer, shading, details, resolve. One scene at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from bench.annyfaces import geometry as G
from bench.annyfaces import labels as P
from bench.annyfaces import look as K
from bench.annyfaces import model as M
from bench.annyfaces.background import background
from bench.annyfaces.hairdo import beard_strands, hair_strands
from bench.annyfaces.light import shadow_map
from bench.annyfaces.paint import hairlines
from bench.annyfaces.raster import JIT, draw_strands, draw_triangles
from bench.annyfaces.scene import Scene
from bench.annyfaces.shade import shade_mesh, shade_strands
from bench.annyfaces.truth import flat_factors
from bench.errors import BenchError

RENDERER_VERSION = "1"
RESOLUTIONS = {64: 4, 128: 2, 256: 2}          # picture side -> samples per pixel side


@dataclass
class Rendered:
    """One picture and its ground truth.

    Attributes:
        image: (R, R, 3) uint8 sRGB.
        labels: (R, R) uint8, index into :data:`bench.annyfaces.labels.PARTS`.
        landmarks: (68, 2) float32 pixels, x right, y down, the picture's corner at (0, 0).
        factors: flat name -> number or text.
    """

    image: np.ndarray
    labels: np.ndarray
    landmarks: np.ndarray
    factors: dict[str, float | str]


class Renderer:
    """Renders scenes at one resolution. The first call in a fresh environment compiles and caches (a minute)."""

    def __init__(self, resolution: int = 128):
        if resolution not in RESOLUTIONS:
            raise BenchError(f"cannot render at {resolution!r} px", expected=f"one of {sorted(RESOLUTIONS)}")
        self.resolution = resolution
        self.samples = RESOLUTIONS[resolution]
        self.side = resolution * self.samples
        self.model = M.load_model()
        self.solid = int(np.argmax(self.model.kind >= M.LASH_UPPER))     # faces before the lashes

    def render(self, scenes: list[Scene]) -> list[Rendered]:
        """One :class:`Rendered` per scene; each depends on its own scene alone."""
        return [self.render_one(scene) for scene in scenes]

    def render_one(self, scene: Scene) -> Rendered:
        model, side = self.model, self.side
        look, posed = K.pack(scene), G.pose(self.model, scene)
        hair, beard, centre = self._strands(scene, posed, look)
        screen = posed.project(posed.points, side)
        shadow = shadow_map(posed.points, model.faces, np.array([[0, self.solid]]), hair, np.zeros((0, 4)), look)
        depth = np.zeros((side, side))
        triangle = np.full((side, side), -1, np.int32)
        weights = np.zeros((side, side, 2), np.float32)
        parts = np.zeros((side, side), np.uint8)
        painted = background(scene, side)
        draw_triangles(screen, model.faces, 0, self.solid, True, depth, triangle, weights)
        for strands, label, width, bearded in ((hair, P.HAIR, self._hair_width(scene), False), (beard, P.BEARD, 0.55, True)):
            if len(strands):
                colour = shade_strands(strands, centre, shadow, look, bearded, scene.identity["hair_seed"] % 65536)
                flat = posed.project(strands.reshape(-1, 3), side).reshape(strands.shape)
                draw_strands(flat, colour, np.full(len(strands), width * side / 256), label, depth, triangle, parts, painted)
        shade_mesh(triangle, weights, posed.points, posed.normals, model.canon, model.lips, model.ears, model.occlusion, hairlines(model.canon, look),
                   model.faces, model.kind, posed.eyes, self._eye_canon(), shadow, look, np.zeros((1, 5)),
                   np.zeros(1, np.int64), scene.expression["mouth_open"], parts, painted)
        image = resolve(painted, self.samples)
        return Rendered(image, majority(parts, self.samples, len(P.PARTS)),
                        (posed.landmarks * self.resolution).astype(np.float32), flat_factors(scene, posed.similarity))

    def _eye_canon(self) -> np.ndarray:
        m = self.model
        return np.stack([(m.canon[v].min(axis=0) + m.canon[v].max(axis=0)) / 2 for v in G._eye_vertices(m)])

    def _hair_width(self, scene: Scene) -> float:
        from bench.annyfaces.hair import CUTS
        cut = CUTS.get(scene.identity["cut"])
        return cut.width if cut else 1.0

    def _strands(self, scene: Scene, posed: G.Posed, look: np.ndarray):
        hair, centre = hair_strands(self.model, scene, posed, look)
        return posed_strands(hair, posed), posed_strands(beard_strands(self.model, scene, posed, look), posed), centre @ posed.rotation.T


def posed_strands(strands: np.ndarray, posed: G.Posed) -> np.ndarray:
    """Rest space to camera space, rounded like the vertices."""
    return np.round((strands @ posed.rotation.T) / G.QUANTUM) * G.QUANTUM


@njit(**JIT)
def resolve(samples, factor):
    """(H, W, 3) linear samples -> (H / factor, W / factor, 3) uint8 sRGB: soft shoulder, box filter, encode.

    The shoulder is the identity up to 0.6 and then rolls off without ever reaching 1: no burnt-out skin.
    """
    h, w = samples.shape[0] // factor, samples.shape[1] // factor
    out = np.empty((h, w, 3), np.uint8)
    for i in range(h):
        for j in range(w):
            for c in range(3):
                total = 0.0
                for a in range(factor):
                    for b in range(factor):
                        x = max(np.float64(samples[i * factor + a, j * factor + b, c]), 0.0)
                        if x > 0.6:
                            t = (x - 0.6) / 0.4
                            x = 0.6 + 0.4 * t / (1.0 + t)
                        total += x
                x = total / (factor * factor)
                x = x * 12.92 if x <= 0.0031308 else 1.055 * x ** (1 / 2.4) - 0.055
                out[i, j, c] = np.uint8(np.floor(x * 255 + 0.5))
    return out


@njit(**JIT)
def majority(parts, factor, count):
    """(H / factor, W / factor) the most frequent part of each pixel's samples; the lower index wins a tie."""
    h, w = parts.shape[0] // factor, parts.shape[1] // factor
    out, votes = np.zeros((h, w), np.uint8), np.zeros(count, np.int64)
    for i in range(h):
        for j in range(w):
            votes[:] = 0
            for a in range(factor):
                for b in range(factor):
                    votes[parts[i * factor + a, j * factor + b]] += 1
            out[i, j] = np.argmax(votes)
    return out
