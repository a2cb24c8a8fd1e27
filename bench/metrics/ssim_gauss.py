"""Structural similarity with the Gaussian window of Wang et al. 2004, equal to scikit-image's, for a batch at once."""

from __future__ import annotations

from torch import Tensor

from bench import api
from bench.measures.ssim import gaussian, in_steps, ssim


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
        return in_steps(lambda a, b: ssim(a, b, gaussian()), *self.pair(x, x_hat))
