"""LPIPS v0.1 on Squeeze, computed by the package of its authors."""

from __future__ import annotations

import torch
from torch import Tensor

from bench import api


class Metric(api.PairMetric):
    """Learned distance of Squeeze features. 0 is identical."""

    title = "LPIPS (Squeeze)"
    version = "v0.1"
    size, resize = 256, "pil_bilinear"
    value_range, higher_is_better, ideal = (-1.0, 1.0), False, 0.0
    source = "Zhang et al. 2018; package lpips 0.1.4, net='squeeze', on pictures resized as the pSp family does"
    details = "rgb|squeeze,imagenet,learned heads|float32"
    weights, packages, extra = ("lpips_squeeze",), ("lpips", "torchvision"), "perceptual"

    def __init__(self, device: torch.device | str = "cpu", weights: api.MetricWeights | None = None):
        from bench.measures.learned import build

        super().__init__(device, weights)
        self.distance = build("squeeze", self.networks, "lpips_squeeze").to(device)

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B,) float64, from features in float32."""
        x, x_hat = self.pair(x, x_hat)
        with torch.no_grad():
            return self.distance(x.float(), x_hat.float()).flatten().to(x.dtype)
