"""Relative mean absolute error at 256 px: what the paper's Table 1 probably calls MAE.

The error is divided by twice the mean brightness of the pair, so dark pictures weigh more than in ``mae``. Where the
guess comes from: docs/numerics.md.
"""

from __future__ import annotations

from torch import Tensor

from bench import api


class Metric(api.PairMetric):
    """sum |x - x_hat| / sum (x + x_hat) over all samples. 0 is perfect, 1 is black against anything else."""

    title = "Relative MAE"
    size, resize = 256, "pil_bilinear"
    value_range, higher_is_better, ideal = (0.0, 1.0), False, 0.0
    source = "compare_mae of knazeri/edge-connect scripts/metrics.py; that HFGI's Table 1 used it is inferred"
    details = "rgb|two black pictures are 0"

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B,) float64 in [0, 1]."""
        x, x_hat = self.pair(x, x_hat)
        error, brightness = (x - x_hat).abs_().flatten(1).sum(1), x.flatten(1).sum(1) + x_hat.flatten(1).sum(1)
        return error / brightness.masked_fill(brightness == 0, 1.0)
