"""Training of the regressor of known factors and landmarks, and how much of them it explains on new faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from bench.errors import BenchError, one_line
from bench.images import resize
from bench.nets.regressor import POINTS, Reader, Regressor
from bench.seeds import seed_for
from bench.training.data import PackedImages, Sampler
from bench.training.finite import finite_step
from bench.training.known import MIRROR
from bench.training.recogniser import identity_rows

READ_TOGETHER = 250  # pictures
MAY_CHANGE = {"lr", "warm_up_images"}  # between two stretches of a training, to mend one that diverged


class RegressorConfig(BaseModel):
    """Everything that fixes a training: same file, same machine -> same weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(description="of the weights in weights/manifest.yaml")
    dataset: str
    domain: str
    seed: int = 0
    side: int = Field(64, gt=0)
    widths: list[int] = Field(min_length=1)
    blocks: list[int] = Field(min_length=1)
    identities: tuple[int, int] = Field(description="first and one past the last, in order of their names")
    held_out: tuple[int, int] = Field(description="identities to be measured on, never trained on")
    images: int = Field(gt=0)
    batch: int = Field(64, gt=1)
    lr: float = Field(2e-3, gt=0)
    warm_up_images: int = Field(4000, gt=0)
    landmark_weight: float = Field(0.5, ge=0)
    factors: list[str] = Field(min_length=1, description="read alike from a picture and its mirror image")
    odd_factors: list[str] = Field(default_factory=list, description="change their sign with it")
    precision: str = Field("bf16", pattern="^(fp32|bf16)$")

    @property
    def names(self) -> list[str]:
        """All factors, in the network's order."""
        return [*self.factors, *self.odd_factors]


def read_config(path: Path) -> RegressorConfig:
    """Read and check a YAML file.

    Raises:
        BenchError: missing, not YAML, unknown keys or wrong values (all named).
    """
    try:
        config = RegressorConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BenchError(f"no training configuration at {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not YAML", got=" ".join(str(error).split())) from None
    except ValidationError as error:
        raise BenchError(
            f"{path} has wrong values", got=one_line(error), expected="the keys of bench/training/regressor.py"
        ) from None
    if max(config.identities[0], config.held_out[0]) < min(config.identities[1], config.held_out[1]):
        raise BenchError("identities to measure on are trained on", got=config.held_out, expected="others")
    return config


def truth_values(truth: pd.DataFrame, config: RegressorConfig) -> np.ndarray:
    """(N, F + 136) float64: factors, then x and y of each landmark in pixels from the picture's corner.

    Raises:
        BenchError: the ground truth has no such column.
    """
    columns = [*config.names, *(f"lm_{i:02d}_{axis}" for i in range(POINTS) for axis in "xy")]
    absent = [c for c in columns if c not in truth]
    if absent:
        raise BenchError(f"the ground truth has no column {absent[0]!r}", fix="mend `factors` in the configuration")
    return truth[columns].to_numpy(np.float64)


def mirrored_values(values: np.ndarray, config: RegressorConfig, side: int) -> np.ndarray:
    """What the same pictures' mirror images show; ``side`` in pixels."""
    out = values.copy()
    even, count = len(config.factors), len(config.names)
    out[:, even:count] *= -1
    points = values[:, count:].reshape(len(values), POINTS, 2)[:, list(MIRROR)]
    points[..., 0] = side - points[..., 0]
    out[:, count:] = points.reshape(len(values), -1)
    return out


