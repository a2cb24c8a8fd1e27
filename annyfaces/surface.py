"""The colour of a skin sample, laid on in coats: complexion, make-up, lips, hair in the skin, paint, garment.

Every coat works in place on ``out`` = albedo r, g, b, gloss 0..1, wetness 0..1.
"""

from __future__ import annotations

import numpy as np

from annyfaces import labels as P
from annyfaces import look as K
from annyfaces.marks import face_paint
from annyfaces.noise import bump, cell, smooth, step
from annyfaces.paint import beard_mask, brow_mask, cloth_mask, freckle, wrinkles
from bench.compiled import jit, jit_inline


@jit
def paint_skin(x, y, z, lip, ear, above, look, out):
    """Paint one sample.

    Args:
        x, y, z: canonical coordinates. lip, ear: masks 0..1. above: :func:`paint.hairline`. look: :func:`look.pack`.
        out: (5,) written.
    Returns:
        the part index.
    """
    part = P.NECK if y < -0.106 - 0.25 * z and y < -0.075 else P.SKIN
    _complexion(x, y, z, ear, look, out)
    if look[K.SHADOW] > 0.0:
        _lay(out, look, K.SHADOW0, look[K.SHADOW] * bump(abs(x), y, 0.033, 0.009, 0.015, 0.0055))
    if lip > 0.02 and _lips(x, y, lip, look, out):
        part = P.LIP
    part = _facial_hair(x, y, z, lip, ear, look, out, part)
    if look[K.PAINT] > 0.5:
        cover, second = face_paint(x, y, z, look)
        if cover > 0.0:
            _lay(out, look, K.PAINT_B0 if second > 0.5 else K.PAINT0, 0.85 * cover)
    if above > -0.010 and ear < 0.5 and y > -0.07 and _scalp(x, y, z, above, look, out):
        part = P.HAIR
    if y < -0.085 and _cloth(x, y, z, look, out):
        part = P.CLOTH
    return part


@jit_inline
def _lay(out, look, first, amount):
    """Mix the colour at ``look[first:first + 3]`` over the albedo."""
    for c in range(3):
        out[c] += (look[first + c] - out[c]) * amount


@jit
def _complexion(x, y, z, ear, look, out):
    """Skin tone with blood, mottling, eye sockets, wrinkles, age spots and freckles; gloss of forehead and nose."""
    seed, ax = int(look[K.SEED]), abs(x)
    red = (
        0.75 * bump(ax, y, 0.036, -0.034, 0.015, 0.013)
        + 0.7 * bump(x, y, 0.0, -0.033, 0.010, 0.010)
        + 0.35 * bump(x, y, 0.0, -0.092, 0.015, 0.010)
        + 0.6 * ear
        + 0.25 * bump(ax, y, 0.031, 0.0, 0.014, 0.008)
    )
    red = red * look[K.RUDDY] + 0.9 * look[K.BLUSH] * bump(ax, y, 0.041, -0.030, 0.014, 0.010)
    mottle = smooth(x * 70, y * 70, z * 70, seed) - 0.5 + 0.6 * (smooth(x * 210, y * 210, z * 210, seed + 1) - 0.5)
    red += 0.35 * mottle * look[K.RUDDY]
    under = bump(ax, y, 0.030, -0.015, 0.012, 0.0055) * (0.35 + 0.65 * look[K.AGE])
    shade = 1.0 + 0.10 * mottle
    shade *= 1.0 - 0.20 * under - 0.12 * bump(ax, y, 0.0315, 0.008, 0.013, 0.006)
    shade *= 1.0 - wrinkles(x, y, z, look[K.AGE], seed)
    if look[K.AGE] > 0.3:
        spot = smooth(x * 230, y * 230, z * 230, seed + 7)
        shade *= 1.0 - 0.16 * (look[K.AGE] - 0.3) * step(0.78, 0.90, spot)
    f = freckle(x, y, z, look[K.FRECKLES], seed) if look[K.FRECKLES] > 0.0 else 0.0
    out[0] = look[K.SKIN0] * (1.0 - 0.03 * red) * shade * (1.0 - 0.38 * f)
    out[1] = look[K.SKIN1] * (1.0 - 0.22 * red) * shade * (1.0 - 0.55 * f)
    out[2] = look[K.SKIN2] * (1.0 - 0.24 * red) * (1.0 + 0.05 * under) * shade * (1.0 - 0.62 * f)
    out[3] = 0.45 + 0.25 * bump(x, y, 0.0, 0.045, 0.032, 0.020) + 0.4 * bump(x, y, 0.0, -0.022, 0.009, 0.018)
    out[4] = 0.0


