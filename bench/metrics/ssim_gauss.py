"""Structural similarity with the Gaussian window of Wang et al. 2004, equal to scikit-image's, for a batch at once.

The window is a band matrix, so a filter pass is a matrix product on strips of the picture: exact float64, fast on a CPU
(where float64 convolution is not) and on a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench import api

SIGMA, RADIUS = 1.5, 5  # scikit-image: radius = int(truncate * sigma + 0.5) with truncate = 3.5, so an 11 x 11 window
WINDOW = 2 * RADIUS + 1
C1, C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 with data_range L = 1
STRIP = 32  # output rows per product: small enough that few of its factors are the band's zeros
PIXELS_AT_ONCE = 1 << 15  # on a CPU, bounds the working set to about its cache


class Metric(api.PairMetric):
    """Mean SSIM over the positions where the window fits, per channel, then over channels. 1 is identical."""

    title = "SSIM"
    value_range, higher_is_better, ideal = (0.0, 1.0), True, 1.0
    source = (
        "Wang et al. 2004; skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5, "
        "use_sample_covariance=False, data_range=1, channel_axis=...)"
    )
    details = "rgb|gauss11,sigma=1.5|data_range=1|border cropped"

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], sides of 11 or more -> (B,) float64 in [-1, 1]."""
        x, x_hat = self.pair(x, x_hat)
        if min(x.shape[-2:]) < WINDOW:
            raise api.ShapeError(
                "picture too small for the SSIM window", got=tuple(x.shape[-2:]), expected=f"sides of {WINDOW} or more"
            )
        step = len(x) if x.device.type != "cpu" else PIXELS_AT_ONCE // (x.shape[-1] * x.shape[-2])
        step = max(step, 1)
        parts = [ssim(a, b) for a, b in zip(x.split(step), x_hat.split(step), strict=True)]
        return torch.cat(parts)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """(B, C, H, W) floats in [0, 1] -> (B,): mean over channels and all positions where the window fits.

    Only the sum of the two variances occurs in the formula, so four filtered maps are enough, not five.
    """
    channels = x.shape[1]
    maps = gaussian_valid(torch.cat([x, y, x * x + y * y, x * y], dim=1))
    mean_x, mean_y, mean_squares, mean_product = maps.split(channels, dim=1)
    product, squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    structure = (2 * (mean_product - product) + C2) / (mean_squares - squares + C2)
    return ((2 * product + C1) / (squares + C1) * structure).flatten(1).mean(1)


def gaussian_valid(x: Tensor) -> Tensor:
    """Filter (..., H, W) by the 11 x 11 Gaussian where it fits: (..., H - 10, W - 10), same dtype."""
    band = _band(x.dtype, x.device)
    height, width = x.shape[-2] - 2 * RADIUS, x.shape[-1] - 2 * RADIUS
    rows = x.new_empty(*x.shape[:-2], height, x.shape[-1])
    for top in range(0, height, STRIP):
        n = min(STRIP, height - top)
        rows[..., top : top + n, :] = band[:n, : n + 2 * RADIUS] @ x[..., top : top + n + 2 * RADIUS, :]
    out = x.new_empty(*x.shape[:-2], height, width)
    for left in range(0, width, STRIP):
        n = min(STRIP, width - left)
        out[..., left : left + n] = rows[..., left : left + n + 2 * RADIUS] @ band[:n, : n + 2 * RADIUS].T
    return out


def _band(dtype: torch.dtype, device: torch.device) -> Tensor:
    """(STRIP, STRIP + 10): row i holds the window at columns i..i+10."""
    taps = torch.exp(-0.5 * (torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64) / SIGMA) ** 2)
    taps = taps / taps.sum()
    band = torch.zeros(STRIP, STRIP + 2 * RADIUS, dtype=torch.float64)
    for i in range(WINDOW):
        band.diagonal(i)[:] = taps[i]
    return band.to(device=device, dtype=dtype)
