"""From a scene's factors to vertices, normals, camera and screen: everything before the first sample is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annyfaces import model as M
from annyfaces.extract import dense_keys
from annyfaces.landmarks import landmark_vertices
from annyfaces.scene import Scene
from bench.compiled import jit

DISTANCE = 1.35  # metres from the camera to the point midway between the eyes: a portrait lens
QUANTUM = 1e-7  # vertices are rounded to this, so that last-bit differences between machines vanish
# local changes that follow gender, beyond the phenotype's own: full amount at 1, its opposite at 0
DIMORPHISM = {
    "chin-bones-incr": -0.35,
    "chin-width-incr": -0.25,
    "eye-scale-incr": 0.16,
    "nose-scale-horiz-incr": -0.22,
    "nose-scale-vert-incr": -0.18,
    "mouth-upperlip-volume-incr": 0.28,
    "mouth-lowerlip-volume-incr": 0.28,
    "neck-scale-horiz-incr": -0.30,
    "cheek-bones-incr": 0.20,
    "eyebrows-trans-up": 0.18,
    "eyebrows-trans-forward": -0.25,
}


@dataclass
class Posed:
    """One scene's head in camera space and on the screen.

    Attributes:
        rest: (V, 3) the person's own head before turning, metres, origin midway between the eye balls.
        points: (V, 3) in camera space: x right, y up, z towards the camera, origin midway between the eyes.
        normals: (V, 3) unit, camera space.
        rotation: (3, 3) rest to camera space.
        origin: (3,) rest-space origin that was subtracted.
        similarity: (2, 3) maps (x / distance, -y / distance) to picture coordinates in units of the picture's side.
        eyes: (2, 3) centres of the left and the right eye ball, camera space.
        landmarks: (68, 2) in units of the picture's side.
        anchor: (V, 3) camera space, with the expression the camera follows: hands and objects are placed by it, so
            that an edited expression moves neither.
    """

    rest: np.ndarray
    points: np.ndarray
    normals: np.ndarray
    rotation: np.ndarray
    similarity: np.ndarray
    eyes: np.ndarray
    landmarks: np.ndarray
    anchor: np.ndarray

    def project(self, points: np.ndarray, side: float) -> np.ndarray:
        """Camera-space (n, 3) -> (n, 3) screen x, y in units of picture side / ``side``, and 1/distance."""
        return project(np.ascontiguousarray(points, np.float64), self.similarity, float(side))

    def place(self, points: np.ndarray) -> np.ndarray:
        """Rest-space (n, 3) -> camera space."""
        return points @ self.rotation.T


@jit
def blend(template, dense, rows, dense_weight, start, vertex, delta, picks, sparse_weight):
    """Template plus weighted shapes, added in a fixed order: the same bits in any batch and on any machine."""
    out = template.copy()
    count = out.shape[0]
    for k in range(rows.shape[0]):
        shape, w = dense[rows[k]], dense_weight[k]
        for v in range(count):
            out[v, 0] += w * shape[v, 0]
            out[v, 1] += w * shape[v, 1]
            out[v, 2] += w * shape[v, 2]
    for k in range(picks.shape[0]):
        w = sparse_weight[k]
        for i in range(start[picks[k]], start[picks[k] + 1]):
            v = vertex[i]
            out[v, 0] += w * delta[i, 0]
            out[v, 1] += w * delta[i, 1]
            out[v, 2] += w * delta[i, 2]
    return out


@jit
def vertex_normals(points, faces):
    """(V, 3) area-weighted unit normals."""
    normals = np.zeros_like(points)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for v in range(points.shape[0]):
        n = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        if n > 1e-15:
            normals[v] /= n
    return normals


@jit
def project(points, similarity, side):
    """Project points (n, 3) by the camera: (n, 3) of x and y in pixels of an image of ``side``, and 1 / depth."""
    out = np.empty_like(points)
    for i in range(points.shape[0]):
        inverse = 1.0 / (DISTANCE - points[i, 2])
        x, y = points[i, 0] * inverse, -points[i, 1] * inverse
        out[i, 0] = (similarity[0, 0] * x + similarity[0, 1] * y + similarity[0, 2]) * side
        out[i, 1] = (similarity[1, 0] * x + similarity[1, 1] * y + similarity[1, 2]) * side
        out[i, 2] = inverse
    return out


def phenotype_weights(identity: dict, age_years: float) -> tuple[np.ndarray, np.ndarray]:
    """Non-zero rows of ``dense`` and their weights: anny's multilinear interpolation between its anchors."""
    old = min(max((age_years - 25.0) / 65.0, 0.0), 1.0)
    gender = {"male": 1 - identity["gender"], "female": identity["gender"]}
    age = {"young": 1 - old, "old": old}

    def level(value: float) -> dict[str, float]:
        low, high = max(0.0, 1 - 2 * value), max(0.0, 2 * value - 1)
        return {"min": low, "average": 1 - low - high, "max": high}

    muscle, weight = level(identity["muscle"]), level(identity["weight"])
    race = {name: identity[name] for name in M.RACES}
    rows, weights = [], []
    for i, key in enumerate(dense_keys()):
        if len(key) == 4:
            value = gender[key[0]] * age[key[1]] * muscle[key[2]] * weight[key[3]]
        else:
            value = race[key[0]] * gender[key[1]] * age[key[2]]
        if value > 0:
            rows.append(i)
            weights.append(value)
    return np.asarray(rows, np.int64), np.asarray(weights, np.float64)


