"""Structural similarity for a batch at once, with any separable window: equal to scikit-image's and to piq's.

Written twice, because of speed: for a CPU compiled (:mod:`bench.measures.ssim_compiled`), and in torch for other devices
and for a CPU without numba. There a window is a band matrix, so a filter pass is a matrix product on strips of the
picture: exact float64, which convolution is slow at. One of equal taps is a difference of running sums.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import ShapeError

SIGMA, RADIUS = 1.5, 5  # scikit-image: radius = int(truncate * sigma + 0.5) with truncate = 3.5, so an 11 x 11 window
C1, C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 with data_range L = 1
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of Wang et al. 2003, finest scale first
PIXELS_AT_ONCE = 1 << 15  # on a CPU, bounds the working set to about its cache


@lru_cache(maxsize=1)
def gaussian() -> tuple[float, ...]:
    """The 11 taps of Wang et al. 2004, summing to 1."""
    taps = torch.exp(-0.5 * (torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64) / SIGMA) ** 2)
    return tuple((taps / taps.sum()).tolist())


def uniform(side: int) -> tuple[float, ...]:
    """``side`` equal taps."""
    return (1.0 / side,) * side


def maps(x: Tensor, y: Tensor, taps: tuple[float, ...], sample: bool = False) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM at every position where the window fits.

    Only the sum of the two variances occurs in the formula, so four filtered maps are enough, not five.

    Args:
        x, y: (B, C, H, W) floats in [0, 1].
        taps: the window along one side. sample: variances with n - 1 in the denominator (scikit-image's default).
    Returns:
        luminance and contrast-structure, (B, C, H - k + 1, W - k + 1) each; SSIM is their product.
    """
    _check_fits(x, taps)
    channels = x.shape[1]
    filtered = filter_valid(torch.cat([x, y, x * x + y * y, x * y], dim=1), taps)
    mean_x, mean_y, mean_squares, mean_product = filtered.split(channels, dim=1)
    product, squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    unbias = _unbias(taps, sample)
    structure = (2 * unbias * (mean_product - product) + C2) / (unbias * (mean_squares - squares) + C2)
    return (2 * product + C1) / (squares + C1), structure


def means(x: Tensor, y: Tensor, taps: tuple[float, ...], sample: bool = False) -> tuple[Tensor, Tensor]:
    """SSIM and its structure factor averaged over positions, (B, C) each; arguments as of :func:`maps`."""
    _check_fits(x, taps)
    if x.device.type != "cpu":
        whole, structure = maps(x, y, taps, sample)
        return (whole * structure).mean((2, 3)), structure.mean((2, 3))
    compiled, equal = _compiled(x.dtype), len(set(taps)) == 1
    if compiled is None or not (equal or taps == gaussian()):
        return means_in_bands(x, y, taps, sample)
    planes, unbias = (_planes(x), _planes(y)), _unbias(taps, sample)
    if equal:
        moments = compiled.uniform(*planes, len(taps), unbias, C1, C2)
    else:
        moments = compiled.symmetric(*planes, taps[: RADIUS + 1], unbias, C1, C2)
    whole, structure = torch.from_numpy(moments).unflatten(1, x.shape[:2])
    return whole, structure


