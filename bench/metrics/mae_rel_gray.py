"""``mae_rel`` on gray pictures: the other reading of the paper's Table 1.

The script it is probably computed with turns pictures gray; a copy of it near the authors does not. Where the guess
comes from: docs/numerics.md.
"""

from __future__ import annotations

from torch import Tensor

from bench import api
from bench.measures.gray import gray


class Metric(api.PairMetric):
    """sum |x - x_hat| / sum (x + x_hat) over pixels of both pictures made gray. 0 is perfect."""

    title = "Relative MAE (gray)"
    size, resize = 256, "pil_bilinear"
    value_range, higher_is_better, ideal = (0.0, 1.0), False, 0.0
    source = (
        "compare_mae of knazeri/edge-connect scripts/metrics.py after skimage.color.rgb2gray; that HFGI's Table 1 used "
        "it is inferred, RGB or gray is not decided"
    )
    details = "gray 0.2125,0.7154,0.0721|two black pictures are 0"

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B,) float64 in [0, 1]."""
        a, b = (gray(image) for image in self.pair(x, x_hat))
        error, brightness = (a - b).abs().flatten(1).sum(1), (a + b).flatten(1).sum(1)
        return error / brightness.masked_fill(brightness == 0, 1.0)
