"""Projected discriminator: a frozen network's features, mixed at random, judged by one small discriminator a scale.

Source: Sauer et al. 2021, "Projected GANs Converge Faster", Sec. 3. Different here: pictures keep their side (the paper
enlarges them), the discriminators normalise by groups of channels instead of by batch, so that images do not see each
other, and their last layers give a map of logits at the coarsest side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from bench.errors import ShapeError
from bench.nets.ops import SLOPE
from bench.seeds import seed_for

if TYPE_CHECKING:
    from bench.nets.perceptual import PerceptualDistance

STAGES = (2, 4, 10, 15)  # blocks of EfficientNet-Lite0 at 1/4, 1/8, 1/16, 1/32 of the side
FEATURES = (24, 40, 112, 320)  # their channels
WIDTHS = (48, 64, 96, 128)  # channels after mixing
COARSEST = 4  # side at which the discriminators give their logits


class RandomMixing(nn.Module):
    """Fixed random projections of features: across channels (1x1), then across scales (3x3, enlarged, top down).

    Its numbers follow from a seed and are never trained, so no state dict holds them.

    Args:
        features: channels of the maps, fine to coarse.
        widths: channels after mixing, fine to coarse.
        seed: of the projections.
    """

    def __init__(self, features: Sequence[int] = FEATURES, widths: Sequence[int] = WIDTHS, seed: int = 0):
        super().__init__()
        rng = torch.Generator().manual_seed(seed_for(seed, "projected discriminator"))
        self.scales = len(widths)
        for n, (before, after) in enumerate(zip(features, widths, strict=True)):
            kernel = torch.randn(after, before, 1, 1, generator=rng) / math.sqrt(before)
            self.register_buffer(f"channels_{n}", kernel, persistent=False)
        for n, (after, before) in enumerate(zip(widths, widths[1:], strict=False)):
            kernel = torch.randn(after, before, 3, 3, generator=rng) / math.sqrt(9 * before)
            self.register_buffer(f"scales_{n}", kernel, persistent=False)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, F, h, w), fine to coarse -> as many (B, W, h, w); each holds what the coarser ones tell.

        Raises:
            ShapeError: another number of maps.
        """
        if len(maps) != self.scales:
            raise ShapeError("maps do not fit the mixing", got=len(maps), expected=self.scales)
        mixed = [F.conv2d(x, self.get_buffer(f"channels_{n}")) for n, x in enumerate(maps)]
        for n in range(self.scales - 2, -1, -1):
            coarse = F.conv2d(mixed[n + 1], self.get_buffer(f"scales_{n}"), padding=1)
            coarse = F.interpolate(coarse, mixed[n].shape[-2:], mode="bilinear", align_corners=False)
            mixed[n] = (mixed[n] + coarse) * math.sqrt(0.5)
        return mixed


class ScaleDiscriminator(nn.Sequential):
    """Spectrally normalised discriminator of one scale: (B, W, h, h) -> (B, 1, c, c) logits, c at most 4.

    Args:
        width: channels of the maps.
        side: of the maps; each block halves it, down to 4.
        hidden: channels of the blocks.
    """

    def __init__(self, width: int, side: int, hidden: int = 96):
        layers: list[nn.Module] = []
        while side > COARSEST:
            layers += _block(nn.Conv2d(width, hidden, 4, 2, 1), hidden)
            width, side = hidden, side // 2
        layers += _block(nn.Conv2d(width, hidden, 3, 1, 1), hidden)
        super().__init__(*layers, spectral_norm(nn.Conv2d(hidden, 1, 3, 1, 1)))


def _block(conv: nn.Conv2d, width: int) -> list[nn.Module]:
    return [spectral_norm(conv), nn.GroupNorm(width // 16, width), nn.LeakyReLU(SLOPE)]


class ProjectedDiscriminator(nn.Module):
    """Random mixing and one discriminator a scale. The frozen feature network is given by the caller.

    Args:
        size: side of the pictures.
        seed: of the mixing.
    """

    stages = STAGES

    def __init__(self, size: int, seed: int = 0):
        super().__init__()
        self.size = size
        self.mixing = RandomMixing(seed=seed)
        self.heads = nn.ModuleList(ScaleDiscriminator(width, max(1, size >> (n + 2))) for n, width in enumerate(WIDTHS))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of :data:`STAGES` -> logits of each scale (B, 1, c, c) float32, high for real pictures."""
        return [head(x).float() for head, x in zip(self.heads, self.mixing(maps), strict=True)]

    def of_images(self, network: PerceptualDistance, x: Tensor) -> list[Tensor]:
        """:meth:`forward` of images (B, 3, R, R) in [-1, 1].

        Args:
            network: holds :data:`STAGES` among its stages.
        """
        return self(select(network.stages, network.raw(x), STAGES))


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, 3, R, R) images, reflected at the edges: it keeps a discriminator from judging noise alone.

    Args:
        sigma: standard deviation in pixels; below 0.2 the images come back as they are.

    Source: Sauer et al. 2022 (StyleGAN-XL), which blurs all images of the first part of a training.
    """
    if sigma < 0.2:
        return x
    reach = math.ceil(3 * sigma)
    place = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    taps = torch.softmax(-place.square() / (2 * sigma**2), 0).expand(x.shape[1], 1, 1, -1)
    x = F.pad(x, (reach, reach, reach, reach), mode="reflect")
    x = F.conv2d(x, taps, groups=len(taps))
    return F.conv2d(x, taps.transpose(2, 3), groups=len(taps))


def select(stages: Sequence[int], maps: Sequence[Tensor], selected: Sequence[int]) -> list[Tensor]:
    """The maps of the selected stages, of those a network was asked for."""
    return [maps[list(stages).index(stage)] for stage in selected]
