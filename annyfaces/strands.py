"""Light on hair: per strand vertex, from its direction and its depth in the hair."""

from __future__ import annotations

import numpy as np

from annyfaces import look as K
from annyfaces.light import key_light, shadow_frame
from annyfaces.noise import cell
from bench.compiled import jit


@jit
def shade_strands(strands, centre, shadow, look, beard, seed):
    """(n, k, 3) colour of hair vertices: anisotropic highlights, darker roots and inner layers, tufts of lighter hair.

    Args:
        strands: (n, k, 3) camera space, NaN-ended. centre: (3,) skull centre, camera space.
        beard: shade as beard (shorter, duller, own colour).
    """
    out = np.zeros_like(strands)
    frame, count = shadow_frame(look), strands.shape[1]
    lx, ly, lz = look[K.KEY_X], look[K.KEY_Y], look[K.KEY_Z]
    hx, hy, hz = lx, ly, lz + 1.0
    hn = 1.0 / np.sqrt(hx * hx + hy * hy + hz * hz)
    hx, hy, hz = hx * hn, hy * hn, hz * hn
    base = K.BROW0 if beard else K.HAIR0
    for n in range(strands.shape[0]):
        if np.isnan(strands[n, 0, 0]):
            continue
        own = cell(n, 2, 0, seed)
        tone = (0.72 + 0.5 * cell(n, 7, 0, seed)) * (0.8 + 0.25 * own)
        warm = 1.0 + 0.10 * (cell(n, 8, 0, seed) - 0.5)
        shift = 0.25 * (cell(n, 9, 0, seed) - 0.5)
        for k in range(count):
            x, y, z = strands[n, k, 0], strands[n, k, 1], strands[n, k, 2]
            if np.isnan(x):
                break
            j = k + 1 if k + 1 < count and not np.isnan(strands[n, k + 1, 0]) else k
            i = max(0, j - 1)
            tx, ty, tz = (
                strands[n, j, 0] - strands[n, i, 0],
                strands[n, j, 1] - strands[n, i, 1],
                strands[n, j, 2] - strands[n, i, 2],
            )
            norm = 1.0 / (np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-12)
            tx, ty, tz = tx * norm, ty * norm, tz * norm
            nx, ny, nz = x - centre[0], 0.6 * (y - centre[1]), z - centre[2]
            norm = 1.0 / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12)
            nx, ny, nz = nx * norm, ny * norm, nz * norm
            tl, th = tx * lx + ty * ly + tz * lz, tx * hx + ty * hy + tz * hz + shift
            facing = min(1.0, max(0.0, (nx * lx + ny * ly + nz * lz + 0.45) / 1.45))
            lit = key_light(x, y, z, shadow, frame, look, 0.010)
            diffuse = np.sqrt(max(0.0, 1 - tl * tl)) * facing * (0.35 + 0.65 * lit)
            sheen = max(0.0, 1 - th * th)
            gloss = 0.0 if beard else look[K.GLOSS] * facing * lit * (0.10 * sheen**40)
            tint = 0.55 * sheen**12 * facing * lit * (0.5 if beard else look[K.GLOSS])
            depth = (0.45 + 0.55 * min(1.0, 1.8 * k / count)) * (0.55 + 0.45 * own)
            if beard:
                depth = 0.8 + 0.2 * own
            rim = max(0.0, nx * look[K.RIM_X] + ny * look[K.RIM_Y] + nz * look[K.RIM_Z]) * (1 - max(0.0, nz))
            for c in range(3):
                sky = 0.5 + 0.5 * ny
                ambient = (look[K.SKY0 + c] * sky + look[K.GROUND0 + c] * (1 - sky)) * depth
                fill = look[K.FILL0 + c] * max(0.0, 0.3 + 0.7 * (nx * look[K.FILL_X] + nz * look[K.FILL_Z]))
                albedo = look[base + c] * tone * (warm if c == 0 else (1.0 if c == 1 else 2.0 - warm))
                key = look[K.KEY0 + c]
                out[n, k, c] = (
                    albedo
                    * (
                        key * diffuse * depth * 1.1
                        + ambient
                        + 0.7 * fill * depth
                        + key * tint
                        + 1.2 * look[K.RIM0 + c] * rim
                    )
                    + key * gloss
                    + 0.04 * look[K.RIM0 + c] * rim
                )
    return out
