"""Mean squared error on [0, 1]. The pSp family's "L2" is the same on [-1, 1], so four times this number."""

from __future__ import annotations

from torch import Tensor

from bench import api


class Metric(api.PairMetric):
    """mean (x - x_hat)^2, every channel and pixel alike. 0 is perfect."""

    title = "MSE"
    value_range, higher_is_better, ideal = (0.0, 1.0), False, 0.0
    source = "closed form; skimage.metrics.mean_squared_error on float64 in [0, 1]"
    details = "rgb"

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B,) float64."""
        x, x_hat = self.pair(x, x_hat)
        return (x - x_hat).square_().flatten(1).mean(1)
