"""LPIPS as a metric: the package's, on trunks out of a metric's weights (see :mod:`bench.nets.lpips_distance`)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.api import MetricWeights, PairMetric
from bench.nets.lpips_distance import TRUNKS, empty_trunk, fill_trunk, heads_of, lpips_on

__all__ = ["build", "lpips_on", "trunk_of"]


def trunk_of(net: str, weights: MetricWeights, weights_id: str) -> nn.Module:
    """The package's trunk filled with the torchvision weights of ``weights_id`` (keys ``features.<i>.<name>``)."""
    trunk = empty_trunk(net)
    if weights.untrained:
        return _seeded(trunk.to_empty(device="cpu"))
    return fill_trunk(trunk, weights.load(weights_id, "trunk"))


def _seeded(trunk: nn.Module) -> nn.Module:
    """Start values from a fixed seed: He's for convolutions, zero biases."""
    rng = torch.Generator().manual_seed(0)
    for parameter in trunk.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, generator=rng)
        else:
            nn.init.zeros_(parameter)
    return trunk.requires_grad_(False)


def build(net: str, weights: MetricWeights, weights_id: str) -> Any:
    """LPIPS v0.1 on ``alex``, ``vgg`` or ``squeeze``."""
    return lpips_on(trunk_of(net, weights, weights_id), TRUNKS[net][1], heads_of(net))


class LpipsMetric(PairMetric):
    """LPIPS on the trunk that a subclass names.

    Class attributes:
        net: ``alex``, ``vgg`` or ``squeeze``. The trunk's weights are the first of :attr:`weights`.
    """

    net: ClassVar[str]
    size, resize = 256, "pil_bilinear"
    value_range = (-1.0, 1.0)

    def __init__(self, device: torch.device | str = "cpu", weights: MetricWeights | None = None):
        super().__init__(device, weights)
        self.distance = build(self.net, self.networks, self.weights[0]).to(device)

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B,) float64, from features in float32."""
        x, x_hat = self.pair(x, x_hat)
        with torch.no_grad():
            return self.distance(x.float(), x_hat.float()).flatten().to(x.dtype)
