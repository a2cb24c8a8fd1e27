"""Scenes to pictures: geometry, hair, shadow map, z-buffer, shading, details, resolve. One scene at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annyfaces import details, headwear, load
from annyfaces import geometry as G
from annyfaces import labels as P
from annyfaces import look as K
from annyfaces import model as M
from annyfaces.backdrop import reflect
from annyfaces.background import background
from annyfaces.hairdo import beard_strands, hair_strands, hair_width
from annyfaces.light import shadow_map
from annyfaces.paint import hairlines
from annyfaces.raster import blend_glass, draw_strands, draw_triangles
from annyfaces.scene import Scene
from annyfaces.shade import EXTRA, shade_mesh
from annyfaces.strands import shade_strands
from annyfaces.truth import flat_factors
from annyfaces.tubes import draw_tubes
from bench.compiled import jit
from bench.errors import BenchError

RENDERER_VERSION = "1"
RESOLUTIONS = {64: 4, 128: 2, 256: 2}  # picture side -> samples per pixel side


@dataclass
class Rendered:
    """One picture and its ground truth.

    Attributes:
        image: (R, R, 3) uint8 sRGB.
        labels: (R, R) uint8, index into :data:`annyfaces.labels.PARTS`.
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
        self.model = load.load_model()
        m = self.model
        self.solid = int(np.argmax(m.kind >= M.LASH_UPPER))  # faces before the lashes
        self.lashes = {k: np.ascontiguousarray(m.faces[m.kind == k]) for k in (M.LASH_UPPER, M.LASH_LOWER)}
        self.eye_canon = np.stack([(m.canon[v].min(axis=0) + m.canon[v].max(axis=0)) / 2 for v in G.eye_vertices(m)])

    def compile_shading(self) -> None:
        """Shade no sample at all, which compiles what takes half of the compiler's time, or loads it.

        In a fresh environment one of two processes begins with it while the other compiles what comes before.
        """
        m, nothing, look = self.model, Buffers(1, np.zeros((1, 1, 3), np.float32)), np.zeros(K.COUNT)
        points, row, shadow = np.zeros((1, 3)), np.zeros(1), np.zeros((1, 1, 1))
        mesh = points, points, points, row, row, row, row, m.faces, m.kind, self.eye_canon, self.eye_canon
        things, parts = np.zeros((1, 5)), np.full(1, P.HAT)
        shade_mesh(
            nothing.triangle, nothing.weights, *mesh, shadow, look, things, parts, nothing.parts, nothing.painted
        )

    def render(self, scenes: list[Scene]) -> list[Rendered]:
        """One :class:`Rendered` per scene; each depends on its own scene alone."""
        return [self.render_one(scene) for scene in scenes]

    def render_one(self, scene: Scene) -> Rendered:
        """Geometry, then the buffers from back to front of the pipeline; nothing is shared between scenes."""
        look, posed = K.pack(scene), G.pose(self.model, scene)
        hair, grid, centre = hair_strands(self.model, scene, posed, look)
        beard = beard_strands(self.model, scene, posed, look)
        extras = details.build(self.model, scene, posed)
        mesh = self._mesh(scene, posed, look, headwear.build(scene, posed, grid, centre))
        buffers = Buffers(self.side, background(scene, self.side))
        hair, beard, centre = to_camera(hair, posed), to_camera(beard, posed), centre @ posed.rotation.T
        shadow = shadow_map(mesh.points, mesh.faces, mesh.casters, hair, extras.blobs(), look)
        screen = posed.project(mesh.points, self.side)
        for first, last in mesh.casters:
            draw_triangles(
                screen, mesh.faces, first, last, bool(first == 0), buffers.depth, buffers.triangle, buffers.weights
            )
        seed, width = scene.identity["hair_seed"] % 65536, hair_width(scene)
        self._strands(posed, hair, P.HAIR, width, False, centre, shadow, look, seed, buffers)
        self._strands(posed, beard, P.BEARD, 0.9, True, centre, shadow, look, seed, buffers)
        self._strands(posed, extras.stray, P.HAIR, 1.0, False, centre, shadow, look, seed, buffers)
        draw_tubes(
            extras.all_tubes(),
            posed.similarity,
            G.DISTANCE,
            float(self.side),
            shadow,
            look,
            buffers.depth,
            buffers.triangle,
            buffers.parts,
            buffers.painted,
        )
        shade_mesh(
            buffers.triangle,
            buffers.weights,
            mesh.points,
            mesh.normals,
            mesh.canon,
            mesh.lips,
            mesh.ears,
            mesh.occlusion,
            mesh.above,
            mesh.faces,
            mesh.kind,
            posed.eyes,
            self.eye_canon,
            shadow,
            look,
            mesh.things,
            np.full(len(mesh.things), P.HAT),
            buffers.parts,
            buffers.painted,
        )
        self._overlays(scene, posed, screen, extras, look, buffers)
        return Rendered(
            resolve(buffers.painted, self.samples),
            majority(buffers.parts, self.samples, len(P.PARTS)),
            (posed.landmarks * self.resolution).astype(np.float32),
            flat_factors(scene, posed.similarity),
        )

    def _mesh(self, scene: Scene, posed: G.Posed, look: np.ndarray, hat) -> Mesh:
        m = self.model
        mesh = Mesh(
            posed.points,
            posed.normals,
            m.canon,
            m.lips,
            m.ears,
            m.occlusion,
            hairlines(m.canon, look),
            m.faces,
            m.kind,
            np.array([[0, self.solid]]),
            np.zeros((1, 5)),
        )
        return mesh if hat is None else mesh.join(hat)

    def _strands(self, posed, strands, label, width, bearded, centre, shadow, look, seed, buffers) -> None:
        if len(strands):
            colour = shade_strands(strands, centre, shadow, look, bearded, seed)
            flat = posed.project(strands.reshape(-1, 3), self.side).reshape(strands.shape)
            draw_strands(
                flat,
                colour,
                np.full(len(strands), width * self.side / 256),
                label,
                buffers.depth,
                buffers.triangle,
                buffers.parts,
                buffers.painted,
            )

    def _overlays(self, scene, posed, screen, extras, look, buffers) -> None:
        """Eyelashes, lenses, reflections: see-through things, over the finished picture."""
        lash, mascara = np.full(3, 0.012), look[K.INDEX["lashes"]]
        for kind, alpha in ((M.LASH_UPPER, 0.45 + 0.5 * mascara), (M.LASH_LOWER, 0.30 * mascara)):
            blend_glass(screen, self.lashes[kind], lash, alpha, buffers.depth, buffers.parts, 255, buffers.painted)
        for points, faces, colour, alpha, part in extras.glass:
            flat, rgb = posed.project(points, self.side), np.asarray(colour, np.float64)
            blend_glass(flat, faces.astype(np.int32), rgb, alpha, buffers.depth, buffers.parts, part, buffers.painted)
        mirrored = K.detail(scene, "reflection")
        if mirrored:
            reflect(buffers.painted, *mirrored["u"][:4])


