"""Random perspective warps of batches: the misalignment that distortion alignment learns to undo.

The warp equals torchvision's tensor ``perspective`` (bilinear, zeros outside); beyond it, every picture of a batch may
have its own corners, and all random numbers come from a ``torch.Generator`` on the CPU, the same for every device.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import BenchError, ShapeError
from bench.nets.ops import check_shape


def corners(height: int, width: int) -> Tensor:
    """(4, 2) centres (x, y) of the corner pixels: top left, top right, bottom right, bottom left; in pixels."""
    right, bottom = width - 1, height - 1
    return torch.tensor([[0, 0], [right, 0], [right, bottom], [0, bottom]])


def draw_endpoints(
    batch: int, height: int, width: int, scale: float, rng: torch.Generator, shared: bool = False
) -> Tensor:
    """Corners moved inwards at random.

    Args:
        scale: in [0, 1]; each coordinate of each corner moves by a whole number of pixels, uniform in
            0 .. int(scale * side / 2), both ends included (0 to 19 for scale 0.15 at 256).
        rng: generator on the CPU.
        shared: one draw for the whole batch, as in the authors' release, instead of one for each picture.
    Returns:
        (B, 4, 2) int64, ordered as :func:`corners`.
    Raises:
        BenchError: scale outside [0, 1].
    """
    if not 0 <= scale <= 1:
        raise BenchError("perspective scale out of range", got=scale, expected="0 to 1")
    draws = 1 if shared else batch
    offsets = [torch.randint(0, int(scale * (side // 2)) + 1, (draws, 4), generator=rng) for side in (width, height)]
    inwards = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    return (corners(height, width) + inwards * torch.stack(offsets, 2)).expand(batch, -1, -1)


def coefficients(endpoints: Tensor, height: int, width: int) -> Tensor:
    """Projective map from points of the warped picture back to points of the source.

    Args:
        endpoints: (B, 4, 2) where the source's corners come to lie, in pixels.
    Returns:
        (B, 8) float64 a..h on the CPU: a point (x, y) is taken from (a x + b y + c, d x + e y + f) / (g x + h y + 1).
    Raises:
        BenchError: three corners on one line.
    """
    x, y = endpoints.cpu().to(torch.float64).unbind(-1)  # float64 is no luxury: g and h are about 1e-4
    u, v = corners(height, width).to(torch.float64).expand(len(endpoints), -1, -1).unbind(-1)
    one, nil = torch.ones_like(x), torch.zeros_like(x)
    rows_u = torch.stack([x, y, one, nil, nil, nil, -u * x, -u * y], -1)
    rows_v = torch.stack([nil, nil, nil, x, y, one, -v * x, -v * y], -1)
    solution, failed = torch.linalg.solve_ex(torch.cat([rows_u, rows_v], 1), torch.cat([u, v], 1))
    if failed.any() or not solution.isfinite().all():
        raise BenchError("no perspective has these corners", got=endpoints.tolist(), expected="four corners of a quad")
    return solution


def warp(x: Tensor, endpoints: Tensor, blend: bool = False) -> Tensor:
    """Move the corners of each picture to its endpoints; what comes from outside is 0.

    Args:
        x: (B, C, H, W), any range; 0 must mean "nothing" (a distortion map).
        endpoints: (B, 4, 2) in pixels, ordered as :func:`corners`.
        blend: weight samples at the border, which mix inside with zeros, by their share of inside once more, as
            torchvision does when it is given a fill colour (its ``RandomPerspective`` gives one from 0.9 on).
    Returns:
        (B, C, H, W). Differentiable in ``x``.
    Raises:
        ShapeError: not one quad for each picture.
        BenchError: a quad that is none.
    """
    b, _, height, width = x.shape
    check_shape("endpoints", endpoints, (b, 4, 2))
    grid = _grid(coefficients(endpoints, height, width).to(x.device, x.dtype), height, width)
    if blend:
        x = torch.cat([x, x.new_ones(b, 1, height, width)], 1)
    y = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return y[:, :-1] * y[:, -1:] if blend else y


def _grid(theta: Tensor, height: int, width: int) -> Tensor:
    """(B, 8) coefficients -> (B, H, W, 2) places in [-1, 1] to sample at.

    The map is applied to indices plus a half, though it was fitted to indices: torchvision's convention. Products and
    sums are separate operations: fused ones move a sharp picture by 1e-5, and differently on every machine.
    """
    a, b, c, d, e, f, g, h = theta[:, :, None, None].unbind(1)
    x = torch.arange(width, device=theta.device, dtype=theta.dtype)[None, None] + 0.5
    y = torch.arange(height, device=theta.device, dtype=theta.dtype)[None, :, None] + 0.5
    scale = g * x + h * y + 1
    u, v = (a * x + b * y + c) / (width / 2), (d * x + e * y + f) / (height / 2)
    return torch.stack([u / scale - 1, v / scale - 1], -1)


def random_perspective(
    x: Tensor, rng: torch.Generator, scale: float = 0.15, probability: float = 0.9, shared: bool = False
) -> Tensor:
    """Warp each picture of a batch with some probability.

    Args:
        x: (B, C, H, W) distortion maps.
        rng: generator on the CPU; the number of draws does not depend on what is drawn.
        scale: as :func:`draw_endpoints`.
        probability: that a picture (with ``shared``: the whole batch) is warped; the others come back unchanged.
        shared: the same decision and corners for the whole batch.
    Returns:
        (B, C, H, W).

    Source: Wang et al. 2022 (HFGI), Sec. 3.3; scale and probability of Tengfei-Wang/HFGI e30f33c, which warps a whole
    batch alike (``shared=True``).
    """
    if x.ndim != 4:
        raise ShapeError("a perspective warp takes a batch of pictures", got=tuple(x.shape), expected="(B, C, H, W)")
    b, _, height, width = x.shape
    chosen = torch.rand(1 if shared else b, generator=rng) < probability
    warped = warp(x, draw_endpoints(b, height, width, scale, rng, shared))
    return torch.where(chosen.to(x.device)[:, None, None, None], warped, x)
