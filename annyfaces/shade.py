"""Deferred shading: one visible sample at a time, from triangle and barycentric weights to light and part index."""

from __future__ import annotations

import numpy as np

from annyfaces import labels as P
from annyfaces import look as K
from annyfaces import model as M
from annyfaces.light import illuminate, key_light, shadow_frame
from annyfaces.noise import cell, smooth, step
from annyfaces.surface import paint_skin
from bench.compiled import jit

EXTRA = 20  # face kinds from here on are things (hat, lenses...): kind - EXTRA is a row of `things`
IRIS, PUPIL = 0.0063, 0.0026


@jit
def shade_mesh(
    triangle,
    weights,
    points,
    normals,
    canon,
    lips,
    ears,
    occlusion,
    above,
    faces,
    kind,
    eyes,
    eye_canon,
    shadow,
    look,
    things,
    thing_parts,
    parts,
    painted,
):
    """Light every sample that shows a triangle.

    Args:
        triangle (H, W) int32, weights (H, W, 2): from the rasteriser; triangle < 0 is left alone.
        points, normals (V, 3): camera space. canon (V, 3). faces (F, 3). kind (F,).
        lips, ears, occlusion, above: (V,); above is the height over the hairline.
        eyes (2, 3): eye ball centres, camera space; eye_canon (2, 3) the same in canonical space.
        things (n, 5): albedo, gloss, texture of extra surfaces; thing_parts (n,) their part index.
        parts (H, W) uint8, painted (H, W, 3) float32: written.
    """
    frame, skin, lit_colour = shadow_frame(look), np.empty(5), np.empty(3)
    for row in range(triangle.shape[0]):
        for column in range(triangle.shape[1]):
            f = triangle[row, column]
            if f < 0:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            v, w = np.float64(weights[row, column, 0]), np.float64(weights[row, column, 1])
            u = 1.0 - v - w
            px = u * points[a, 0] + v * points[b, 0] + w * points[c, 0]
            py = u * points[a, 1] + v * points[b, 1] + w * points[c, 1]
            pz = u * points[a, 2] + v * points[b, 2] + w * points[c, 2]
            nx = u * normals[a, 0] + v * normals[b, 0] + w * normals[c, 0]
            ny = u * normals[a, 1] + v * normals[b, 1] + w * normals[c, 1]
            nz = u * normals[a, 2] + v * normals[b, 2] + w * normals[c, 2]
            x = u * canon[a, 0] + v * canon[b, 0] + w * canon[c, 0]
            y = u * canon[a, 1] + v * canon[b, 1] + w * canon[c, 1]
            z = u * canon[a, 2] + v * canon[b, 2] + w * canon[c, 2]
            n = 1.0 / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12)
            nx, ny, nz = nx * n, ny * n, nz * n
            ambient = u * occlusion[a] + v * occlusion[b] + w * occlusion[c]
            k = kind[f]
            if k == M.SKIN:
                lip = u * lips[a] + v * lips[b] + w * lips[c]
                ear = u * ears[a] + v * ears[b] + w * ears[c]
                over = u * above[a] + v * above[b] + w * above[c]
                part = paint_skin(x, y, z, lip, ear, over, look, skin)
                if part == P.SKIN and ear > 0.5:
                    part = P.EAR
                ambient = 0.25 + 0.75 * ambient
                if part == P.SKIN and look[K.COVERAGE] > 0.9:
                    ambient *= 1.0 - 0.25 * step(-0.022, 0.0, over)
                facing = nx * look[K.KEY_X] + ny * look[K.KEY_Y] + nz * look[K.KEY_Z]
                slope = 0.0035 + 0.008 * (1.0 - max(0.0, facing))
                lit = key_light(px + 0.002 * nx, py + 0.002 * ny, pz + 0.002 * nz, shadow, frame, look, slope)
                wrap = 1.0 if part != P.CLOTH and part != P.HAIR else 0.35
                illuminate(
                    nx, ny, nz, skin[0], skin[1], skin[2], skin[3], skin[4], lit, ambient, wrap, look, lit_colour
                )
            elif k == M.CAVITY:
                part = _cavity(x, y, z, nx, ny, nz, px, py, pz, shadow, frame, look, lit_colour)
            elif k == M.EYE_LEFT or k == M.EYE_RIGHT:
                side = 0 if k == M.EYE_LEFT else 1
                _eye(
                    x - eye_canon[side, 0],
                    y - eye_canon[side, 1],
                    z - eye_canon[side, 2],
                    px,
                    py,
                    pz,
                    eyes[side],
                    shadow,
                    frame,
                    look,
                    lit_colour,
                )
                part = P.EYE
            elif k == M.TEETH or k == M.TONGUE:
                part = P.MOUTH
                lit = key_light(px, py, pz, shadow, frame, look, 0.004)
                deep = step(0.0, 0.020, z)
                if k == M.TEETH:
                    gap = 0.86 + 0.14 * step(0.0, 0.16, abs((abs(x) / 0.0075) % 1.0 - 0.5) * 2 - 0.0)
                    rim = step(0.0245, 0.016, abs(x))
                    e = (0.30 + 0.70 * rim) * gap * (0.5 + 0.5 * deep) * (1.0 - 0.22 * look[K.AGE])
                    illuminate(
                        0.6 * nx,
                        0.25,
                        0.85,
                        0.74 * e,
                        (0.70 - 0.05 * look[K.AGE]) * e,
                        (0.61 - 0.12 * look[K.AGE]) * e,
                        0.3,
                        0.25,
                        lit,
                        0.62,
                        0.2,
                        look,
                        lit_colour,
                    )
                else:
                    illuminate(nx, ny, nz, 0.46, 0.17, 0.16, 0.4, 0.25, lit, 0.35, 0.5, look, lit_colour)
            elif k >= EXTRA:
                t = k - EXTRA
                part = int(thing_parts[t])
                lit = key_light(px, py, pz, shadow, frame, look, 0.004)
                texture = 1.0
                if things[t, 4] > 0.5:
                    texture = _texture(int(things[t, 4]), x, y)
                if nz < 0.0:
                    nx, ny, nz = -nx, -ny, -nz
                illuminate(
                    nx,
                    ny,
                    nz,
                    things[t, 0] * texture,
                    things[t, 1] * texture,
                    things[t, 2] * texture,
                    things[t, 3],
                    0.6 * things[t, 3] ** 2,
                    lit,
                    ambient,
                    0.3,
                    look,
                    lit_colour,
                )
            else:
                part = P.EYE
                for i in range(3):
                    lit_colour[i] = 0.01
            parts[row, column] = part
            for i in range(3):
                painted[row, column, i] = lit_colour[i]


