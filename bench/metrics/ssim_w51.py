"""Structural similarity with a uniform window of 51 pixels at 256 px: what the paper's Table 1 probably calls SSIM.

Wide windows forgive misplaced detail: values lie 0.15 to 0.25 above those of ``ssim_gauss``. Never compare the two.
Where the guess comes from: docs/numerics.md.
"""

from __future__ import annotations

from torch import Tensor

from bench import api
from bench.measures.ssim import in_steps, ssim, uniform


class Metric(api.PairMetric):
    """Mean SSIM, uniform 51 x 51 window, sample covariance, per channel, then over channels. 1 is identical."""

    title = "SSIM (51 px)"
    size, resize = 256, "pil_bilinear"
    value_range, higher_is_better, ideal = (0.0, 1.0), True, 1.0
    source = (
        "skimage.metrics.structural_similarity(win_size=51, data_range=1, channel_axis=...), as in "
        "knazeri/edge-connect scripts/metrics.py; that HFGI's Table 1 used it is inferred"
    )
    details = "rgb|uniform51|sample covariance|data_range=1|border cropped"

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], sides of 51 or more -> (B,) float64 in [-1, 1]."""
        return in_steps(lambda a, b: ssim(a, b, uniform(51), sample=True), *self.pair(x, x_hat))
