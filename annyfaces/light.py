"""Light on a point: wrapped, reddish diffuse for skin, a key with shadow map, fill, rim and hemisphere ambient."""

from __future__ import annotations

import numpy as np

from annyfaces import look as K
from annyfaces.marks import cast_pattern
from annyfaces.raster import draw_triangles
from bench.compiled import jit, jit_inline

SHADOW_SIZE = 176
SHADOW_REACH = 0.26  # half side of the square of the shadow map, metres
SHADOW_CENTRE = -0.05  # its centre, metres above the eyes


@jit
def shadow_frame(look):
    """(3, 3) rows: across, up, towards the key light."""
    frame = np.empty((3, 3))
    lx, ly, lz = look[K.KEY_X], look[K.KEY_Y], look[K.KEY_Z]
    n = np.sqrt(lx * lx + lz * lz)
    frame[2, 0], frame[2, 1], frame[2, 2] = lx, ly, lz
    frame[0, 0], frame[0, 1], frame[0, 2] = lz / n, 0.0, -lx / n
    frame[1, 0] = ly * frame[0, 2] - lz * frame[0, 1]
    frame[1, 1] = lz * frame[0, 0] - lx * frame[0, 2]
    frame[1, 2] = lx * frame[0, 1] - ly * frame[0, 0]
    return frame


@jit
def shadow_map(points, faces, ranges, strands, blobs, look):
    """Two (2, S, S) nearest heights along the key light, metres, -9 where nothing is: solid things, then hair.

    Args:
        points: (V, 3) camera space; faces[a:b] of each row (a, b) of ``ranges`` cast shadows.
        strands: (n, k, 3) camera space, NaN-ended; they cast as 2 x 2 splats.
        blobs: (m, 4) balls x, y, z, radius that cast as discs.
    """
    size, frame = SHADOW_SIZE, shadow_frame(look)
    scale = size / (2 * SHADOW_REACH)
    flat = np.empty_like(points)
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1] - SHADOW_CENTRE, points[i, 2] + 0.05
        flat[i, 0] = (frame[0, 0] * x + frame[0, 1] * y + frame[0, 2] * z + SHADOW_REACH) * scale
        flat[i, 1] = (SHADOW_REACH - frame[1, 0] * x - frame[1, 1] * y - frame[1, 2] * z) * scale
        flat[i, 2] = frame[2, 0] * x + frame[2, 1] * y + frame[2, 2] * z
    maps = np.full((2, size, size), -9.0)
    spare, spare2 = np.empty((size, size), np.int32), np.empty((size, size, 2), np.float32)
    for k in range(ranges.shape[0]):
        draw_triangles(flat, faces, ranges[k, 0], ranges[k, 1], k == 0, maps[0], spare, spare2)
    for n in range(blobs.shape[0]):
        _splat(blobs[n, 0], blobs[n, 1], blobs[n, 2], blobs[n, 3], frame, scale, maps[0])
    for n in range(strands.shape[0]):
        for k in range(1, strands.shape[1]):
            if np.isnan(strands[n, k, 0]):
                break
            _splat(strands[n, k, 0], strands[n, k, 1], strands[n, k, 2], 0.0018, frame, scale, maps[1])
    return maps


@jit
def _splat(x, y, z, radius, frame, scale, depth):
    """Draw a disc that faces the light."""
    size = depth.shape[0]
    y, z = y - SHADOW_CENTRE, z + 0.05
    column = (frame[0, 0] * x + frame[0, 1] * y + frame[0, 2] * z + SHADOW_REACH) * scale - 0.5
    row = (SHADOW_REACH - frame[1, 0] * x - frame[1, 1] * y - frame[1, 2] * z) * scale - 0.5
    d = frame[2, 0] * x + frame[2, 1] * y + frame[2, 2] * z - 0.003
    r = radius * scale
    for i in range(max(0, int(np.ceil(row - r))), min(size - 1, int(np.floor(row + r))) + 1):
        for j in range(max(0, int(np.ceil(column - r))), min(size - 1, int(np.floor(column + r))) + 1):
            if (i - row) ** 2 + (j - column) ** 2 <= r * r + 0.3 and d > depth[i, j]:
                depth[i, j] = d


