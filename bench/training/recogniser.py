"""Training of a face recogniser on pictures of known identities, and what it is worth on identities it never saw."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from bench.images import resize
from bench.nets.recogniser import MARGIN, aligned_crop, build
from bench.training.arcface import ArcFaceMargin
from bench.training.data import PackedImages
from bench.training.settings import Strict
from bench.training.supervised import Span, SupervisedConfig, SupervisedTraining

JITTER = 3  # pixels of 128 by which crops are moved and resized


class Architecture(Strict):
    """As :func:`bench.nets.recogniser.build`."""

    kind: str
    side: int = Field(gt=0)
    groups: list[tuple[int, int]] = Field(min_length=1)
    features: int = Field(gt=0)


class RecogniserConfig(SupervisedConfig):
    """Keys of a recogniser's training beside the common ones."""

    format: str = Field(pattern="^(safetensors|onnx)$")
    network: Architecture
    verified: Span = Field(description="identities to be verified on, never trained on")
    margin: float = Field(0.4, ge=0, le=1, description="radians")
    margin_from: float = Field(0.3, ge=0, lt=0.75, description="share of the training after which the margin begins")
    scale: float = Field(24.0, gt=0)
    factors: list[str] = Field(default_factory=list, description="known factors read from the features: a guide")
    guide: float = Field(0.0, ge=0, description="weight of that reading's error")

    @property
    def test_identities(self) -> Span:
        """As ``verified``."""
        return self.verified


class RecogniserTraining(SupervisedTraining[RecogniserConfig]):
    """ArcFace: identities are told apart by the angles between features, with a margin that grows."""

    log_every, checkpoint_every = 3200, 12800

    def read_truth(self, truth: pd.DataFrame) -> None:
        """Keep the known factors, standardised: (N, F)."""
        values = truth[self.config.factors].to_numpy(np.float32)[self.rows]
        self.factors = torch.from_numpy((values - values.mean(0)) / (values.std(0) + 1e-6))

    def build(self) -> Mapping[str, nn.Module]:
        """Make the network, the directions of the identities, and a linear reading of the factors."""
        config, features = self.config, self.config.network.features
        self.net = build(config.network.model_dump())
        self.net.to(self.device).to(memory_format=torch.channels_last)
        self.head = ArcFaceMargin(config.identities[1] - config.identities[0], features, config.scale).to(self.device)
        self.reader = nn.Linear(features, max(len(config.factors), 1)).to(self.device)
        return {"modules": nn.ModuleDict({"net": self.net, "head": self.head, "reader": self.reader})}

    def margin(self) -> float:
        """Radians: 0 at first, then a linear rise to the configured one at three quarters of the training."""
        done = (self.position / self.config.images - self.config.margin_from) / max(
            0.75 - self.config.margin_from, 1e-6
        )
        return self.config.margin * min(max(done, 0.0), 1.0)

    def augmented(self, x: Tensor) -> Tensor:
        """As :func:`jittered`."""
        return jittered(x, self.rng("jitter"), self.config.network.side)

    def losses(self, output: Tensor, drawn: np.ndarray, flips: np.ndarray) -> dict[str, Tensor]:
        """``arcface``, and where it has a weight ``guide``: the mean squared error of the factors."""
        features = output.float()
        identity = torch.from_numpy(self.identity[drawn]).to(self.device)
        losses = {"arcface": self.head(features, identity, self.margin())}
        if self.config.guide:
            known = self.factors[torch.from_numpy(drawn)].to(self.device)
            losses["guide"] = F.mse_loss(self.reader(features * features.shape[1] ** 0.5), known)
        return losses

    def weights(self) -> Mapping[str, float]:
        """1, and that of the guide."""
        return {"arcface": 1.0, "guide": self.config.guide}


def jittered(x: Tensor, rng: np.random.Generator, side: int) -> Tensor:
    """Aligned crops of a batch, all moved and resized alike by a few pixels, of another brightness each.

    Renders of an inversion are never aligned to the pixel, so a recogniser must not rely on it.
    """
    unit = x.shape[-1] / 128
    cut = x.shape[-1] // MARGIN
    grow, down, right = (int(round(unit * int(v))) for v in rng.integers(-JITTER, JITTER + 1, 3))
    size = x.shape[-1] - 2 * cut + 2 * grow
    top, left = cut - grow + down, cut - grow + right
    x = resize(x[:, :, top : top + size, left : left + size], side, "bilinear_aa")
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, (len(x), 1, 1, 1)).astype(np.float32)).to(x.device)
    return ((x + 1) * gain - 1).clamp(-1, 1).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def features_of(net: nn.Module, side: int, images: PackedImages, rows: np.ndarray) -> np.ndarray:
    """(N, D) float32 unit features of pictures, by a network in evaluation mode."""
    device = next(net.parameters()).device
    found = []
    for start in range(0, len(rows), 100):
        part = rows[start : start + 100]
        x = images.batch(part, np.zeros(len(part), bool))[0].to(device)
        found.append(net.eval()(aligned_crop(x, side)).float().cpu().numpy())
    return np.concatenate(found)


def verification(features: np.ndarray, identity: np.ndarray) -> dict[str, float]:
    """How well cosines tell pairs of one identity from pairs of two, over all pairs.

    Args:
        features: (N, D) of unit length. identity: (N,).
    Returns:
        area under the ROC curve; true accept rates at false accept rates 1e-2, 1e-3, 1e-4; counts and mean cosines.
    """
    first, second = np.triu_indices(len(features), 1)
    cosine = (features @ features.T)[first, second]
    same = identity[first] == identity[second]
    genuine, impostor = np.sort(cosine[same]), np.sort(cosine[~same])
    below = np.searchsorted(impostor, genuine, "left") + np.searchsorted(impostor, genuine, "right")
    measured = {
        "roc_auc": float(below.mean() / 2 / len(impostor)),
        "genuine_pairs": len(genuine),
        "impostor_pairs": len(impostor),
        "genuine_cosine": float(genuine.mean()),
        "impostor_cosine": float(impostor.mean()),
    }
    for rate in (1e-2, 1e-3, 1e-4):
        threshold = impostor[-max(int(rate * len(impostor)), 1)]
        measured[f"tar_at_far_{rate:g}"] = float((genuine > threshold).mean())
    return measured
