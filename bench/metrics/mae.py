"""Mean absolute error on [0, 1], over all samples of the picture."""

from __future__ import annotations

from torch import Tensor

from bench import api


class Metric(api.PairMetric):
    """mean |x - x_hat|, every channel and pixel alike. 0 is perfect, 1 is black against white."""

    title = "MAE"
    value_range, higher_is_better, ideal = (0.0, 1.0), False, 0.0
    source = "closed form; numpy mean(abs(x - y)) in float64"
    details = "rgb"

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B,) float64."""
        x, x_hat = self.pair(x, x_hat)
        return (x - x_hat).abs_().flatten(1).mean(1)