def actions(e: dict) -> dict[str, float]:
    """Facial actions of an expression (smile, teeth, mouth_open, eyes_closed, brow_raise, frown, gaze)."""
    smile, teeth, jaw = e["smile"], e["teeth"] * e["smile"], e["mouth_open"]
    closed, squint = e["eyes_closed"], 0.25 * e["smile"] * (1 - e["eyes_closed"])
    out = {"jawOpen": 0.62 * jaw + 0.05 * teeth, "mouthFunnel": 0.12 * jaw, "browInnerUp": 0.75 * e["brow_raise"]}
    for side in ("Left", "Right"):
        inward = e["gaze_x"] * (-1 if side == "Left" else 1)  # gaze_x > 0 looks to the person's left
        out |= {
            f"mouthSmile{side}": 0.85 * smile,
            f"mouthDimple{side}": 0.15 * smile,
            f"cheekSquint{side}": 0.5 * smile,
            f"mouthUpperUp{side}": 0.35 * teeth,
            f"mouthLowerDown{side}": 0.4 * teeth + 0.15 * jaw,
            f"mouthStretch{side}": 0.15 * teeth,
            f"eyeSquint{side}": squint,
            f"eyeBlink{side}": closed,
            f"browDown{side}": 0.8 * e["frown"],
            f"browOuterUp{side}": 0.7 * e["brow_raise"],
            f"mouthFrown{side}": 0.5 * e["frown"],
            f"noseSneer{side}": 0.15 * e["frown"],
            f"eyeWide{side}": (0.38 + 0.35 * e["brow_raise"]) * (1 - closed),
            f"eyeLookIn{side}": max(inward, 0.0),
            f"eyeLookOut{side}": max(-inward, 0.0),
            f"eyeLookUp{side}": max(e["gaze_y"], 0.0),
            f"eyeLookDown{side}": max(-e["gaze_y"], 0.0),
        }
    return {name: value for name, value in out.items() if value != 0.0}


