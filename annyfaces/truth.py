"""The flat table of factors stored beside every picture: what probes and edits are measured against."""

from __future__ import annotations

import numpy as np

from annyfaces import colours as C
from annyfaces.factors import DETAILS
from annyfaces.look import greyness
from annyfaces.scene import Scene

_IDENTITY = (
    "gender",
    "african",
    "asian",
    "caucasian",
    "muscle",
    "weight",
    "skin_tone",
    "undertone",
    "cut",
    "hair_length",
    "hair_volume",
    "hair_darkness",
    "hair_redness",
    "receding",
    "beard",
    "beard_style",
    "eye_colour",
    "brow_thick",
    "brow_arch",
    "brow_angle",
)
_MAKEUP = ("lip_strength", "lip_hue", "lip_value", "shadow", "blush", "lashes")
_LIGHT = ("azimuth", "elevation", "strength", "warmth", "ambient", "fill", "rim", "exposure")


def flat_factors(scene: Scene, similarity: np.ndarray) -> dict[str, float | str]:
    """Flat name -> number or text.

    Angles in radians (yaw > 0: nose to the picture's right; pitch > 0: up), age in years, hair_r/g/b in sRGB 0..1,
    ``detail_<kind>`` 1.0 where that detail is present, ``camera_*`` the alignment's affine map (unit square).
    """
    identity = scene.identity
    out: dict[str, float | str] = {
        "split": scene.split,
        "index": float(scene.index),
        "identity": identity["id"],
        "age_years": scene.age_years,
    }
    out |= {
        k: scene.expression[k]
        for k in ("smile", "teeth", "mouth_open", "eyes_closed", "brow_raise", "frown", "gaze_x", "gaze_y")
    }
    out |= {k: scene.pose[k] for k in ("yaw", "pitch", "roll")}
    out |= {k: identity[k] for k in _IDENTITY}
    grey = greyness(identity, scene.age_years)
    hair = C.hair_colour(identity["hair_darkness"], identity["hair_redness"], grey, identity["dye"])
    out |= {
        "hair_r": float(hair[0]),
        "hair_g": float(hair[1]),
        "hair_b": float(hair[2]),
        "hair_grey": grey,
        "hair_lightness": float(hair @ np.array([0.2126, 0.7152, 0.0722])),
        "hair_dyed": float(identity["dye"] >= 0),
    }
    out |= {k: scene.makeup[k] for k in _MAKEUP}
    out |= {f"light_{k}": scene.light[k] for k in _LIGHT}
    out |= {f"background_{k}": v for k, v in scene.background.items()}
    out |= {f"cloth_{k}": v for k, v in scene.cloth.items()}
    present = {d["kind"] for d in scene.details}
    out |= {f"detail_{k}": float(k in present) for k in DETAILS}
    out["details"] = float(len(present))
    for i, name in enumerate(("xx", "xy", "x0", "yx", "yy", "y0")):
        out[f"camera_{name}"] = float(similarity[i // 3, i % 3])
    return {k: v if isinstance(v, str) else float(v) for k, v in out.items()}
