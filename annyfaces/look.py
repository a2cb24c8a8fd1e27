"""A scene's appearance as one flat float64 vector, so that compiled code can read it by named position."""

from __future__ import annotations

import numpy as np

from annyfaces import colours as C
from annyfaces import factors as F
from annyfaces.scene import Scene

_NAMES = (
    "skin0 skin1 skin2 ruddy hair0 hair1 hair2 brow0 brow1 brow2 age lip0 lip1 lip2 lip_strength natural_lip "
    "shadow0 shadow1 shadow2 shadow blush brow_thick brow_arch brow_angle brow_density brow_length beard beard_style "
    "eye0 eye1 eye2 lashes hairline receding coverage cloth0 cloth1 cloth2 neckline neck_height freckles seed "
    "key_x key_y key_z key0 key1 key2 fill_x fill_y fill_z fill0 fill1 fill2 sky0 sky1 sky2 ground0 ground1 ground2 "
    "rim_x rim_y rim_z rim0 rim1 rim2 softness paint paint0 paint1 paint2 paint_u paint_v paint_b0 paint_b1 paint_b2 "
    "pattern pattern_u pattern_v pattern_w gloss bald_top"
).split()
COUNT = len(_NAMES)
globals().update({name.upper(): i for i, name in enumerate(_NAMES)})
INDEX = {name: i for i, name in enumerate(_NAMES)}

STYLES = ("full", "goatee", "moustache", "stubble")
SCALP_COVER = {"bald": 0.0, "buzz": 0.75}
PAINTS = ("stripes", "spots", "mask", "star", "half", "tear", "lines", "script")


def detail(scene: Scene, kind: str) -> dict | None:
    """The scene's detail of a kind, if it has one."""
    return next((d for d in scene.details if d["kind"] == kind), None)


def greyness(identity: dict, age_years: float) -> float:
    """0 no grey hair .. 0.95."""
    return min(max((age_years - identity["grey_start"] + 8) / 22.0, 0.0), 0.95)


def pack(scene: Scene) -> np.ndarray:
    """(COUNT,) float64, all colours linear."""
    identity, makeup = scene.identity, scene.makeup
    out: dict[str, float] = {}

    def colour(name: str, rgb) -> None:
        out.update({f"{name}{i}": float(rgb[i]) for i in range(3)})

    grey = greyness(identity, scene.age_years)
    hair = C.hair_colour(identity["hair_darkness"], identity["hair_redness"], grey, identity["dye"])
    own = C.hair_colour(identity["hair_darkness"], identity["hair_redness"], 0.7 * grey, -1.0)
    skin = C.skin_colour(identity["skin_tone"], identity["undertone"])
    colour("skin", skin)
    colour("hair", C.linear(hair))
    colour("brow", np.minimum(C.linear(own) * 0.6, skin * 0.45))
    colour("lip", C.hsv(makeup["lip_hue"], 0.72, makeup["lip_value"]))
    colour("shadow", C.hsv(makeup["shadow_hue"], 0.45, 0.42))
    colour("eye", C.linear(np.clip(np.asarray(C.EYES[identity["eye_colour"]]) * identity["eye_shade"], 0, 1)))
    cloth = scene.cloth
    colour("cloth", C.hsv(cloth["hue"], cloth["saturation"], cloth["value"]))
    out |= {
        k: identity[k]
        for k in (
            "ruddy",
            "brow_thick",
            "brow_arch",
            "brow_angle",
            "brow_density",
            "brow_length",
            "beard",
            "hairline",
            "receding",
        )
    }
    out["brow_thick"] *= 1.25 - 0.5 * identity["gender"]
    out["brow_arch"] += 0.6 * identity["gender"]
    freckled = detail(scene, "freckles")
    out |= {
        "age": min(max((scene.age_years - 28) / 48.0, 0.0), 1.15),
        "lip_strength": makeup["lip_strength"],
        "natural_lip": makeup["natural_lip"] * (0.8 + 0.4 * identity["gender"]),
        "shadow": makeup["shadow"],
        "blush": makeup["blush"],
        "beard_style": STYLES.index(identity["beard_style"]),
        "lashes": makeup["lashes"],
        "coverage": SCALP_COVER.get(identity["cut"], 1.0),
        "neckline": F.NECKLINES.index(cloth["neckline"]),
        "neck_height": cloth["height"],
        "freckles": 0.35 + 0.6 * freckled["u"][0] if freckled else 0.0,
        "seed": identity["hair_seed"] % 65536,
        "gloss": identity["hair_gloss"],
        "bald_top": 1.0 if identity["cut"] == "bald" else 0.0,
    }
    _light(scene.light, out, colour)
    _marks(scene, out, colour)
    vector = np.zeros(COUNT)
    for name, value in out.items():
        vector[INDEX[name]] = value
    return np.round(vector, 9)


def _tint(warmth: float) -> np.ndarray:
    return np.array([1 + 0.09 * warmth, 1.0, 1 - 0.13 * warmth])


def _light(light: dict, out: dict, colour) -> None:
    def direction(name: str, azimuth: float, elevation: float) -> None:
        out.update(
            {
                f"{name}_x": np.sin(azimuth) * np.cos(elevation),
                f"{name}_y": np.sin(elevation),
                f"{name}_z": np.cos(azimuth) * np.cos(elevation),
            }
        )

    direction("key", light["azimuth"], light["elevation"])
    direction("fill", -np.sign(light["azimuth"] + 1e-9) * 0.9, 0.1)
    direction("rim", light["rim_side"] * 2.3, 0.5)
    exposure = light["exposure"]
    colour("key", 0.80 * exposure * light["strength"] * _tint(light["warmth"]))
    colour("fill", 0.5 * exposure * light["fill"] * _tint(-0.7 * light["warmth"]))
    colour("rim", 0.9 * exposure * light["rim"] * _tint(-0.5))
    sky = exposure * light["ambient"] * _tint(light["ambient_warmth"])
    colour("sky", 0.62 * sky)
    colour("ground", 0.34 * sky * np.array([1.06, 0.98, 0.92]))
    out["softness"] = light["softness"]


def _marks(scene: Scene, out: dict, colour) -> None:
    """Face paint or tattoo, and a shadow pattern cast by something outside the picture."""
    painted = detail(scene, "paint") or detail(scene, "tattoo")
    if painted:
        u = painted["u"]
        tattoo = painted["kind"] == "tattoo"
        kinds = ("lines", "script", "star", "tear") if tattoo else ("stripes", "spots", "mask", "half", "star")
        out["paint"] = 1.0 + PAINTS.index(kinds[int(u[0] * len(kinds)) % len(kinds)])
        colour("paint", C.linear((0.10, 0.13, 0.16)) if tattoo else C.hsv(u[1], 0.85, 0.35 + 0.6 * u[2]))
        colour("paint_b", C.hsv(u[1] + 0.35 + 0.3 * u[3], 0.8, 0.9))
        out["paint_u"], out["paint_v"] = u[4], u[5]
    shadow = detail(scene, "shadow")
    if shadow:
        out["pattern"] = 1.0 + int(shadow["u"][0] * 4) % 4
        out["pattern_u"], out["pattern_v"], out["pattern_w"] = shadow["u"][1:4]
