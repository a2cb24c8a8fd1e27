"""MS-SSIM as HyperStyle and StyleRes print it: a port that guesses its range, on pictures in [-1, 1].

The guess is made anew at each level of the pyramid, from the reconstruction: 2 if any of its values is below -0.5,
else 1. Pooling takes dark spots away, so levels of one picture have different constants. On [-1, 1] means go through
0, where the luminance term loses its meaning, and may make the coarsest level negative. Its fractional power is then not a
number: the official scripts leave such pictures out of the mean in silence, here they are counted and named. For
comparison with published columns only; ``ms_ssim`` is the definition.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench import api
from bench.measures.ssim import SCALE_WEIGHTS, gaussian, halve, in_steps, means

DARK = -0.5  # values below it make the port take the range for 2


class Metric(api.PairMetric):
    """Product over five scales of mean structure (at the coarsest SSIM), NaN where one of them is negative."""

    title = "MS-SSIM (±1 port)"
    size, resize = 256, "pil_bilinear"
    value_range, higher_is_better, ideal = (-1.0, 1.0), True, 1.0
    source = (
        "criteria/ms_ssim.py of yuval-alaluf/hyperstyle 21193fb, after jorge-pessoa/pytorch-msssim, for one picture at "
        "a time; float64 where it has float32"
    )
    details = "rgb|gauss11,sigma=1.5|5 scales|range guessed per level from the reconstruction|NaN kept"

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1], sides of 176 or more -> (B,) float64 up to 1, NaN where a level is negative."""
        return in_steps(guessing, *self.pair(x, x_hat))


def guessing(x: Tensor, x_hat: Tensor) -> Tensor:
    """(B, C, H, W) source and reconstruction in [-1, 1] -> (B,); pictures are independent."""
    levels = []
    for scale in range(len(SCALE_WEIGHTS)):
        if scale:
            x, x_hat = halve(x), halve(x_hat)
        guess = torch.where(x_hat.flatten(1).amin(1) < DARK, 2.0, 1.0).to(x)[:, None, None, None]
        whole, structure = means(x / guess, x_hat / guess, gaussian())  # as with constants (K L)^2 for range L
        levels.append((whole if scale == len(SCALE_WEIGHTS) - 1 else structure).mean(1))  # channels before the power
    return torch.stack(levels, 1).pow(x.new_tensor(SCALE_WEIGHTS)).prod(1)
