"""What is behind the head: two smooth colours and a vignette; with a "backdrop" detail, structure on top."""

from __future__ import annotations

import math

import numpy as np

from bench.annyfaces import colours as C
from bench.annyfaces.look import detail
from bench.annyfaces.scene import Scene


def plain(scene: Scene, size: int) -> np.ndarray:
    """(size, size, 3) float32 linear: a soft gradient between the scene's two colours."""
    b = scene.background
    first, second = C.hsv(b["hue_a"], b["saturation"], b["value_a"]), C.hsv(b["hue_b"], b["saturation"], b["value_b"])
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = axis[None, :], axis[:, None]
    t = (x * math.cos(b["angle"]) + y * math.sin(b["angle"])) / 1.4 * b["bend"] + 0.25 * (x * x + y * y) - 0.1
    t = np.clip(0.5 + 0.5 * t, 0, 1)
    t = (t * t * (3 - 2 * t))[..., None]
    shade = 1 - b["vignette"] * 0.35 * (x * x + y * y)[..., None]
    return ((first * (1 - t) + second * t) * shade * 0.9).astype(np.float32)


def background(scene: Scene, size: int) -> np.ndarray:
    """(size, size, 3) float32 linear: the plain gradient, with structure if the scene has a backdrop."""
    out = plain(scene, size)
    drop = detail(scene, "backdrop")
    if drop is None:
        return out
    from bench.annyfaces.backdrop import decorate

    return decorate(out, drop)
