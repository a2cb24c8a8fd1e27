"""Round things as chains of capsules: spectacle frames, hoops, fingers, balls, handles."""

from __future__ import annotations

import numpy as np

from annyfaces.light import illuminate, key_light, shadow_frame
from bench.compiled import jit


@jit
def draw_tubes(tubes, similarity, distance, side, shadow, look, depth, triangle, parts, painted):
    """Draw lit capsules.

    Args:
        tubes: (n, 14) start x y z radius, end x y z radius (camera space, metres), albedo r g b, gloss, wetness, part.
        similarity: (2, 3) image plane to the unit square; distance: of the camera; side: samples per picture side.
    """
    height, width = depth.shape
    frame, colour = shadow_frame(look), np.empty(3)
    scale = np.sqrt(similarity[0, 0] ** 2 + similarity[0, 1] ** 2) * side
    # a camera-space direction on the screen turns with the similarity: undo it to get normals
    cosine, sine = similarity[0, 0] * side / scale, similarity[1, 0] * side / scale
    for n in range(tubes.shape[0]):
        ends = np.empty((2, 4))
        for e in range(2):
            x, y, z, r = tubes[n, 4 * e], tubes[n, 4 * e + 1], tubes[n, 4 * e + 2], tubes[n, 4 * e + 3]
            inverse = 1.0 / (distance - z)
            u, v = x * inverse, -y * inverse
            ends[e, 0] = (similarity[0, 0] * u + similarity[0, 1] * v + similarity[0, 2]) * side
            ends[e, 1] = (similarity[1, 0] * u + similarity[1, 1] * v + similarity[1, 2]) * side
            ends[e, 2] = z
            ends[e, 3] = max(r * inverse * scale, 0.75)
        x0, y0, r0, x1, y1, r1 = ends[0, 0], ends[0, 1], ends[0, 3], ends[1, 0], ends[1, 1], ends[1, 3]
        dx, dy = x1 - x0, y1 - y0
        length = dx * dx + dy * dy + 1e-9
        for row in range(max(0, int(min(y0 - r0, y1 - r1))), min(height - 1, int(max(y0 + r0, y1 + r1))) + 1):
            for column in range(max(0, int(min(x0 - r0, x1 - r1))), min(width - 1, int(max(x0 + r0, x1 + r1))) + 1):
                qx, qy = column + 0.5 - x0, row + 0.5 - y0
                t = min(max((qx * dx + qy * dy) / length, 0.0), 1.0)
                ox, oy, r = qx - t * dx, qy - t * dy, r0 + (r1 - r0) * t
                d = (ox * ox + oy * oy) / (r * r)
                if d > 1.0:
                    continue
                nz = np.sqrt(max(0.0, 1.0 - d))
                radius = tubes[n, 3] + (tubes[n, 7] - tubes[n, 3]) * t
                z = ends[0, 2] + (ends[1, 2] - ends[0, 2]) * t + nz * radius
                w = 1.0 / (distance - z)
                if w <= depth[row, column]:
                    continue
                depth[row, column] = w
                triangle[row, column] = -2
                nx, ny = (ox * cosine + oy * sine) / r, -(oy * cosine - ox * sine) / r
                px = tubes[n, 0] + (tubes[n, 4] - tubes[n, 0]) * t + nx * radius
                py = tubes[n, 1] + (tubes[n, 5] - tubes[n, 1]) * t + ny * radius
                lit = key_light(px, py, z, shadow, frame, look, 0.012)
                illuminate(
                    nx,
                    ny,
                    nz,
                    tubes[n, 8],
                    tubes[n, 9],
                    tubes[n, 10],
                    tubes[n, 11],
                    tubes[n, 12],
                    lit,
                    0.85,
                    0.7,
                    look,
                    colour,
                )
                parts[row, column] = np.uint8(tubes[n, 13])
                for c in range(3):
                    painted[row, column, c] = colour[c]
