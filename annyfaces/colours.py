"""Colours of people and things as linear RGB; sRGB is only read here and written in :mod:`render`."""

from __future__ import annotations

import colorsys

import numpy as np

# sRGB swatches, light to dark, spaced so that equal steps look equal
SKIN = (
    (0.930, 0.795, 0.715),
    (0.890, 0.720, 0.615),
    (0.820, 0.625, 0.500),
    (0.700, 0.500, 0.375),
    (0.540, 0.365, 0.265),
    (0.410, 0.272, 0.198),
    (0.300, 0.198, 0.152),
)
HAIR = (
    (0.90, 0.80, 0.60),
    (0.78, 0.62, 0.40),
    (0.58, 0.42, 0.26),
    (0.40, 0.27, 0.17),
    (0.25, 0.17, 0.12),
    (0.14, 0.10, 0.085),
    (0.075, 0.065, 0.065),
)
GINGER = (0.62, 0.28, 0.11)
GREY = (0.72, 0.71, 0.70)
EYES = {
    "brown": (0.30, 0.17, 0.09),
    "dark": (0.16, 0.09, 0.06),
    "hazel": (0.42, 0.31, 0.14),
    "green": (0.33, 0.42, 0.26),
    "blue": (0.33, 0.48, 0.64),
    "grey": (0.48, 0.53, 0.56),
}


def linear(rgb) -> np.ndarray:
    """sRGB 0..1 -> linear 0..1."""
    c = np.asarray(rgb, np.float64)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def encode(c: np.ndarray) -> np.ndarray:
    """Linear (clipped to 0..1) -> sRGB 0..1."""
    c = np.clip(c, 0.0, 1.0)
    return np.where(c <= 0.0031308, c * 12.92, 1.055 * c ** (1 / 2.4) - 0.055)


def ramp(stops, t: float) -> np.ndarray:
    """sRGB colour at 0..1 along evenly spaced stops."""
    x = min(max(t, 0.0), 1.0) * (len(stops) - 1)
    i = min(int(x), len(stops) - 2)
    return np.asarray(stops[i]) * (1 - (x - i)) + np.asarray(stops[i + 1]) * (x - i)


def skin_colour(tone: float, undertone: float) -> np.ndarray:
    """Linear skin colour; tone 0 light..1 dark, undertone -1 rosy..1 olive."""
    rgb = ramp(SKIN, tone) * (1 + undertone * np.array([-0.012, 0.022, -0.03]))
    return linear(np.clip(rgb, 0, 1))


def hair_colour(darkness: float, redness: float, grey: float, dye: float) -> np.ndarray:
    """sRGB hair colour. ``dye`` < 0: none; otherwise a hue 0..1 laid over it."""
    rgb = ramp(HAIR, darkness)
    rgb = rgb * (1 - redness) + np.asarray(GINGER) * (1.25 - 0.75 * darkness) * redness
    if dye >= 0:
        rgb = 0.25 * rgb + 0.75 * np.asarray(colorsys.hsv_to_rgb(dye, 0.62, 0.62))
    return np.clip(rgb * (1 - grey) + np.asarray(GREY) * (1.18 - 0.42 * darkness) * grey, 0, 1)


def hsv(h: float, s: float, v: float) -> np.ndarray:
    """Linear colour from hue, saturation, value."""
    return linear(colorsys.hsv_to_rgb(h % 1.0, min(max(s, 0), 1), min(max(v, 0), 1)))