def rest_vertices(model: M.HeadModel, identity: dict, age_years: float, expression: dict) -> np.ndarray:
    """(V, 3) the person's head with its expression, not yet turned, origin midway between the eye balls."""
    rows, weights = phenotype_weights(identity, age_years)
    shapes = actions(expression)
    local = dict(identity["local"])
    for name, slope in DIMORPHISM.items():
        local[name] = local.get(name, 0.0) + slope * (2 * identity["gender"] - 1)
    for name, value in local.items():
        if value != 0.0:
            shapes[name + ("+" if value > 0 else "-")] = abs(value)
    picks = np.asarray([model.index[n] for n in shapes], np.int64)
    out = blend(
        model.template,
        model.dense,
        rows,
        weights,
        model.sparse_start,
        model.sparse_vertex,
        model.sparse_delta,
        picks,
        np.asarray(list(shapes.values()), np.float64),
    )
    left, right = eye_vertices(model)
    origin = (_centre(out[left]) + _centre(out[right])) / 2
    return np.round((out - origin) / QUANTUM) * QUANTUM


def eye_vertices(model: M.HeadModel) -> tuple[np.ndarray, np.ndarray]:
    """Return the vertex numbers of the left and of the right eyeball, remembered for each head model."""
    key = id(model)
    if key not in _EYES:
        _EYES[key] = tuple(np.unique(model.faces[model.kind == k]) for k in (M.EYE_LEFT, M.EYE_RIGHT))
    return _EYES[key]


_EYES: dict[int, tuple] = {}


def _centre(points: np.ndarray) -> np.ndarray:
    return (points.min(axis=0) + points.max(axis=0)) / 2


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Turn about y (yaw > 0: the nose moves to the picture's right), then x (pitch > 0: up), then z."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.round(about_z @ about_x @ about_y, 12)


def ffhq_similarity(points: np.ndarray) -> np.ndarray:
    """FFHQ's crop from the 68 landmarks in the image plane.

    The square has the half side vector x = eye vector - rot90(eye-to-mouth vector), normalised to the length
    max(2.0 * eye distance, 1.8 * eye-to-mouth), and its centre at the eyes + 0.1 * eye-to-mouth.

    Args:
        points: (68, 2) x right, y down.
    Returns:
        (2, 3) affine map to the unit square (0..1, y down).
    """
    left, right = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    eyes, mouth = (left + right) / 2, (points[48] + points[54]) / 2
    across, down = right - left, mouth - eyes
    x = across - np.array([-down[1], down[0]])
    x *= max(np.hypot(*across) * 2.0, np.hypot(*down) * 1.8) / np.hypot(*x)
    y = np.array([-x[1], x[0]])
    corner = eyes + 0.1 * down - x - y
    inverse = np.linalg.inv(np.stack([2 * x, 2 * y], axis=1))
    return np.concatenate([inverse, -(inverse @ corner)[:, None]], axis=1)


def _turned_flat(points: np.ndarray) -> np.ndarray:
    flat = points / (DISTANCE - points[:, 2:3])
    return np.stack([flat[:, 0], -flat[:, 1]], axis=1)


def pose(model: M.HeadModel, scene: Scene) -> Posed:
    """Vertices, normals and camera of a scene. The camera follows ``scene.camera_expression`` where an edit set it."""
    rest = rest_vertices(model, scene.identity, scene.age_years, scene.expression)
    turn = rotation(scene.pose["yaw"], scene.pose["pitch"], scene.pose["roll"])
    points = np.round(rest @ turn.T / QUANTUM) * QUANTUM
    marks = landmark_vertices(model)
    camera = points
    if scene.camera_expression is not None:
        other = rest_vertices(model, scene.identity, scene.age_years, scene.camera_expression)
        camera = np.round(other @ turn.T / QUANTUM) * QUANTUM
    similarity = ffhq_similarity(_turned_flat(camera[marks]))
    eyes = np.stack([_centre(rest[v]) @ turn.T for v in eye_vertices(model)])
    marked = project(points[marks], similarity, 1.0)[:, :2]
    return Posed(rest, points, vertex_normals(points, model.faces), turn, similarity, eyes, marked, camera)