class RegressorTraining:
    """A training between two steps; every random number follows from the seed and the pictures drawn so far."""

    def __init__(self, config: RegressorConfig, images: PackedImages, truth: pd.DataFrame, device: torch.device):
        self.config, self.images, self.device = config, images, device
        self.rows = identity_rows(truth, config.identities)[0]
        self.held_out = identity_rows(truth, config.held_out)[0]
        self.values = truth_values(truth, config)
        self.picture_side = images.images.shape[1]
        upright = self.values[self.rows]
        mirrored = mirrored_values(upright, config, self.picture_side)
        both = np.concatenate([upright, mirrored])
        self.mean, self.scale = both.mean(0), both.std(0) + 1e-6
        self.targets = [
            torch.from_numpy(((v - self.mean) / self.scale).astype(np.float32)) for v in (upright, mirrored)
        ]
        torch.manual_seed(seed_for(config.seed, config.id, "start values") % 2**63)
        self.net = Regressor(config.side, config.widths, config.blocks, len(config.names)).to(device)
        self.net.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), config.lr, betas=(0.9, 0.99), weight_decay=0.02)
        self.sampler = Sampler(len(self.rows), config.seed, config.id)
        self.position = 0

    def rate(self) -> float:
        """Factor on the learning rate: a linear rise, then half a cosine to 0."""
        config = self.config
        rise = min(1.0, (self.position + config.batch) / config.warm_up_images)
        return rise * 0.5 * (1 + float(np.cos(np.pi * min(1.0, self.position / config.images))))

    def step(self) -> dict[str, float]:
        """One update; the mean squared errors in standard deviations.

        Raises:
            Diverged: an error or the gradient is not finite; parameters are those of the step before.
        """
        config = self.config
        drawn = self.sampler.rows(self.position, config.batch)
        flips = self.sampler.flips(self.position, config.batch)
        x = self._seen(self.images.batch(self.rows[drawn], flips)[0].to(self.device))
        index = torch.from_numpy(drawn)
        target = torch.where(torch.from_numpy(flips)[:, None], self.targets[1][index], self.targets[0][index])
        target = target.to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * self.rate()
        self.net.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            factors, points = self.net(x)
        count = len(config.names)
        losses = {"factors": F.mse_loss(factors, target[:, :count]), "landmarks": F.mse_loss(points, target[:, count:])}
        self.optimizer.zero_grad(set_to_none=True)
        (losses["factors"] + config.landmark_weight * losses["landmarks"]).backward()
        finite_step(self.optimizer, config.id, self.position // config.batch, losses, "lower `lr`")
        self.position += config.batch
        return {name: float(value.detach()) for name, value in losses.items()}

    def _seen(self, x: Tensor) -> Tensor:
        """What the network is shown: of another brightness, half of the batches softened as inversions are."""
        rng = np.random.default_rng(seed_for(self.config.seed, self.config.id, "seen", self.position))
        x = resize(x, self.config.side, "area")
        if rng.random() < 0.5:
            x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        gain = torch.from_numpy(rng.uniform(0.92, 1.08, (len(x), 1, 1, 1)).astype(np.float32)).to(x.device)
        return ((x + 1) * gain - 1).clamp(-1, 1).contiguous(memory_format=torch.channels_last)

    def reader(self) -> Reader:
        """The network as it is now, with the units of what it reads."""
        mean, scale = (torch.from_numpy(v.astype(np.float32)).to(self.device) for v in (self.mean, self.scale))
        return Reader(self.net.eval(), tuple(self.config.names), mean, scale, self.picture_side)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "config": self.config.model_dump(mode="json"),
            "position": self.position,
            "net": self.net.state_dict(),
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
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


def measured(reader: Reader, images: PackedImages, rows: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """How much a regressor explains on pictures it was not trained on.

    Args:
        rows: of ``images`` and of ``values``, which are as :func:`truth_values` gives them.
    Returns:
        ``r2``: factor -> share of variance explained; ``landmark_px``: mean distance in pixels of the pictures (its
        mean, median and 95 % quantile over pictures); ``pictures``.
    """
    found, points = [], []
    for start in range(0, len(rows), READ_TOGETHER):
        part = rows[start : start + READ_TOGETHER]
        factors, marks = reader.read(images.batch(part, np.zeros(len(part), bool))[0].to(reader.mean.device))
        found.append(factors.cpu().numpy())
        points.append(marks.cpu().numpy())
    count = len(reader.names)
    guessed, truth = np.concatenate(found).astype(np.float64), values[rows]
    r2 = 1 - ((guessed - truth[:, :count]) ** 2).mean(0) / truth[:, :count].var(0)
    offsets = np.concatenate(points) + 0.5 - truth[:, count:].reshape(len(rows), POINTS, 2)
    distance = np.linalg.norm(offsets, axis=-1).mean(1)
    return {
        "r2": {name: round(float(v), 4) for name, v in zip(reader.names, r2, strict=True)},
        "landmark_px": {
            "mean": round(float(distance.mean()), 3),
            "median": round(float(np.median(distance)), 3),
            "q95": round(float(np.quantile(distance, 0.95)), 3),
        },
        "pictures": len(rows),
    }
