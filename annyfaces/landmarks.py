"""The 68 landmarks (iBUG order) as fixed vertices of the head, chosen once by geometry on the average head."""

from __future__ import annotations

import numpy as np

from annyfaces import model as M
from annyfaces.raster import draw_triangles

_CACHE: dict[int, np.ndarray] = {}
GROUPS = {
    "jaw": range(0, 17),
    "brow_right": range(17, 22),
    "brow_left": range(22, 27),
    "bridge": range(27, 31),
    "nostrils": range(31, 36),
    "eye_right": range(36, 42),
    "eye_left": range(42, 48),
    "lips_outer": range(48, 60),
    "lips_inner": range(60, 68),
}


def landmark_vertices(model: M.HeadModel) -> np.ndarray:
    """(68,) vertex numbers. "Right" is the person's right: the picture's left, x < 0, iBUG's first side."""
    if id(model) not in _CACHE:
        _CACHE[id(model)] = _choose(model)
    return _CACHE[id(model)]


def _choose(model: M.HeadModel) -> np.ndarray:
    p = model.canon
    skin = np.unique(model.faces[model.kind == M.SKIN])
    front = skin[p[skin, 2] > -0.02]
    lids = _visible_rim(model, p, (M.EYE_LEFT, M.EYE_RIGHT))
    opened = p.copy()  # the lips part only when the jaw drops
    shape = slice(*model.sparse_start[[model.index["jawOpen"], model.index["jawOpen"] + 1]])
    np.add.at(opened, model.sparse_vertex[shape], 0.5 * model.sparse_delta[shape])
    mouth = _visible_rim(model, opened, (M.CAVITY, M.TEETH, M.TONGUE))
    mouth = mouth[p[mouth, 1] < -0.035]

    def nearest(x: float, y: float, among: np.ndarray = front) -> int:
        return int(among[np.argmin((p[among, 0] - x) ** 2 + (p[among, 1] - y) ** 2)])

    marks = _jaw(p, skin)
    arch = [(0.049, 0.017), (0.041, 0.022), (0.032, 0.023), (0.022, 0.0215), (0.012, 0.018)]
    marks += [nearest(-x, y) for x, y in arch] + [nearest(x, y) for x, y in arch[::-1]]
    middle = front[np.abs(p[front, 0]) < 0.0015]
    tip = int(middle[np.argmax(p[middle, 2])])
    marks += [nearest(0.0, y, middle) for y in np.linspace(0.0, p[tip, 1], 4)]
    base = p[tip, 1] - 0.011
    marks += [
        nearest(x, base + lift)
        for x, lift in ((-0.0125, 0.002), (-0.006, 0.0), (0.0, -0.001), (0.006, 0.0), (0.0125, 0.002))
    ]
    marks += _eye(p, lids[p[lids, 0] < 0])
    marks += _eye(p, lids[p[lids, 0] > 0])
    lips = skin[model.lips[skin] > 0.5]
    marks += _ring(p, lips, np.arange(12) * -30.0 + 180.0)
    marks += _ring(opened, mouth, np.arange(8) * -45.0 + 180.0)
    return np.asarray(marks, np.int64)


def _jaw(p: np.ndarray, skin: np.ndarray) -> list[int]:
    """Seventeen points of the face's outline: outermost skin vertices along rays from below the eyes."""
    centre = np.array([0.0, -0.02])
    face = skin[(p[skin, 2] > -0.075) & (p[skin, 1] > -0.125) & (np.abs(p[skin, 0]) < 0.071)]
    face = face[p[face, 2] > -0.075 + 1.0 * np.maximum(0.0, -0.04 - p[face, 1])]  # not the neck
    out = []
    for k in range(17):
        angle = np.pi * (1.0 + k / 16.0)
        ray = np.array([np.cos(angle), np.sin(angle)])
        off = (p[face, :2] - centre) @ np.array([-ray[1], ray[0]])
        along = (p[face, :2] - centre) @ ray
        out.append(int(face[np.argmax(along - 3.0 * np.abs(off))]))
    return out


def _visible_rim(model: M.HeadModel, p: np.ndarray, kinds: tuple[int, ...]) -> np.ndarray:
    """Skin or cavity vertices that border, seen from the front, what shows of the given kinds."""
    size, scale, middle = 900, 900 / 0.2, np.array([0.0, -0.04])
    screen = np.stack(
        [(p[:, 0] - middle[0]) * scale + size / 2, (middle[1] - p[:, 1]) * scale + size / 2, p[:, 2] + 1.0], axis=1
    )
    triangle = np.full((size, size), -1, np.int32)
    solid = np.ascontiguousarray(model.faces[model.kind < M.LASH_UPPER])
    kind = model.kind[model.kind < M.LASH_UPPER]
    draw_triangles(
        screen, solid, 0, len(solid), True, np.zeros((size, size)), triangle, np.zeros((size, size, 2), np.float32)
    )
    visible = np.isin(np.where(triangle >= 0, kind[triangle], 255), kinds)
    inner = visible[1:-1, 1:-1] & visible[:-2, 1:-1] & visible[2:, 1:-1] & visible[1:-1, :-2] & visible[1:-1, 2:]
    edge = np.argwhere(visible[1:-1, 1:-1] & ~inner) + 1.5
    skin = np.unique(model.faces[model.kind == M.SKIN])
    ahead = skin[p[skin, 2] > -0.02]
    points = screen[ahead][:, 1::-1]
    near = {int(ahead[np.argmin(((points - e) ** 2).sum(axis=1))]) for e in edge}
    return np.asarray(sorted(near), np.int64)


def _eye(p: np.ndarray, rim: np.ndarray) -> list[int]:
    """Six points of one eye: from the picture's left corner over the upper lid, back under the lower lid."""
    low, high = p[rim, 0].min(), p[rim, 0].max()
    centre = p[rim].mean(axis=0)

    def at(x: float, upper: bool) -> int:
        half = rim[(p[rim, 1] > centre[1]) == upper]
        return int(half[np.argmin(np.abs(p[half, 0] - x))])

    third = (high - low) / 3
    return [
        int(rim[np.argmin(p[rim, 0])]),
        at(low + third, True),
        at(high - third, True),
        int(rim[np.argmax(p[rim, 0])]),
        at(high - third, False),
        at(low + third, False),
    ]


def _ring(p: np.ndarray, among: np.ndarray, degrees: np.ndarray) -> list[int]:
    """Outermost vertices along rays from the centre of a mouth ring, rays stretched to its width and height."""
    low, high = p[among, :2].min(axis=0), p[among, :2].max(axis=0)
    unit = (p[among, :2] - (low + high) / 2) / ((high - low) / 2)
    out = []
    for d in np.deg2rad(degrees):
        ray = np.array([np.cos(d), np.sin(d)])
        off = np.abs(unit @ np.array([-ray[1], ray[0]]))
        out.append(int(among[np.argmax(unit @ ray - 1.5 * off)]))
    return out
