"""``ssim_w51`` on gray pictures: the other reading of the paper's Table 1.

Gray forgives errors of colour: values lie about 0.01 above those of the RGB form. Where the guess comes from:
docs/numerics.md.
"""

from __future__ import annotations

from torch import Tensor

from bench import api
from bench.measures.gray import gray
from bench.measures.ssim import in_steps, ssim, uniform


class Metric(api.PairMetric):
    """Mean SSIM of both pictures made gray, uniform 51 x 51 window, sample covariance. 1 is identical."""

    title = "SSIM (51 px, gray)"
    size, resize = 256, "pil_bilinear"
    value_range, higher_is_better, ideal = (0.0, 1.0), True, 1.0
    source = (
        "skimage.metrics.structural_similarity(win_size=51, data_range=1) after skimage.color.rgb2gray, as in "
        "knazeri/edge-connect scripts/metrics.py; that HFGI's Table 1 used it is inferred, RGB or gray is not decided"
    )
    details = "gray 0.2125,0.7154,0.0721|uniform51|sample covariance|data_range=1|border cropped"

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], sides of 51 or more -> (B,) float64 in [-1, 1]."""
        x, x_hat = self.pair(x, x_hat)
        return in_steps(lambda a, b: ssim(a, b, uniform(51), sample=True), gray(x), gray(x_hat))
