"""EfficientNet-Lite0 as a trunk for LPIPS and as a feature extractor for torch-fidelity; its weights come by pip."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.nets.perceptual import MEAN, STD, PerceptualDistance, pretrained_head

NAME, FEATURES = "efflite0", 1280


class Trunk(nn.Module):
    """Feature maps after blocks 0, 2, 4, 10 and 15: at 1/2 to 1/32 of the side."""

    CHANNELS = (16, 24, 40, 112, 320)

    def __init__(self) -> None:
        super().__init__()
        self.net = _pads_inside(PerceptualDistance())

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised to ImageNet's statistics -> five maps."""
        return self.net.maps(x)


class Pooled(nn.Module):
    """The 1,280 numbers before the classifier: last convolution, averaged over positions."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = _pads_inside(PerceptualDistance(stages=(15,))), pretrained_head()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> (B, 1280) float32."""
        return self.head(self.trunk.maps((x.float() - self.mean) / self.std)[-1]).mean((2, 3))


def _pads_inside(net: PerceptualDistance) -> PerceptualDistance:
    """Let the package's convolutions pad by themselves where all sides are padded alike: the same bits, no copy made."""
    for layer in net.modules():
        padding = getattr(getattr(layer, "static_padding", None), "padding", ())
        if len(set(padding)) == 1:
            layer.padding, layer.static_padding = padding[:2], nn.Identity()
    return net


def extractor() -> nn.Module:
    """The extractor as torch-fidelity makes it from its registered name; returns ((B, 1280) float32,)."""
    from torch_fidelity.utils import create_feature_extractor

    register()
    return create_feature_extractor(NAME, [str(FEATURES)], cuda=False, verbose=False)


def register() -> None:
    """Make ``efflite0`` known to torch-fidelity, so that its own functions and command take it too; once a process."""
    import torch_fidelity
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    class EffLite0(FeatureExtractorBase):
        """uint8 (B, 3, H, W) -> ((B, 1280),)."""

        def __init__(self, name: str, features_list: list[str], **_: Any):
            super().__init__(name, features_list)
            self.pooled = Pooled().eval().requires_grad_(False)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return (str(FEATURES),)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return str(FEATURES)

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (self.pooled(x),)

    if NAME not in FEATURE_EXTRACTORS_REGISTRY:
        torch_fidelity.register_feature_extractor(NAME, EffLite0)
