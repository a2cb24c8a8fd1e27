"""How factors are drawn: identity, age, expression, make-up, pose, light, background, clothing, details."""

from __future__ import annotations

import math

import numpy as np

from annyfaces.changes import AMPLITUDES

CUTS = ("bald", "buzz", "short", "side", "back", "fringe", "curly", "afro", "bob", "long", "wavy", "updo")
DETAILS = (
    "backdrop",
    "glasses",
    "hat",
    "headband",
    "earrings",
    "hand",
    "object",
    "paint",
    "tattoo",
    "freckles",
    "shadow",
    "stray",
    "reflection",
)
NECKLINES = ("crew", "v", "turtle", "scoop", "shirt")


def generator(seed: int) -> np.random.Generator:
    """PCG64: its stream is fixed by numpy's compatibility policy for integers and uniforms."""
    return np.random.Generator(np.random.PCG64(seed))


def normal(r: np.random.Generator, sd: float = 1.0, limit: float = 2.5) -> float:
    """A bounded normal number from uniforms (Box-Muller), so that it never depends on numpy's ziggurat."""
    u, v = 1.0 - r.random(), r.random()
    return float(sd * min(max(math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v), -limit), limit))


def between(r: np.random.Generator, low: float, high: float) -> float:
    """Draw a number uniformly from [low, high)."""
    return float(low + (high - low) * r.random())


def pick(r: np.random.Generator, items, weights=None):
    """One of ``items``, by ``weights`` (need not sum to one)."""
    w = np.ones(len(items)) if weights is None else np.asarray(weights, np.float64)
    place = int(np.searchsorted(np.cumsum(w / w.sum()), r.random(), side="right"))
    return items[min(place, len(items) - 1)]


def sample_identity(r: np.random.Generator, name: str) -> dict:
    """An identity: shape, skin, eyes, brows, hair, beard. Gender, tone and age are drawn evenly."""
    u = r.random()
    gender = between(r, 0, 0.2) if u < 0.45 else between(r, 0.8, 1.0) if u < 0.9 else between(r, 0.2, 0.8)
    tone = r.random()
    race = np.array([0.08 + 1.1 * tone**1.5, 0.25 + 1.5 * tone * (1 - tone), 0.12 + 0.9 * (1 - tone) ** 1.5])
    race = race * np.array([-math.log(1 - r.random()) for _ in range(3)]) ** 1.3
    race = race / race.sum()
    local = {k: round(normal(r, a, 2.0), 5) for k, a in AMPLITUDES.items()}
    base_age = between(r, 18, 80)
    out = {
        "id": name,
        "gender": gender,
        "african": float(race[0]),
        "asian": float(race[1]),
        "caucasian": float(race[2]),
        "muscle": 0.5 + normal(r, 0.15),
        "weight": 0.5 + normal(r, 0.16),
        "local": local,
        "skin_tone": float(tone),
        "undertone": normal(r, 0.5),
        "ruddy": between(r, 0.3, 1.0),
        "base_age": base_age,
    }
    out |= _eyes_and_brows(r, tone)
    out |= _hair(r, tone, gender, base_age)
    return out


def _eyes_and_brows(r, tone: float) -> dict:
    names = ("dark", "brown", "hazel", "green", "blue", "grey")
    light = max(0.0, 1 - 1.7 * tone)
    colour = pick(r, names, (0.35 + tone, 0.8, 0.5 * light + 0.05, 0.45 * light, 0.9 * light, 0.35 * light))
    return {
        "eye_colour": colour,
        "eye_shade": between(r, 0.75, 1.25),
        "brow_thick": between(r, 0.75, 1.25),
        "brow_arch": normal(r, 0.5),
        "brow_angle": normal(r, 0.5),
        "brow_density": between(r, 0.55, 1.0),
        "brow_length": between(r, 0.85, 1.1),
    }


