"""Training of a face recogniser on pictures of known identities, and what it is worth on identities it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from bench.errors import BenchError, DataError, one_line
from bench.images import resize
from bench.nets.recogniser import MARGIN, aligned_crop, build
from bench.seeds import seed_for
from bench.training.arcface import ArcFaceMargin
from bench.training.data import PackedImages, Sampler
from bench.training.finite import finite_step

JITTER = 3  # pixels of 128 by which crops are moved and resized
MAY_CHANGE = {"lr", "warm_up_images"}  # between two stretches of a training, to mend one that diverged


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(_Strict):
    """As :func:`bench.nets.recogniser.build`."""

    kind: str
    side: int = Field(gt=0)
    groups: list[tuple[int, int]] = Field(min_length=1)
    features: int = Field(gt=0)


class RecogniserConfig(_Strict):
    """Everything that fixes a training: same file, same machine -> same weights."""

    id: str = Field(description="of the weights in weights/manifest.yaml")
    format: str = Field(pattern="^(safetensors|onnx)$")
    dataset: str
    domain: str
    seed: int = 0
    network: Architecture
    identities: tuple[int, int] = Field(description="first and one past the last, in order of their names")
    verified: tuple[int, int] = Field(description="identities to be verified on, never trained on")
    images: int = Field(gt=0)
    batch: int = Field(64, gt=1)
    lr: float = Field(2e-3, gt=0)
    warm_up_images: int = Field(4000, gt=0)
    margin: float = Field(0.4, ge=0, le=1, description="radians")
    margin_from: float = Field(0.3, ge=0, lt=0.75, description="share of the training after which the margin begins")
    scale: float = Field(24.0, gt=0)
    factors: list[str] = Field(default_factory=list, description="known factors read from the features: a guide")
    guide: float = Field(0.0, ge=0, description="weight of that reading's error")
    precision: str = Field("bf16", pattern="^(fp32|bf16)$")


def read_config(path: Path) -> RecogniserConfig:
    """Read and check a YAML file.

    Raises:
        BenchError: missing, not YAML, unknown keys or wrong values (all named).
    """
    try:
        return RecogniserConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BenchError(f"no training configuration at {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not YAML", got=" ".join(str(error).split())) from None
    except ValidationError as error:
        raise BenchError(
            f"{path} has wrong values", got=one_line(error), expected="the keys of bench/training/recogniser.py"
        ) from None


def identity_rows(truth: pd.DataFrame, span: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the pictures of some identities, and for each row its identity counted from 0.

    Args:
        span: first and one past the last of the identities, ordered by name.
    Raises:
        DataError: the data has no identities, or fewer.
    """
    if "identity" not in truth:
        raise DataError("a recogniser needs known identities", got="ground truth without a column `identity`")
    number, names = pd.factorize(truth["identity"], sort=True)
    if not 0 <= span[0] < span[1] <= len(names):
        raise DataError("no such identities", got=span, expected=f"a range within 0 to {len(names)}")
    rows = np.flatnonzero((number >= span[0]) & (number < span[1]))
    return rows, number[rows] - span[0]


class RecogniserTraining:
    """A training between two steps; every random number follows from the seed and from the pictures drawn so far."""

    def __init__(self, config: RecogniserConfig, images: PackedImages, truth: pd.DataFrame, device: torch.device):
        self.config, self.images, self.device = config, images, device
        self.rows, self.identity = identity_rows(truth, config.identities)
        overlap = max(config.identities[0], config.verified[0]) < min(config.identities[1], config.verified[1])
        if overlap:
            raise BenchError("identities to verify on are trained on", got=config.verified, expected="others")
        values = truth[config.factors].to_numpy(np.float32)[self.rows]
        self.factors = torch.from_numpy((values - values.mean(0)) / (values.std(0) + 1e-6))
        torch.manual_seed(seed_for(config.seed, config.id, "start values") % 2**63)
        features = config.network.features
        self.net: nn.Module = build(config.network.model_dump())
        self.net.to(device).to(memory_format=torch.channels_last)
        self.head = ArcFaceMargin(config.identities[1] - config.identities[0], features, config.scale).to(device)
        self.reader = nn.Linear(features, max(len(config.factors), 1)).to(device)
        self.modules = nn.ModuleDict({"net": self.net, "head": self.head, "reader": self.reader})
        self.optimizer = torch.optim.AdamW(self.modules.parameters(), config.lr, betas=(0.9, 0.99), weight_decay=0.02)
        self.sampler = Sampler(len(self.rows), config.seed, config.id)
        self.position = 0

    def rate(self) -> float:
        """Factor on the learning rate: a linear rise, then half a cosine to 0."""
        config = self.config
        rise = min(1.0, (self.position + config.batch) / config.warm_up_images)
        return rise * 0.5 * (1 + float(np.cos(np.pi * min(1.0, self.position / config.images))))

    def margin(self) -> float:
        """Radians: 0 at first, then a linear rise to the configured one at three quarters of the training."""
        done = (self.position / self.config.images - self.config.margin_from) / max(
            0.75 - self.config.margin_from, 1e-6
        )
        return self.config.margin * min(max(done, 0.0), 1.0)

    def step(self) -> dict[str, float]:
        """One update; its losses.

        Raises:
            Diverged: a loss or the gradient is not finite; parameters are those of the step before.
        """
        config = self.config
        drawn = self.sampler.rows(self.position, config.batch)
        flips = self.sampler.flips(self.position, config.batch)
        x = jittered(self.images.batch(self.rows[drawn], flips)[0].to(self.device), self._rng(), config.network.side)
        identity = torch.from_numpy(self.identity[drawn]).to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * self.rate()
        self.net.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            features = self.net(x).float()
        losses = {"arcface": self.head(features, identity, self.margin())}
        if config.guide:
            known = self.factors[torch.from_numpy(drawn)].to(self.device)
            losses["guide"] = F.mse_loss(self.reader(features * features.shape[1] ** 0.5), known)
        self.optimizer.zero_grad(set_to_none=True)
        (losses["arcface"] + config.guide * losses.get("guide", features.new_zeros(()))).backward()
        finite_step(self.optimizer, config.id, self.position // config.batch, losses, "lower `lr`")
        self.position += config.batch
        return {name: float(value.detach()) for name, value in losses.items()}

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(seed_for(self.config.seed, self.config.id, "jitter", self.position))

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "config": self.config.model_dump(mode="json"),
            "position": self.position,
            "modules": self.modules.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on exactly after :meth:`state`.

        Raises:
            BenchError: the state belongs to another configuration.
        """
        now = self.config.model_dump(mode="json")
        differing = sorted(key for key in set(now) - MAY_CHANGE if state["config"].get(key) != now[key])
        if differing:
            raise BenchError(
                "the checkpoint was made with another configuration",
                got=f"other values of: {', '.join(differing)}",
                fix="restore the configuration, or move the training's folder away",
            )
        self.position = state["position"]
        self.modules.load_state_dict(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])


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
