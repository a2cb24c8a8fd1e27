"""Multi-scale structural similarity at 256 px on [0, 1].

Five scales and an 11-pixel window need sides of 161, so smaller pictures are enlarged first. Papers that report
"MS-SSIM" of GAN inversions mostly computed a port that guesses its range from the data ([-1, 1], where the luminance
term loses its meaning); this is the definition, see docs/numerics.md.
"""

from __future__ import annotations

from torch import Tensor

from bench import api
from bench.measures.ssim import gaussian, in_steps, multi_scale


class Metric(api.PairMetric):
    """Product over five scales of mean structure (at the coarsest with luminance), mean over channels."""

    title = "MS-SSIM"
    size, resize = 256, "pil_bilinear"
    value_range, higher_is_better, ideal = (0.0, 1.0), True, 1.0
    source = "Wang et al. 2003; piq.multi_scale_ssim(data_range=1) in float64"
    details = "rgb|gauss11,sigma=1.5|5 scales|data_range=1|cut at 0"

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], sides of 161 or more -> (B,) float64 in [0, 1]."""
        return in_steps(lambda a, b: multi_scale(a, b, gaussian()), *self.pair(x, x_hat))