def _hair(r, tone: float, gender: float, age: float) -> dict:
    male = gender < 0.5
    bald = 0.14 * (age > 30) + 0.16 * (age > 55)
    if male:
        weights = (0.05 + bald, 0.16, 0.2, 0.2, 0.14, 0.1, 0.09, 0.02 + 0.1 * tone, 0.02, 0.03, 0.02, 0.0)
    else:
        weights = (0.012, 0.02, 0.07, 0.06, 0.06, 0.08, 0.11, 0.03 + 0.09 * tone, 0.17, 0.22, 0.2, 0.11)
    cut = pick(r, CUTS, weights)
    receding = between(r, 0, 1) * min(1.0, max(0.0, (age - 25) / 40)) if male else 0.0
    darkness = min(1.0, max(0.0, 0.52 + 0.42 * tone + normal(r, 0.32 * (1.1 - tone))))
    redness = between(r, 0.3, 0.9) if r.random() < 0.11 * (1 - tone) else between(r, 0, 0.12)
    beard = 0.0
    if male and r.random() < 0.5:
        beard = between(r, 0.1, 1.0)
    return {
        "cut": cut,
        "hair_length": between(r, 0.0, 1.0),
        "hair_volume": between(r, 0.2, 1.0),
        "parting": float(pick(r, (-1.0, 1.0))) * between(r, 0.3, 1.0),
        "hair_wave": between(r, 0, 1.0),
        "hairline": normal(r, 0.5),
        "receding": receding,
        "hair_darkness": darkness,
        "hair_redness": redness,
        "grey_start": between(r, 42, 78) + (40.0 if r.random() < 0.12 + 0.4 * gender else 0.0),
        "dye": r.random() if r.random() < 0.035 else -1.0,
        "hair_gloss": between(r, 0.3, 1.0),
        "hair_seed": int(r.integers(1 << 30)),
        "beard": beard,
        "beard_style": pick(r, ("full", "goatee", "moustache", "stubble"), (0.45, 0.2, 0.12, 0.23)),
    }


def sample_age(r: np.random.Generator, identity: dict) -> float:
    """Years: the identity's own (even over 18..80), a few years to and fro between its pictures."""
    return float(min(max(identity["base_age"] + normal(r, 3.0), 18.0), 80.0))


def sample_expression(r: np.random.Generator) -> dict:
    """Draw strengths of expression factors (smile, teeth, ...), most of them in [0, 1]."""
    smile = between(r, 0.2, 1.0) if r.random() < 0.55 else between(r, 0.0, 0.15)
    opened = between(r, 0.1, 0.9) if r.random() < 0.22 else between(r, 0.0, 0.08)
    closed = between(r, 0.85, 1.0) if r.random() < 0.05 else between(r, 0.0, 0.08)
    return {
        "smile": smile,
        "teeth": between(r, 0.3, 1.0) if r.random() < 0.6 else between(r, 0.0, 0.2),
        "mouth_open": opened,
        "eyes_closed": closed,
        "brow_raise": between(r, 0.2, 1.0) if r.random() < 0.2 else between(r, 0, 0.1),
        "frown": between(r, 0.2, 1.0) * (1 - smile) if r.random() < 0.2 else 0.0,
        "gaze_x": normal(r, 0.2),
        "gaze_y": normal(r, 0.12),
    }


def sample_makeup(r: np.random.Generator, identity: dict) -> dict:
    """Lip colour, eye shadow, mascara, blush: mostly on feminine faces, sometimes not."""
    worn = r.random() < (0.65 if identity["gender"] > 0.5 else 0.04)
    return {
        "lip_strength": between(r, 0.15, 1.0) if worn else 0.0,
        "lip_hue": pick(r, (0.965, 0.985, 0.0, 0.015, 0.94)),
        "lip_value": between(r, 0.38, 0.78),
        "natural_lip": between(r, 0.6, 1.3),
        "shadow": between(r, 0.1, 0.7) if worn and r.random() < 0.6 else 0.0,
        "shadow_hue": r.random(),
        "lashes": between(r, 0.7, 1.0) if worn else between(r, 0.25, 0.6) + 0.2 * (identity["gender"] > 0.5),
        "blush": between(r, 0.2, 0.9) if worn and r.random() < 0.6 else 0.0,
    }


def sample_pose(r: np.random.Generator) -> dict:
    """Draw yaw, pitch and roll in radians, normally distributed about a frontal face."""
    return {"yaw": normal(r, 0.2), "pitch": normal(r, 0.06), "roll": normal(r, 0.06)}


