"""Peak signal-to-noise ratio in dB, per picture, peak 1 on [0, 1].

Identical pictures have an infinite ratio (scikit-image returns inf). One of them would make a mean infinite, and
leaving it out would punish the method that was exact. So the squared error is floored at 1e-10 and values stop at
100 dB, which no two different 8-bit pictures of up to 226 px reach (one sample off by one level is 95.1 dB at 128 px).
The cap is in the signature, and tables say how many pictures sit on it.
"""

from __future__ import annotations

from torch import Tensor

from bench import api

FLOOR = 1e-10  # of the squared error; -10 log10 of it is 100 dB


class Metric(api.PairMetric):
    """-10 log10(max(MSE, 1e-10)). The mean over pictures is a mean of decibels, not the decibels of a mean."""

    title, unit = "PSNR", "dB"
    value_range, higher_is_better, ideal = (0.0, 1.0), True, 100.0
    source = "skimage.metrics.peak_signal_noise_ratio with data_range=1, except identical pictures"
    details = "rgb|cap=100dB"

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B,) float64, at most 100; NaN stays NaN."""
        x, x_hat = self.pair(x, x_hat)
        mse = (x - x_hat).square_().flatten(1).mean(1)
        return -10.0 * mse.clamp(min=FLOOR).log10()
