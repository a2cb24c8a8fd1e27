"""A z-buffer in numba: triangles and tubes to per-sample surface records. Deterministic: no threads, no fastmath.

Screen coordinates: x right, y down, in samples (pixel times the supersampling factor); depth is 1/distance, larger
is nearer, because that interpolates linearly on the screen.
"""

from __future__ import annotations

import numpy as np

from bench.compiled import jit


@jit
def draw_triangles(screen, faces, first, last, cull, depth, triangle, weights):
    """Draw ``faces[first:last]``.

    Args:
        screen: (V, 3) float64 x, y, 1/distance.
        faces: (F, 3) int32.
        cull: skip triangles that face away (clockwise on the screen).
        depth: (H, W) float64, in and out.
        triangle: (H, W) int32, index of the nearest triangle, out.
        weights: (H, W, 2) float32, barycentric weights of its second and third corner, out.
    """
    height, width = depth.shape
    for f in range(first, last):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = screen[a, 0], screen[a, 1], screen[a, 2]
        ux, uy = screen[b, 0] - ax, screen[b, 1] - ay
        vx, vy = screen[c, 0] - ax, screen[c, 1] - ay
        area = ux * vy - uy * vx
        if area == 0.0 or (cull and area > 0.0):
            continue
        inverse = 1.0 / area
        left = max(0, int(np.ceil(min(ax, ax + ux, ax + vx) - 0.5)))
        right = min(width - 1, int(np.floor(max(ax, ax + ux, ax + vx) - 0.5)))
        top = max(0, int(np.ceil(min(ay, ay + uy, ay + vy) - 0.5)))
        bottom = min(height - 1, int(np.floor(max(ay, ay + uy, ay + vy) - 0.5)))
        du, dv = screen[b, 2] - az, screen[c, 2] - az
        for row in range(top, bottom + 1):
            py = row + 0.5 - ay
            for column in range(left, right + 1):
                px = column + 0.5 - ax
                s = (px * vy - py * vx) * inverse
                t = (ux * py - uy * px) * inverse
                if s < 0.0 or t < 0.0 or s + t > 1.0:
                    continue
                z = az + s * du + t * dv
                if z > depth[row, column]:
                    depth[row, column] = z
                    triangle[row, column] = f
                    weights[row, column, 0] = s
                    weights[row, column, 1] = t


@jit
def draw_strands(points, colours, widths, label, depth, triangle, parts, painted):
    """Draw polylines as flat ribbons that face the viewer and taper to the tip.

    Args:
        points: (n, k, 3) screen x, y, 1/distance; a strand ends where x is NaN.
        colours: (n, k, 3) linear.
        widths: (n,) width in samples at the root; the tip has 0.45 of it.
        label: part index to write.
        depth, triangle, parts, painted: (H, W[, 3]) buffers, in and out; ``triangle`` becomes -2 where hair is nearest.
    """
    height, width = depth.shape
    count = points.shape[1]
    for n in range(points.shape[0]):
        for k in range(count - 1):
            x0, y0, x1, y1 = points[n, k, 0], points[n, k, 1], points[n, k + 1, 0], points[n, k + 1, 1]
            if np.isnan(x1) or np.isnan(x0):
                break
            if max(x0, x1) < -4 or min(x0, x1) > width + 4 or max(y0, y1) < -4 or min(y0, y1) > height + 4:
                continue
            dx, dy = x1 - x0, y1 - y0
            steps = int(max(abs(dx), abs(dy)) * 1.15) + 1
            steep = abs(dy) > abs(dx)
            z0, z1 = points[n, k, 2], points[n, k + 1, 2]
            for s in range(steps):
                t = (s + 0.5) / steps
                x, y, z = x0 + dx * t, y0 + dy * t, z0 + (z1 - z0) * t
                w = widths[n] * (1.0 - 0.55 * (k + t) / (count - 1))
                low = (x if steep else y) - 0.5 * w
                first = int(np.ceil(low - 0.5))
                last = int(np.ceil(low + w - 0.5))
                along = int(np.floor(y if steep else x))
                for across in range(first, last):
                    row, column = (along, across) if steep else (across, along)
                    if row < 0 or column < 0 or row >= height or column >= width or z <= depth[row, column]:
                        continue
                    depth[row, column] = z
                    triangle[row, column] = -2
                    parts[row, column] = label
                    for c in range(3):
                        painted[row, column, c] = colours[n, k, c] * (1 - t) + colours[n, k + 1, c] * t


@jit
def blend_glass(screen, faces, colour, alpha, depth, parts, label, painted):
    """Lay tinted, see-through triangles over what is painted, where nothing is nearer. Depth is left alone.

    Args:
        screen (V, 3), faces (F, 3). colour (3,) linear, alpha 0..1; ``label`` 255 leaves the part index alone.
    """
    height, width = depth.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = screen[a, 0], screen[a, 1], screen[a, 2]
        ux, uy, vx, vy = screen[b, 0] - ax, screen[b, 1] - ay, screen[c, 0] - ax, screen[c, 1] - ay
        area = ux * vy - uy * vx
        if area == 0.0:
            continue
        left, right = (
            max(0, int(np.ceil(min(ax, ax + ux, ax + vx) - 0.5))),
            min(width - 1, int(np.floor(max(ax, ax + ux, ax + vx) - 0.5))),
        )
        top, bottom = (
            max(0, int(np.ceil(min(ay, ay + uy, ay + vy) - 0.5))),
            min(height - 1, int(np.floor(max(ay, ay + uy, ay + vy) - 0.5))),
        )
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                px, py = column + 0.5 - ax, row + 0.5 - ay
                s, t = (px * vy - py * vx) / area, (ux * py - uy * px) / area
                if s < 0.0 or t < 0.0 or s + t >= 1.0:
                    continue
                if az + s * (screen[b, 2] - az) + t * (screen[c, 2] - az) < depth[row, column]:
                    continue
                for k in range(3):
                    painted[row, column, k] += (colour[k] - painted[row, column, k]) * alpha
                if label != 255:
                    parts[row, column] = label
