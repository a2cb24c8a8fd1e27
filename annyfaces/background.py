"""What is behind the head: two smooth colours and a vignette; with a "backdrop" detail, structure on top."""

from __future__ import annotations

import math

import numpy as np

from annyfaces import colours as C
from annyfaces.look import detail
from annyfaces.noise import step
from annyfaces.scene import Scene
from bench.compiled import jit


def plain(scene: Scene, size: int) -> np.ndarray:
    """(size, size, 3) float32 linear: a soft gradient between the scene's two colours."""
    b = scene.background
    first, second = C.hsv(b["hue_a"], b["saturation"], b["value_a"]), C.hsv(b["hue_b"], b["saturation"], b["value_b"])
    return _gradient(
        first * 0.9, second * 0.9, math.cos(b["angle"]), math.sin(b["angle"]), b["bend"], b["vignette"], size
    )


@jit
def _gradient(first, second, cosine, sine, bend, vignette, size):
    out = np.empty((size, size, 3), np.float32)
    for i in range(size):
        y = (i + 0.5) / size * 2 - 1
        for j in range(size):
            x = (j + 0.5) / size * 2 - 1
            d = x * x + y * y
            t = step(-1.0, 1.0, (x * cosine + y * sine) / 1.4 * bend + 0.25 * d - 0.1)
            shade = 1 - vignette * 0.35 * d
            for c in range(3):
                out[i, j, c] = (first[c] + (second[c] - first[c]) * t) * shade
    return out


def background(scene: Scene, size: int) -> np.ndarray:
    """(size, size, 3) float32 linear: the plain gradient, with structure if the scene has a backdrop."""
    out = plain(scene, size)
    drop = detail(scene, "backdrop")
    if drop is None:
        return out
    from annyfaces.backdrop import decorate

    return decorate(out, drop)
