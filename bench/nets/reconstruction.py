"""How well a reconstruction matches, as losses of a training: pixels, features, identity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import BenchError
from bench.images import resize
from bench.nets.lpips_distance import lpips_loss
from bench.nets.perceptual import PerceptualDistance

Load = Callable[[str], Mapping[str, Tensor]]  # id of weights -> state dict
Features = Callable[[Tensor], Tensor]  # faces (B, 3, R, R) -> (B, D) of unit length
OPTIONS: Mapping[str, Any] = {
    "loss_size": 0,  # side that renders and pictures are pooled to before all losses; 0: that of the pictures
    "perceptual": "",  # "": features of EfficientNet-Lite0, by pip; "lpips_alex": LPIPS, its trunk's weights by that id
    "perceptual_size": 0,  # side for the perceptual loss alone; 0: that of all losses
    "perceptual_stages": [0, 2, 4, 10, 15],  # of EfficientNet-Lite0, as bench.nets.perceptual.PerceptualDistance
}


class Reconstruction:
    """The losses ``l2``, ``perceptual`` and ``identity``: those that have a weight.

    Args:
        options: values of :data:`OPTIONS`. weights: loss -> weight.
        device: where to compute.
        features: the recogniser of the identity loss, frozen; needed where ``identity`` has a weight.
        load: gives weights of a perceptual loss that is named; needed where one is.

    Source: Richardson et al. 2021 (pSp), Sec. 3.2, also of e4e, ReStyle and HFGI. There the perceptual loss is LPIPS on
    AlexNet, whose trunk `bench fetch` brings; EfficientNet-Lite0 comes by pip.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        weights: Mapping[str, float],
        device: torch.device,
        features: Features | None = None,
        load: Load | None = None,
    ):
        self.options, self.weights, self.features = options, weights, features
        self.distance = perceptual_distance(options, load).to(device) if weights.get("perceptual") else None

    def __call__(self, x_hat: Tensor, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, R, R) render, unclamped, and picture (B, 3, S, S), S at most R, in [-1, 1] -> scalars."""
        side = self.options["loss_size"] or x.shape[-1]
        x_hat, x = resize(x_hat, side, "area"), resize(x, side, "area")
        losses = {}
        if self.weights.get("l2"):
            losses["l2"] = F.mse_loss(x_hat.float(), x)
        if self.distance is not None:
            small = self.options["perceptual_size"] or side
            losses["perceptual"] = self.distance(resize(x_hat, small, "area"), resize(x, small, "area")).mean()
        if self.features is not None and self.weights.get("identity"):
            with torch.no_grad():
                target = self.features(x)
            losses["identity"] = (1 - (self.features(x_hat) * target).sum(1).float()).mean()
        return losses


def perceptual_distance(options: Mapping[str, Any], load: Load | None) -> nn.Module:
    """The perceptual loss that the options name: pictures (B, 3, H, W) in [-1, 1], twice -> one distance a pair.

    Raises:
        UnknownName: no such loss. WeightsError: its weights are not here.
    """
    if not options["perceptual"]:
        return PerceptualDistance(options["perceptual_stages"])
    if load is None:
        raise BenchError(f"perceptual loss {options['perceptual']!r} needs weights", expected="a way to load them")
    return lpips_loss(options["perceptual"], load)