@jit
def _cavity(x, y, z, nx, ny, nz, px, py, pz, shadow, frame, look, out):
    """Inner lids (wet pink) and the mouth's inside (dark red, darker with depth)."""
    if y > -0.035:
        illuminate(
            nx,
            ny,
            nz,
            0.55 * look[K.SKIN0] + 0.10,
            0.45 * look[K.SKIN1] + 0.03,
            0.45 * look[K.SKIN2] + 0.03,
            0.3,
            0.3,
            0.4,
            0.35,
            0.5,
            look,
            out,
        )
        return P.EYE
    deep = step(-0.01, 0.024, z)
    lit = key_light(px, py, pz, shadow, frame, look, 0.004)
    deep = deep * deep
    r = look[K.SKIN0] * 0.50 * deep + 0.035
    g = look[K.SKIN1] * 0.24 * deep + 0.008
    b = look[K.SKIN2] * 0.24 * deep + 0.008
    illuminate(nx, ny, nz, r, g, b, 0.2 * deep, 0.2 * deep, lit * deep, 0.12 + 0.35 * deep, 0.4, look, out)
    return P.MOUTH


@jit
def _eye(x, y, z, px, py, pz, centre, shadow, frame, look, out):
    """Sclera, limbal ring, iris, pupil, catch-light and the lid's shade of one eye ball.

    Args:
        x, y, z: canonical place relative to the eye ball's centre; it turns with the gaze.
    """
    radius = np.sqrt(x * x + y * y)
    nx, ny, nz = px - centre[0], py - centre[1], pz - centre[2]
    n = 1.0 / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12)
    nx, ny, nz = nx * n, ny * n, nz * n
    lit = key_light(px, py, pz, shadow, frame, look, 0.006)
    red = step(0.006, 0.013, radius)
    r, g, b = 0.66, 0.62 - 0.10 * red, 0.59 - 0.12 * red
    if z > 0.0:
        m = step(IRIS, IRIS - 0.0010, radius)
        if m > 0.0:
            rays = 0.80 + 0.45 * smooth(np.arctan2(y, x) * 7.0, radius * 500, 0.5, np.int64(9))
            tone = (
                rays
                * (0.70 + 0.65 * step(IRIS - 0.0002, PUPIL, radius))
                * (1.0 - 0.65 * step(IRIS - 0.0018, IRIS - 0.0006, radius))
            )
            pupil = step(PUPIL + 0.0003, PUPIL - 0.0004, radius)
            er, eg, eb = look[K.EYE0] * tone * 1.25, look[K.EYE1] * tone * 1.25, look[K.EYE2] * tone * 1.25
            er, eg, eb = (
                er * (1 - pupil) + 0.008 * pupil,
                eg * (1 - pupil) + 0.008 * pupil,
                eb * (1 - pupil) + 0.009 * pupil,
            )
            r, g, b = r + (er - r) * m, g + (eg - g) * m, b + (eb - b) * m
    rise = py - centre[1]
    lid = 0.42 + 0.58 * step(0.0065, -0.001, rise)
    corner = 0.70 + 0.30 * step(0.0135, 0.0085, abs(px - centre[0]))
    shade = lid * corner
    illuminate(
        0.7 * nx,
        0.7 * ny,
        0.3 + 0.7 * nz,
        r * shade,
        g * shade,
        b * shade,
        0.1,
        0.0,
        0.25 + 0.75 * lit,
        0.6 * lid,
        0.6,
        look,
        out,
    )
    gx = px - centre[0] - 0.0030 * (1.0 if look[K.KEY_X] > 0 else -1.0) * min(1.0, 0.35 + abs(look[K.KEY_X]))
    gy = rise - 0.0026
    spark = step(0.0019, 0.0009, np.sqrt(gx * gx + gy * gy)) * (nz > 0.3)
    for i in range(3):
        out[i] += 0.85 * spark * look[K.KEY0 + i]


@jit
def _texture(kind, x, y):
    """Knit (1), stripes (2), weave (3) on hats and bands; x, y are the thing's own coordinates."""
    if kind == 1:
        return 0.72 + 0.34 * (0.5 + 0.5 * np.sin(x * 6.28)) * (0.7 + 0.3 * np.sin(y * 6.28))
    if kind == 2:
        return 1.0 if (y % 2.0) < 1.0 else 0.45
    return 0.92 + 0.16 * cell(int(np.floor(x * 3)), int(np.floor(y * 3)), 0, 4)
