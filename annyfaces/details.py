"""Image-specific details as geometry: spectacles, headwear, earrings, hands, objects, stray hair."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from annyfaces import colours as C
from annyfaces import factors as F
from annyfaces import labels as P
from annyfaces import model as M
from annyfaces.geometry import Posed
from annyfaces.scene import Scene


@dataclass
class Extras:
    """What the details of a scene add to the head.

    Attributes:
        tubes: list of (n, 14) rows for :func:`tubes.draw_tubes`.
        glass: list of (points (v, 3) camera space, faces (f, 3), linear colour, alpha, part index or 255 for none).
        stray: (n, k, 3) strands in camera space. blobs: (m, 4) shadow casters.
    """

    tubes: list = field(default_factory=list)
    glass: list = field(default_factory=list)
    stray: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 3)))

    def chain(self, points: np.ndarray, radius, colour, gloss: float, wet: float, part: int) -> None:
        """Add a chain of capsules through (n, 3) camera-space points; radius is a number or (n,)."""
        radii = np.broadcast_to(np.asarray(radius, np.float64), (len(points),))
        rows = np.zeros((len(points) - 1, 14))
        rows[:, :3], rows[:, 3], rows[:, 4:7], rows[:, 7] = points[:-1], radii[:-1], points[1:], radii[1:]
        rows[:, 8:11], rows[:, 11], rows[:, 12], rows[:, 13] = colour, gloss, wet, part
        self.tubes.append(rows)

    def all_tubes(self) -> np.ndarray:
        """Return all tubes: (n, 14), rounded to 9 decimals so that every CPU draws the same."""
        return np.round(np.concatenate(self.tubes), 9) if self.tubes else np.zeros((0, 14))

    def blobs(self) -> np.ndarray:
        """(m, 4) balls along the tubes, for the shadow map."""
        rows = self.all_tubes()
        steps = [rows[:, :4] * (1 - t) + rows[:, 4:8] * t for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
        return np.concatenate(steps) if len(rows) else np.zeros((0, 4))


_WORDS: dict[int, dict[str, int]] = {}


def anchors(model: M.HeadModel) -> dict[str, int]:
    """Vertices things hang on: ear lobes, tops of the ears, bridge of the nose, cheeks."""
    if id(model) not in _WORDS:
        p, skin = model.canon, np.unique(model.faces[model.kind == M.SKIN])
        ear = {s: skin[(model.ears[skin] > 0.6) & (p[skin, 0] * s > 0)] for s in (-1, 1)}
        front = skin[p[skin, 2] > -0.03]

        def nearest(x: float, y: float) -> int:
            return int(front[np.argmin((p[front, 0] - x) ** 2 + (p[front, 1] - y) ** 2)])

        _WORDS[id(model)] = {
            "lobe_right": int(ear[-1][np.argmin(p[ear[-1], 1])]),
            "lobe_left": int(ear[1][np.argmin(p[ear[1], 1])]),
            "top_right": int(ear[-1][np.argmax(p[ear[-1], 1])]),
            "top_left": int(ear[1][np.argmax(p[ear[1], 1])]),
            "bridge": nearest(0.0, 0.0),
            "nose": nearest(0.0, -0.035),
            "chin": nearest(0.0, -0.095),
            "mouth": nearest(0.0, -0.065),
            "cheek_right": nearest(-0.045, -0.045),
            "cheek_left": nearest(0.045, -0.045),
            "brow_right": nearest(-0.035, 0.03),
            "brow_left": nearest(0.035, 0.03),
        }
    return _WORDS[id(model)]


def build(model: M.HeadModel, scene: Scene, posed: Posed) -> Extras:
    """All geometric details of a scene except headwear (see :mod:`headwear`)."""
    out = Extras()
    makers = {"glasses": _glasses, "earrings": _earrings, "hand": _hand, "object": _object, "stray": _stray}
    for d in scene.details:
        if d["kind"] in makers:
            makers[d["kind"]](out, model, scene, posed, d)
    return out


def _glasses(out: Extras, model, scene, posed: Posed, d: dict) -> None:
    u, at = d["u"], anchors(model)
    sun = u[0] < 0.25
    rest_eyes = posed.eyes @ posed.rotation  # back to rest space: left, right
    front = max(float(posed.rest[at["bridge"], 2]) + 0.004, float(rest_eyes[:, 2].max()) + 0.026)
    wide, high = 0.0235 + 0.004 * u[1], 0.0165 + 0.007 * u[2]
    power = 2.0 + 2.5 * u[3]
    colour = C.hsv(u[4], 0.2 + 0.6 * u[5], 0.12 + 0.45 * u[6]) if u[7] > 0.45 else C.linear((0.08, 0.07, 0.07))
    radius = 0.0011 + 0.0014 * u[6]
    angle = np.linspace(0, 2 * np.pi, 25)
    c, s = np.cos(angle), np.sin(angle)
    oval = np.stack(
        [np.sign(c) * np.abs(c) ** (2 / power) * wide, np.sign(s) * np.abs(s) ** (2 / power) * high], axis=1
    )
    for side, eye, top in ((1, rest_eyes[0], at["top_left"]), (-1, rest_eyes[1], at["top_right"])):
        x = eye[0] * 1.03 + oval[:, 0]
        bow = front - 2.4 * (np.abs(x) - 0.01).clip(0) ** 2
        ring = np.stack([x, eye[1] - 0.004 + oval[:, 1], bow], axis=1)
        placed = posed.place(ring)
        out.chain(placed, radius, colour, 0.6, 0.5, P.GLASSES)
        hinge = ring[np.argmax(side * ring[:, 0])] + np.array([side * 0.001, 0.006, 0.0])
        ear = posed.rest[top] + np.array([side * 0.002, 0.0, 0.004])
        out.chain(
            posed.place(np.stack([hinge, hinge * 0.5 + ear * 0.5 + [side * 0.004, 0, 0], ear])),
            radius * 1.1,
            colour,
            0.5,
            0.3,
            P.GLASSES,
        )
        fan = np.stack([np.zeros(24, int), 1 + np.arange(24), 1 + (np.arange(24) + 1) % 24], axis=1)
        points = np.concatenate([ring[:-1].mean(axis=0, keepdims=True), ring[:-1]])
        tint, alpha = (C.hsv(u[4], 0.3, 0.10), 0.80 + 0.15 * u[5]) if sun else (np.array([0.75, 0.8, 0.85]), 0.06)
        out.glass.append((posed.place(points), fan, tint, alpha, P.GLASSES if sun else 255))
        if u[5] > 0.35:  # a window mirrored in the lens
            h, w = 0.006, 0.004
            middle = points[0] + np.array([0.006 * (u[2] - 0.2), 0.005, 0.001])
            slant = np.array([[-w, -h, 0], [w, -h, 0], [w + 0.004, h, 0], [-w + 0.004, h, 0]])
            pane = np.array([[0, 1, 2], [0, 2, 3]])
            out.glass.append((posed.place(middle + slant), pane, np.array([0.95, 0.98, 1.0]), 0.25 + 0.35 * u[6], 255))
    nose = np.stack(
        [
            [-(abs(rest_eyes[1][0]) * 1.03 - wide), rest_eyes[1][1] + 0.001, front],
            [0.0, rest_eyes[0][1] + 0.004, front + 0.002],
            [abs(rest_eyes[0][0]) * 1.03 - wide, rest_eyes[0][1] + 0.001, front],
        ]
    )
    out.chain(posed.place(nose), radius, colour, 0.6, 0.5, P.GLASSES)


def _earrings(out: Extras, model, scene, posed: Posed, d: dict) -> None:
    u, at = d["u"], anchors(model)
    colour = (C.linear((0.93, 0.76, 0.35)), C.linear((0.85, 0.86, 0.88)), C.hsv(u[1], 0.8, 0.75))[int(u[0] * 3) % 3]
    for side, key in ((1, "lobe_left"), (-1, "lobe_right")):
        lobe = posed.points[at[key]] + np.array([side * 0.001, 0.003, 0.004])
        if u[2] < 0.45:  # hoop
            r, a = 0.008 + 0.011 * u[3], np.linspace(0, 2 * np.pi, 17)
            ring = lobe + np.stack([0.35 * r * np.sin(a) * side, r * (np.cos(a) - 1), r * np.sin(a)], axis=1) @ _swing(
                side
            )
            out.chain(ring, 0.0011, colour, 0.8, 0.9, P.EARRING)
        elif u[2] < 0.75:  # drop
            low = lobe - np.array([0, 0.010 + 0.012 * u[3], 0])
            out.chain(np.stack([lobe, low]), 0.0008, colour, 0.8, 0.9, P.EARRING)
            out.chain(np.stack([low, low - [0, 0.003 * u[4], 0]]), 0.0035 + 0.002 * u[4], colour, 0.8, 0.9, P.EARRING)
        else:  # stud
            out.chain(np.stack([lobe, lobe]), 0.0036, colour, 0.8, 1.0, P.EARRING)


def _swing(side: int) -> np.ndarray:
    """Turn a hoop so that it is seen half from its side."""
    a = 0.9 * side
    return np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])


def _hand(out: Extras, model, scene, posed: Posed, d: dict) -> None:
    """Fingers and palm over cheek, chin, mouth or brow, in the person's own skin."""
    u, at = d["u"], anchors(model)
    spot = ("cheek_right", "cheek_left", "chin", "mouth", "brow_right", "brow_left")[int(u[0] * 6) % 6]
    target = posed.anchor[at[spot]] + np.array([0.012 * (u[1] - 0.5), 0.010 * (u[2] - 0.5), 0.012])
    side = -1.0 if "right" in spot or (not spot.endswith("left") and u[3] < 0.5) else 1.0
    angle = side * (0.15 + 0.75 * u[4])  # fingers point up and inwards, the arm comes from below
    up = np.array([-np.sin(angle), np.cos(angle), 0.0])
    across = np.array([up[1], -up[0], 0.0])
    skin = C.skin_colour(scene.identity["skin_tone"], scene.identity["undertone"]) * np.array([1.0, 0.93, 0.92])
    spread = 0.10 + 0.25 * u[5]
    base = target - up * 0.040
    for k in range(4):
        lean = (k - 1.5) * spread * 0.5
        ray = up * np.cos(lean) + across * np.sin(lean)
        root = base + across * (k - 1.5) * 0.0165
        size = (0.060, 0.070, 0.066, 0.052)[k]
        bend = np.array([0.0, 0.0, 0.006])
        joints = np.stack(
            [root, root + ray * 0.5 * size + bend, root + ray * 0.8 * size + bend * 0.6, root + ray * size - bend]
        )
        out.chain(joints, np.array([0.0088, 0.0082, 0.0076, 0.0066]), skin, 0.4, 0.0, P.OCCLUDER)
        nail = joints[-1] + np.array([0, 0, 0.0042])
        out.chain(
            np.stack([nail, nail - ray * 0.004]),
            0.0040,
            skin * np.array([1.05, 0.98, 0.98]) + 0.03,
            0.8,
            0.3,
            P.OCCLUDER,
        )
    for k in range(5):
        root = base + across * (k - 2) * 0.0135
        out.chain(np.stack([root, root - up * 0.075 + across * (2 - k) * 0.004]), 0.0125, skin, 0.4, 0.0, P.OCCLUDER)
    thumb = base - up * 0.03 - across * side * 0.03
    out.chain(
        np.stack([thumb, thumb - across * side * 0.018 + up * 0.028, thumb - across * side * 0.018 + up * 0.05]),
        np.array([0.0115, 0.0095, 0.0080]),
        skin,
        0.4,
        0.0,
        P.OCCLUDER,
    )
    wrist = base - up * 0.07
    out.chain(np.stack([wrist, wrist - up * 0.16]), np.array([0.030, 0.034]), skin, 0.4, 0.0, P.OCCLUDER)