def sample_light(r: np.random.Generator) -> dict:
    """Key light from the front half, warm to cool; hemisphere ambient; sometimes a rim light from behind."""
    return {
        "azimuth": normal(r, 0.65, 2.0),
        "elevation": between(r, 0.15, 1.0),
        "strength": between(r, 0.75, 1.15),
        "warmth": normal(r, 0.5),
        "ambient": between(r, 0.42, 0.80),
        "ambient_warmth": normal(r, 0.4),
        "fill": between(r, 0.1, 0.45),
        "rim": between(r, 0.3, 1.0) if r.random() < 0.4 else 0.0,
        "rim_side": float(pick(r, (-1.0, 1.0))),
        "softness": between(r, 0.0, 1.0),
        "exposure": between(r, 0.92, 1.12),
    }


def sample_background(r: np.random.Generator) -> dict:
    """Two smooth colours, a direction, a vignette: carried by every picture, with or without a backdrop."""
    hue, muted = r.random(), r.random() < 0.6
    saturation = between(r, 0.03, 0.25) if muted else between(r, 0.25, 0.7)
    return {
        "hue_a": hue,
        "hue_b": (hue + normal(r, 0.1)) % 1.0,
        "saturation": saturation,
        "value_a": between(r, 0.15, 0.95),
        "value_b": between(r, 0.15, 0.95),
        "angle": between(r, 0, 2 * math.pi),
        "bend": between(r, 0.4, 1.2),
        "vignette": between(r, 0.0, 0.5),
    }


def sample_cloth(r: np.random.Generator) -> dict:
    """Draw the garment: neckline, height in [-1, 1], and colour (HSV in [0, 1])."""
    return {
        "neckline": pick(r, NECKLINES),
        "height": between(r, -1, 1),
        "hue": r.random(),
        "saturation": between(r, 0.0, 0.7),
        "value": between(r, 0.08, 0.85),
    }


def sample_details(r: np.random.Generator, identity: dict, count: int) -> list[dict]:
    """``count`` different image-specific details, each with its own seed for the rest of its numbers."""
    weights = dict.fromkeys(DETAILS, 1.0) | {
        "backdrop": 3.5,
        "glasses": 2.2,
        "hat": 1.4,
        "shadow": 1.5,
        "earrings": 0.6 + 1.4 * identity["gender"],
        "stray": 0.6,
    }
    kinds: list[str] = []
    while len(kinds) < count:
        left = [k for k in DETAILS if k not in kinds]
        kind = pick(r, left, [weights[k] for k in left])
        if not {kind, *kinds} >= {"hat", "headband"} and not {kind, *kinds} >= {"hand", "object"}:
            kinds.append(kind)
    return [
        {"kind": k, "seed": int(r.integers(1 << 30)), "u": [round(float(v), 6) for v in r.random(8)]} for k in kinds
    ]


def animate(expression: dict, pose: dict, r: np.random.Generator, frame: int, frames: int) -> None:
    """Turn a clip's expression and pose into those of one frame: smooth loops and two blinks."""
    t = frame / frames

    def wave(amount: float, speed: int) -> float:
        return amount * math.sin(2 * math.pi * (speed * t + r.random()))

    pose["yaw"] = pose["yaw"] * 0.5 + wave(0.22, 1) + wave(0.05, 2)
    pose["pitch"] += wave(0.05, 1) + wave(0.02, 3)
    pose["roll"] += wave(0.04, 1)
    expression["smile"] = min(max(0.45 + wave(0.5, 1), 0.0), 1.0)
    expression["mouth_open"] = min(max(wave(0.45, 2) * abs(wave(1.0, 1)), 0.0), 1.0)
    expression["brow_raise"] = max(0.0, wave(0.5, 1))
    expression["gaze_x"] = wave(0.35, 1)
    expression["gaze_y"] = wave(0.15, 2)
    expression["frown"] = 0.0
    first = between(r, 0.1, 0.4)
    for centre in (first, first + 0.45):
        near = abs(t - centre) * frames / 3.0
        if near < 1:
            expression["eyes_closed"] = max(expression["eyes_closed"], 1 - near * near)