def means_in_bands(x: Tensor, y: Tensor, taps: tuple[float, ...], sample: bool = False) -> tuple[Tensor, Tensor]:
    """As :func:`means`, by torch on a CPU: in bands of rows, channel by channel, so that what is in work stays in cache."""
    reach, (height, width) = len(taps) - 1, x.shape[-2:]
    band = max(PIXELS_AT_ONCE // width - reach, 2 * reach, 1)
    count = (height - reach) * (width - reach)
    whole, structure = x.new_zeros(2, *x.shape[:2])
    for c in range(x.shape[1]):
        for top in range(0, height - reach, band):
            rows = slice(top, min(top + band, height - reach) + reach)
            one, other = maps(x[:, c : c + 1, rows], y[:, c : c + 1, rows], taps, sample)
            structure[:, c] += other.sum((1, 2, 3))
            whole[:, c] += (one * other).sum((1, 2, 3))
    return whole / count, structure / count


def ssim(x: Tensor, y: Tensor, taps: tuple[float, ...], sample: bool = False) -> Tensor:
    """(B, C, H, W) floats in [0, 1] -> (B,): mean over channels and all positions where the window fits."""
    return means(x, y, taps, sample)[0].mean(1)


def multi_scale(x: Tensor, y: Tensor, taps: tuple[float, ...]) -> Tensor:
    """(B, C, H, W) floats in [0, 1], sides of 161 or more -> (B,) in [0, 1].

    Per channel: structure at the four finest of five scales, structure and luminance at the coarsest, each averaged
    over positions, cut at 0 and raised to its weight; then the product, then the mean of channels. Halving is by 2 x 2
    means; where a side is odd, the first row and column are doubled before.

    Source: Wang et al. 2003; choices that the paper leaves open (cut at 0, padding) as in piq 0.8, multi_scale_ssim.
    """
    least = (len(taps) - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
    if min(x.shape[-2:]) < least:
        raise ShapeError("picture too small for five scales", got=tuple(x.shape[-2:]), expected=f"{least} or more")
    parts = []
    for scale in range(len(SCALE_WEIGHTS)):
        if scale:
            odd = max(side % 2 for side in x.shape[-2:])
            x, y = (halve(F.pad(p, (odd, 0, odd, 0), mode="replicate") if odd else p) for p in (x, y))
        whole, structure = means(x, y, taps)
        parts.append(whole if scale == len(SCALE_WEIGHTS) - 1 else structure)
    weights = x.new_tensor(SCALE_WEIGHTS).view(-1, 1, 1)
    # not torch.relu: it would turn NaN of a broken picture into a score
    return torch.stack(parts).clamp(min=0).pow(weights).prod(0).mean(1)


def in_steps(measure: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """``measure`` on parts of a batch that fit a CPU's cache, joined; on other devices on all of it."""
    step = len(x) if x.device.type != "cpu" else PIXELS_AT_ONCE // (x.shape[-1] * x.shape[-2])
    parts = [measure(a, b) for a, b in zip(x.split(max(step, 1)), y.split(max(step, 1)), strict=True)]
    return torch.cat(parts)


def _check_fits(x: Tensor, taps: tuple[float, ...]) -> None:
    """Raises ShapeError where the window fits nowhere."""
    if min(x.shape[-2:]) < len(taps):
        raise ShapeError(
            "picture too small for the SSIM window", got=tuple(x.shape[-2:]), expected=f"sides of {len(taps)} or more"
        )


def _unbias(taps: tuple[float, ...], sample: bool) -> float:
    """What turns variances in a window into sample variances, or 1."""
    count = len(taps) ** 2
    return count / (count - 1) if sample else 1.0


def halve(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H // 2, W // 2): means of 2 x 2; the last row and column of odd sides are left out."""
    compiled = _compiled(x.dtype) if x.device.type == "cpu" else None
    if compiled is None:
        return F.avg_pool2d(x, 2)
    return torch.from_numpy(compiled.halve(_planes(x))).unflatten(0, x.shape[:2])


@lru_cache(maxsize=2)
def _compiled(dtype: torch.dtype) -> ModuleType | None:
    """The compiled form for a CPU: of float64, and where numba is installed (the extra ``render``); else None."""
    if dtype != torch.float64 or find_spec("numba") is None:
        return None
    from bench.measures import ssim_compiled

    return ssim_compiled


def _planes(x: Tensor) -> np.ndarray:
    """(B, C, H, W) -> (B C, H, W)."""
    return x.contiguous().flatten(0, 1).numpy()


def filter_valid(x: Tensor, taps: tuple[float, ...]) -> Tensor:
    """Filter (..., H, W) by the window where it fits: (..., H - k + 1, W - k + 1), same dtype."""
    if len(set(taps)) == 1 and x.dtype == torch.float64:  # long sums cost float32 digits
        return _box(_box(x, len(taps), -2), len(taps), -1) * taps[0] ** 2
    reach = len(taps) - 1
    strip = max(32, reach)  # output rows per product: few of its factors are the band's zeros
    band = _band(taps, strip).to(x)
    height, width = x.shape[-2] - reach, x.shape[-1] - reach
    rows = x.new_empty(*x.shape[:-2], height, x.shape[-1])
    for top in range(0, height, strip):
        n = min(strip, height - top)
        rows[..., top : top + n, :] = band[:n, : n + reach] @ x[..., top : top + n + reach, :]
    out = x.new_empty(*x.shape[:-2], height, width)
    for left in range(0, width, strip):
        n = min(strip, width - left)
        out[..., left : left + n] = rows[..., left : left + n + reach] @ band[:n, : n + reach].T
    return out


def _box(x: Tensor, count: int, dim: int) -> Tensor:
    """Sums of ``count`` neighbours along one side, from running sums: their cost does not depend on ``count``."""
    sums = x.cumsum(dim)
    first, rest = sums.narrow(dim, count - 1, 1), sums.narrow(dim, count, x.shape[dim] - count)
    return torch.cat([first, rest - sums.narrow(dim, 0, x.shape[dim] - count)], dim)


@lru_cache(maxsize=8)
def _band(taps: tuple[float, ...], strip: int) -> Tensor:
    """(strip, strip + k - 1) float64: row i holds the window at columns i to i + k - 1."""
    band = torch.zeros(strip, strip + len(taps) - 1, dtype=torch.float64)
    for i, tap in enumerate(taps):
        band.diagonal(i)[:] = tap
    return band
