"""Mean squared error on [-1, 1] at 256 px: the "L2" that pSp and its descendants print, four times that on [0, 1]."""

from __future__ import annotations

from torch import Tensor

from bench import api


class Metric(api.PairMetric):
    """mean (x - x_hat)^2, every channel and pixel alike. 0 is perfect, 4 is black against white."""

    title = "L2 (±1, 256 px)"
    size, resize = 256, "pil_bilinear"
    value_range, higher_is_better, ideal = (-1.0, 1.0), False, 0.0
    source = "closed form; scripts/calc_losses_on_images.py --mode l2 of eladrich/pixel2style2pixel 5cfff38"
    details = "rgb"

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B,) float64."""
        x, x_hat = self.pair(x, x_hat)
        return (x - x_hat).square_().flatten(1).mean(1)