@jit
def _lips(x, y, lip, look, out):
    """Redder skin with fine lines, and lipstick; True on the lips proper."""
    m, s = step(0.25, 0.7, lip), look[K.NATURAL_LIP]
    lines = 0.92 + 0.16 * smooth(x * 700, y * 60, 1.0, int(look[K.SEED]))
    for c in range(3):
        own = out[c] * (1.0 - (0.12 if c == 0 else (0.38 if c == 1 else 0.30)) * s)
        own += (look[K.LIP0 + c] - own) * 0.8 * look[K.LIP_STRENGTH]
        out[c] += (own * lines - out[c]) * m
    if m <= 0.5:
        return False
    out[3], out[4] = 0.7, 0.35 + 0.4 * look[K.LIP_STRENGTH]
    return True


@jit
def _facial_hair(x, y, z, lip, ear, look, out, part):
    """Beard shade under the beard's hairs, and brows; returns the part index."""
    if look[K.BEARD] > 0.0 and y < -0.01:
        m = beard_mask(x, y, z, int(look[K.BEARD_STYLE])) * (1.0 - step(0.15, 0.5, lip)) * (1.0 - ear)
        if m > 0.01:
            stubble = look[K.BEARD_STYLE] == 3
            amount = 0.25 + 0.25 * look[K.BEARD] if stubble else 0.30 + 0.65 * look[K.BEARD]
            amount *= min(1.0, 8.0 * look[K.BEARD])
            m *= amount * (0.70 + 0.5 * smooth(x * 1100, y * 700, z * 700, int(look[K.SEED]) + 3))
            _lay(out, look, K.BROW0, min(m, 0.97))
            out[3] *= 1.0 - 0.7 * m
            if m > 0.45:
                part = P.BEARD
    if y > 0.005 and y < 0.035 and abs(x) < 0.06:
        m = brow_mask(x, y, look)
        if m > 0.01:
            _lay(out, look, K.BROW0, 0.92 * m)
            out[3] *= 1.0 - 0.6 * m
            if m > 0.4:
                part = P.BROW
    return part


@jit
def _scalp(x, y, z, above, look, out):
    """Hair colour on the scalp, so that gaps between strands do not shine; True where it counts as hair."""
    seed = int(look[K.SEED])
    m = step(-0.005, 0.006, above + 0.008 * (smooth(x * 260, y * 260, z * 260, seed + 5) - 0.5))
    if m <= 0.0:
        return False
    grain = smooth(x * 900, y * 900, z * 900, seed + 6)
    m = min(1.0, m * look[K.COVERAGE] * (0.78 + 0.3 * grain) if look[K.BALD_TOP] < 0.5 else 0.45 * grain * m)
    for c in range(3):
        out[c] += (0.75 * look[K.HAIR0 + c] - out[c]) * m
    out[3] *= 1.0 - 0.8 * m
    return m > 0.5


@jit
def _cloth(x, y, z, look, out):
    """Woven garment with a hem below the neckline; True where it covers."""
    c = cloth_mask(x, y, z, look)
    if c <= 0.0:
        return False
    weave = 0.94 + 0.12 * cell(int(np.floor(x * 900)), int(np.floor(y * 900)), 0, int(look[K.SEED]))
    if int(look[K.NECKLINE]) != 2:
        weave *= 1.0 - 0.35 * step(0.004, 0.0015, abs(c - 0.004))
    weave *= 0.8 + 0.2 * step(0.0, 0.002, c)
    for k in range(3):
        out[k] = look[K.CLOTH0 + k] * weave
    out[3], out[4] = 0.0, 0.0
    return True