@jit_inline
def _sheltered(shadow, r0, c0, fr, fc, d, slack):
    """Share of a 3 x 3 bilinear neighbourhood that lies above ``d``."""
    hidden = 0.0
    for i in range(-1, 2):
        wr = 0.5 * (1 - fr) if i == -1 else (0.5 if i == 0 else 0.5 * fr)
        for j in range(-1, 2):
            gap = shadow[r0 + i, c0 + j] - d
            if gap > 0.0:
                w = 0.5 * (1 - fc) if j == -1 else (0.5 if j == 0 else 0.5 * fc)
                hidden += wr * w * min(1.0, gap / slack)
    return hidden


@jit
def key_light(px, py, pz, shadow, frame, look, bias):
    """Share of the key light that reaches a camera-space point, 0..1: filtered shadow maps and cast patterns.

    Hair is thin: it takes at most 0.6 of the light.
    """
    x, y, z = px, py - SHADOW_CENTRE, pz + 0.05
    u = frame[0, 0] * x + frame[0, 1] * y + frame[0, 2] * z
    v = frame[1, 0] * x + frame[1, 1] * y + frame[1, 2] * z
    d = frame[2, 0] * x + frame[2, 1] * y + frame[2, 2] * z + bias
    size = shadow.shape[1]
    scale = size / (2 * SHADOW_REACH)
    column, row = (u + SHADOW_REACH) * scale, (SHADOW_REACH - v) * scale
    c0, r0 = int(np.floor(column)), int(np.floor(row))
    if c0 < 2 or r0 < 2 or c0 >= size - 3 or r0 >= size - 3:
        return 1.0
    fc, fr = column - c0, row - r0
    lit = 1.0 - _sheltered(shadow[0], r0, c0, fr, fc, d, 0.004)
    if lit > 0.0:
        lit *= 1.0 - 0.6 * _sheltered(shadow[1], r0, c0, fr, fc, d + 0.002, 0.012)
    if look[K.PATTERN] > 0.5:
        lit *= cast_pattern(u, v, look)
    return lit


@jit
def illuminate(nx, ny, nz, red, green, blue, gloss, wet, lit, ambient, wrap, look, out):
    """Outgoing light of a surface seen from the front.

    Args:
        nx, ny, nz: unit normal, camera space. red, green, blue: albedo.
        gloss, wet: strength of the broad and of the sharp highlight, 0..1.
        lit: share of key light; ambient: openness 0..1. wrap: softness of the terminator; 1 is skin.
        out: (3,) written.
    """
    lx, ly, lz = look[K.KEY_X], look[K.KEY_Y], look[K.KEY_Z]
    key = nx * lx + ny * ly + nz * lz
    fill = max(0.0, 0.25 + 0.75 * (nx * look[K.FILL_X] + ny * look[K.FILL_Y] + nz * look[K.FILL_Z]))
    rim = nx * look[K.RIM_X] + ny * look[K.RIM_Y] + nz * look[K.RIM_Z]
    rim = max(0.0, rim) ** 1.5 * (1.0 - max(0.0, nz)) * 1.6
    sky = 0.5 + 0.5 * ny
    soft = wrap * (0.6 + 0.5 * look[K.SOFTNESS])
    hx, hy, hz = lx, ly, lz + 1.0
    hn = 1.0 / np.sqrt(hx * hx + hy * hy + hz * hz)
    nh = max(0.0, (nx * hx + ny * hy + nz * hz) * hn)
    fresnel = 0.03 + 0.25 * (1.0 - min(1.0, max(0.0, nz))) ** 4
    broad = gloss * (0.13 * nh**14 + 0.9 * fresnel * max(0.0, key) * nh**6)
    sharp = wet * 0.5 * nh**60
    spec = (broad + sharp) * lit * (key > 0.0)
    for c in range(3):
        w = soft * (0.42 if c == 0 else (0.20 if c == 1 else 0.13))
        diffuse = max(0.0, (key + w) / (1.0 + w))
        albedo = red if c == 0 else (green if c == 1 else blue)
        bleed = lit + (1.0 - lit) * (0.10 * wrap if c == 0 else 0.0) * (lit > 0.02)
        hemisphere = look[K.SKY0 + c] * sky + look[K.GROUND0 + c] * (1.0 - sky)
        open_ = ambient + (1.0 - ambient) * 0.35 * albedo
        total = look[K.KEY0 + c] * diffuse * bleed + look[K.FILL0 + c] * fill * open_ + hemisphere * open_
        out[c] = (
            albedo * (total + look[K.RIM0 + c] * rim)
            + look[K.KEY0 + c] * spec
            + gloss * 0.10 * fresnel * hemisphere * open_
        )
