"""Training of a network on labelled images: what recogniser and regressor have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import pandas as pd
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from bench.errors import BenchError, DataError
from bench.seeds import seed_for
from bench.training.data import PackedImages, Sampler
from bench.training.finite import finite_step
from bench.training.settings import Strict

MAY_CHANGE = {"lr", "warm_up_images"}  # between two stretches of a training, to mend one that diverged
Span = tuple[int, int]


class SupervisedConfig(Strict, ABC):
    """Everything that fixes a training: same file, same machine -> same weights."""

    id: str = Field(description="of the weights in weights/manifest.yaml")
    dataset: str
    domain: str
    seed: int = 0
    identities: Span = Field(description="first and one past the last, in order of their names")
    images: int = Field(gt=0)
    batch: int = Field(64, gt=1)
    lr: float = Field(2e-3, gt=0)
    warm_up_images: int = Field(4000, gt=0)
    precision: str = Field("bf16", pattern="^(fp32|bf16)$")

    @property
    @abstractmethod
    def test_identities(self) -> Span:
        """The identities that the export measures on, as ``identities``."""

    @model_validator(mode="after")
    def _measure_on_others(self) -> SupervisedConfig:
        if max(self.identities[0], self.test_identities[0]) < min(self.identities[1], self.test_identities[1]):
            raise ValueError(
                f"identities {self.test_identities} to measure on are trained on: those of {self.identities}"
            )
        return self


Config = TypeVar("Config", bound=SupervisedConfig)


def identity_rows(truth: pd.DataFrame, span: Span) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the images of some identities, and for each row its identity counted from 0.

    Args:
        truth: one row an image, with a column ``identity``.
        span: first and one past the last of the identities, ordered by name.
    Raises:
        DataError: the data has no identities, or fewer.
    """
    if "identity" not in truth:
        raise DataError("this training needs known identities", got="ground truth without a column `identity`")
    number, names = pd.factorize(truth["identity"], sort=True)
    if not 0 <= span[0] < span[1] <= len(names):
        raise DataError("no such identities", got=span, expected=f"a range within 0 to {len(names)}")
    rows = np.flatnonzero((number >= span[0]) & (number < span[1]))
    return rows, number[rows] - span[0]


class SupervisedTraining(ABC, Generic[Config]):
    """A training between two steps; every random number follows from the seed and from the images drawn so far.

    A subclass says which networks learn (:meth:`build`), what they are shown (:meth:`augmented`) and which losses are
    added up (:meth:`losses`, :meth:`weights`).

    Args:
        config: of the training.
        images: all images of its dataset.
        truth: their ground truth, one row an image, in the same order.
        device: where to compute.
    Raises:
        DataError: the ground truth lacks the identities.

    Class attributes:
        log_every, checkpoint_every: images between two lines of the curves, and between two checkpoints.

    Attributes:
        rows: of the images to learn from. identity: of each of them, counted from 0.
        net: the network that is exported.
        position: images drawn so far.
    """

    log_every: ClassVar[int]
    checkpoint_every: ClassVar[int]
    net: nn.Module

    def __init__(self, config: Config, images: PackedImages, truth: pd.DataFrame, device: torch.device):
        self.config, self.images, self.device = config, images, device
        self.rows, self.identity = identity_rows(truth, config.identities)
        self.read_truth(truth)
        torch.manual_seed(seed_for(config.seed, config.id, "start values") % 2**63)
        self.modules = self.build()
        parameters = [p for module in self.modules.values() for p in module.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, config.lr, betas=(0.9, 0.99), weight_decay=0.02)
        self.sampler = Sampler(len(self.rows), config.seed, config.id)
        self.position = 0

    @abstractmethod
    def read_truth(self, truth: pd.DataFrame) -> None:
        """Keep the targets of :attr:`rows`; called once, before :meth:`build`."""

    @abstractmethod
    def build(self) -> Mapping[str, nn.Module]:
        """Make the networks that learn, :attr:`net` among them, on the device: name in a checkpoint -> module."""

    @abstractmethod
    def augmented(self, x: Tensor) -> Tensor:
        """Change images at random: (B, 3, R, R) in [-1, 1] -> what ``net`` takes."""

    @abstractmethod
    def losses(self, output: Any, drawn: np.ndarray, flips: np.ndarray) -> dict[str, Tensor]:
        """Compare a batch with its targets; scalar losses by name.

        Args:
            output: of ``net``.
            drawn: (B,) positions in :attr:`rows`. flips: (B,) whether the image is mirrored.
        """

    @abstractmethod
    def weights(self) -> Mapping[str, float]:
        """Weight of each loss."""

    def rng(self, purpose: str) -> np.random.Generator:
        """Random numbers of the next step, others for each purpose."""
        return np.random.default_rng(seed_for(self.config.seed, self.config.id, purpose, self.position))

    def lr_factor(self) -> float:
        """Factor on the learning rate: a linear rise, then half a cosine to 0."""
        config = self.config
        rise = min(1.0, (self.position + config.batch) / config.warm_up_images)
        return rise * 0.5 * (1 + float(np.cos(np.pi * min(1.0, self.position / config.images))))

    def step(self) -> dict[str, float]:
        """Make one update and return its losses.

        Raises:
            Diverged: a loss or the gradient is not finite; parameters are those of the step before.
        """
        config = self.config
        drawn = self.sampler.rows(self.position, config.batch)
        flips = self.sampler.flips(self.position, config.batch)
        x = self.augmented(self.images.batch(self.rows[drawn], flips)[0].to(self.device))
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * self.lr_factor()
        self.net.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            output = self.net(x)
        losses, weights = self.losses(output, drawn, flips), self.weights()
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack([weights[name] * loss for name, loss in losses.items()]).sum().backward()
        finite_step(self.optimizer, config.id, self.position // config.batch, losses, "lower `lr`")
        self.position += config.batch
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "config": self.config.model_dump(mode="json"),
            "position": self.position,
            **{name: module.state_dict() for name, module in self.modules.items()},
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
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
        for name, module in self.modules.items():
            module.load_state_dict(state[name])
        self.optimizer.load_state_dict(state["optimizer"])