def _object(out: Extras, model, scene, posed: Posed, d: dict) -> None:
    """Something held or flying before the face: microphone, ball, lollipop, phone, cup, pencil."""
    u, at = d["u"], anchors(model)
    kind = int(u[0] * 6) % 6
    spot = posed.anchor[at[("mouth", "chin", "cheek_left", "cheek_right", "nose")[int(u[1] * 5) % 5]]]
    at_face = spot + np.array([0.03 * (u[2] - 0.5), 0.02 * (u[3] - 0.7), 0.035])
    colour, side = C.hsv(u[4], 0.75, 0.35 + 0.6 * u[5]), 1.0 if u[6] > 0.5 else -1.0
    dark = C.linear((0.13, 0.13, 0.14))
    if kind == 0:
        head = at_face + np.array([0.0, -0.025, 0.0])
        out.chain(np.stack([head, head]), 0.019, C.linear((0.35, 0.36, 0.38)), 0.5, 0.4, P.OCCLUDER)
        out.chain(np.stack([head, head + np.array([side * 0.05, -0.16, 0.03])]), 0.011, dark, 0.5, 0.4, P.OCCLUDER)
    elif kind == 1:
        out.chain(np.stack([at_face, at_face]), 0.018 + 0.012 * u[7], colour, 0.6, 0.5, P.OCCLUDER)
    elif kind == 2:
        out.chain(
            np.stack([at_face, at_face + np.array([side * 0.06, -0.14, 0.0])]),
            0.0022,
            C.linear((0.95, 0.94, 0.9)),
            0.3,
            0.2,
            P.OCCLUDER,
        )
        out.chain(np.stack([at_face, at_face]), 0.017, colour, 0.8, 0.9, P.OCCLUDER)
        out.chain(
            np.stack([at_face + [0, 0, 0.012]] * 2), 0.009, np.minimum(colour * 0.4 + 0.5, 0.9), 0.8, 0.9, P.OCCLUDER
        )
    elif kind == 3:  # a telephone: a dark pane in a rounded frame
        middle, half = at_face + np.array([side * 0.035, -0.005, 0.0]), np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        corners = middle + np.concatenate([half * [0.031, 0.060], np.zeros((4, 1))], axis=1)
        out.chain(corners[[0, 1, 2, 3, 0]], 0.0045, colour, 0.6, 0.5, P.OCCLUDER)
        out.glass.append((corners + [0, 0, 0.004], np.array([[0, 1, 2], [0, 2, 3]]), dark, 1.0, P.OCCLUDER))
        out.glass.append(
            (
                middle + (corners - middle) * [0.5, 0.35, 1] + [0, 0.035, 0.0045],
                np.array([[0, 1, 2]]),
                dark * 3,
                1.0,
                P.OCCLUDER,
            )
        )
    elif kind == 4:
        for k in range(6):
            y = at_face - np.array([0.0, 0.018 + 0.012 * k, 0.0])
            out.chain(
                np.stack([y - [0.020, 0, 0], y + [0.020, 0, 0]]),
                0.010,
                colour if k % 3 else np.minimum(colour + 0.3, 0.9),
                0.5,
                0.4,
                P.OCCLUDER,
            )
    else:
        tilt = np.array([side * np.cos(2.2 * u[7]), np.sin(2.2 * u[7]), 0.0]) * 0.11
        out.chain(np.stack([at_face - tilt, at_face + tilt * 0.75]), 0.0042, colour, 0.5, 0.4, P.OCCLUDER)
        out.chain(
            np.stack([at_face + tilt * 0.75, at_face + tilt * 0.9]),
            np.array([0.0042, 0.0008]),
            C.linear((0.85, 0.7, 0.5)),
            0.2,
            0.0,
            P.OCCLUDER,
        )


def _stray(out: Extras, model, scene, posed: Posed, d: dict) -> None:
    """Loose hairs and locks that fall over the face."""
    if scene.identity["cut"] in ("bald", "buzz"):
        return
    r = F.generator(d["seed"])
    at = anchors(model)
    strands = []
    for _ in range(1 + int(r.integers(4))):  # locks
        x = F.between(r, -0.045, 0.045)
        lean, reach = F.normal(r, 0.35), F.between(r, 0.04, 0.10)
        for _ in range(int(r.integers(2, 14))):
            start = np.array([x + F.normal(r, 0.004), 0.070 + F.normal(r, 0.003), 0.028])
            k = np.arange(8) / 7.0
            sway = 0.006 * np.sin(6 * k + F.between(r, 0, 6))
            y = start[1] - reach * k
            z = 0.030 + 0.022 * np.sin(np.pi * np.clip(0.5 + (0.07 - y) / 0.25, 0, 1)) + 0.006 * (y < -0.02)
            strands.append(
                np.stack([start[0] + lean * 0.10 * k + sway, y, z + posed.rest[at["bridge"], 2] - 0.035], axis=1)
            )
    out.stray = posed.place(np.asarray(strands).reshape(-1, 3)).reshape(len(strands), 8, 3)
