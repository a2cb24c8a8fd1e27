"""Additive angular margin: what makes a recogniser's features of one face gather."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ArcFaceMargin(nn.Module):
    """Classification of unit features by angles to one direction per identity, the right one handicapped.

    The angle to the right direction counts as larger by ``margin``; near pi, where that would turn the cosine around
    and let the loss fall, the cosine is lowered by a line instead (as in the authors' code: keeps it monotonic).

    Args:
        identities: K. features: D. scale: factor on cosines before the softmax.

    Source: Deng et al. 2019 (ArcFace), Eq. 3.
    """

    def __init__(self, identities: int, features: int, scale: float):
        super().__init__()
        self.scale = scale
        self.directions = nn.Parameter(torch.randn(identities, features) * features**-0.5)

    def forward(self, features: Tensor, identity: Tensor, margin: float) -> Tensor:
        """(B, D) of unit length, (B,) int64 identities, margin in radians -> mean cross entropy."""
        cosine = F.linear(features, F.normalize(self.directions, dim=1)).clamp(-1 + 1e-6, 1 - 1e-6)
        right = cosine.gather(1, identity[:, None])
        sine = (1 - right.square()).sqrt()
        harder = right * math.cos(margin) - sine * math.sin(margin)
        harder = torch.where(right > math.cos(math.pi - margin), harder, right - margin * math.sin(margin))
        return F.cross_entropy(self.scale * cosine.scatter(1, identity[:, None], harder), identity)