@dataclass
class Mesh:
    """Triangles to rasterise, head first; arrays as in :func:`shade.shade_mesh`. ``casters`` are face ranges."""

    points: np.ndarray
    normals: np.ndarray
    canon: np.ndarray
    lips: np.ndarray
    ears: np.ndarray
    occlusion: np.ndarray
    above: np.ndarray
    faces: np.ndarray
    kind: np.ndarray
    casters: np.ndarray
    things: np.ndarray

    def join(self, hat) -> Mesh:
        """This mesh with headwear behind its faces."""
        points, normals, own, faces, row, things = hat
        n, none = len(self.points), np.zeros(len(points))
        return Mesh(
            np.concatenate([self.points, points]),
            np.concatenate([self.normals, normals]),
            np.concatenate([self.canon, own]),
            np.concatenate([self.lips, none]),
            np.concatenate([self.ears, none]),
            np.concatenate([self.occlusion, none + 0.9]),
            np.concatenate([self.above, none]),
            np.concatenate([self.faces, faces + n]).astype(np.int32),
            np.concatenate([self.kind, (row + EXTRA).astype(np.uint8)]),
            np.concatenate([self.casters, [[len(self.faces), len(self.faces) + len(faces)]]]),
            things,
        )


class Buffers:
    """Per-sample records of one picture."""

    def __init__(self, side: int, painted: np.ndarray):
        self.depth = np.zeros((side, side))
        self.triangle = np.full((side, side), -1, np.int32)
        self.weights = np.zeros((side, side, 2), np.float32)
        self.parts = np.zeros((side, side), np.uint8)
        self.painted = painted


def to_camera(strands: np.ndarray, posed: G.Posed) -> np.ndarray:
    """Rest space to camera space, rounded like the vertices."""
    return np.round((strands @ posed.rotation.T) / G.QUANTUM) * G.QUANTUM


@jit
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


@jit
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
