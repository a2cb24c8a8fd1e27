"""LPIPS v0.1 on VGG, computed by the package of its authors."""

from __future__ import annotations

import torch
from torch import Tensor

from bench import api


class Metric(api.PairMetric):
    """Learned distance of VGG features. 0 is identical."""

    title = "LPIPS (VGG)"
    version = "v0.1"
    size, resize = 256, "pil_bilinear"
    value_range, higher_is_better, ideal = (-1.0, 1.0), False, 0.0
    source = "Zhang et al. 2018; package lpips 0.1.4, net='vgg', on pictures resized as the pSp family does"
    details = "rgb|vgg,imagenet,learned heads|float32"
    weights, packages, extra = ("lpips_vgg",), ("lpips", "torchvision"), "perceptual"

    def __init__(self, device: torch.device | str = "cpu", weights: api.MetricWeights | None = None):
        from bench.measures.learned import build

        super().__init__(device, weights)
        self.distance = build("vgg", self.networks, "lpips_vgg").to(device)

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B,) float64, from features in float32."""
        x, x_hat = self.pair(x, x_hat)
        with torch.no_grad():
            return self.distance(x.float(), x_hat.float()).flatten().to(x.dtype)
