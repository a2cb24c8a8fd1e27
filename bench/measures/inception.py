"""The Inception network of FID and KID as torch-fidelity builds it, filled with verified weights."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import MetricWeights

LAYER = "2048"


def network(weights: MetricWeights, weights_id: str) -> nn.Module:
    """torch-fidelity's FeatureExtractorInceptionV3, last pooling layer, frozen.

    It resizes to 299 by itself as TensorFlow 1 did. Its own loader unpickles a file; here it gets an empty one and the
    verified tensors afterwards, strictly.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Verified(FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
            return super().load_state_dict(state_dict, *args, **kwargs) if state_dict else None

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Verified("inception-v3-compat", [LAYER], feature_extractor_weights_path=empty)
    if not weights.untrained:
        net.load_state_dict(dict(weights.load(weights_id, "network")))
    return net.eval().requires_grad_(False)


def features(net: nn.Module, device: torch.device | str) -> Callable[[Tensor], Tensor]:
    """The function a set metric needs: (B, 3, H, W) uint8 -> (B, 2048) float32."""
    net = net.to(device)

    def call(x: Tensor) -> Tensor:
        with torch.no_grad():
            return net(x.to(device))[0].float().cpu()

    return call
