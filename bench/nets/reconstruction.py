"""How well a reconstruction matches, as losses of a training: pixels, features, identity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.images import resize
from bench.nets.perceptual import PerceptualDistance

Features = Callable[[Tensor], Tensor]  # faces (B, 3, R, R) -> (B, D) of unit length
OPTIONS: Mapping[str, Any] = {
    "loss_size": 0,  # side that renders and pictures are pooled to before all losses; 0: that of the pictures
    "perceptual_size": 0,  # side for the perceptual loss alone; 0: that of all losses
    "perceptual_stages": [0, 2, 4, 10, 15],  # as bench.nets.perceptual.PerceptualDistance
}


class Reconstruction:
    """The losses ``l2``, ``perceptual`` and ``identity``: those that have a weight.

    Args:
        options: values of :data:`OPTIONS`. weights: loss -> weight.
        device: where to compute.
        features: the recogniser of the identity loss, frozen; needed where ``identity`` has a weight.

    Source: Richardson et al. 2021 (pSp), Sec. 3.2, also of e4e, ReStyle and HFGI. There the features are those of
    LPIPS on AlexNet; here EfficientNet-Lite0, which comes by pip.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        weights: Mapping[str, float],
        device: torch.device,
        features: Features | None = None,
    ):
        self.options, self.weights, self.features = options, weights, features
        self.distance = None
        if weights.get("perceptual"):
            self.distance = PerceptualDistance(options["perceptual_stages"]).to(device)

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
