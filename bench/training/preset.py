"""A method's training as data: a YAML file, checked before anything starts."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from bench.errors import BenchError
from bench.training.settings import Strict, read_settings
from bench.weights.manifest import FOLDER


class OptimizerSettings(Strict):
    """How parameters move. ``name`` is one of :data:`bench.training.optimizers.OPTIMIZERS`."""

    name: str = "adam"
    lr: float = Field(gt=0)
    factors: dict[str, float] = Field(
        default_factory=dict, description="part of a parameter's name -> factor on its rate; the first that fits"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="keywords of the optimiser: betas, eps, ...")


class Guide(Strict):
    """A teacher's codes, regressed before anything is rendered: the quickest way to heads that read a picture."""

    images: int = Field(gt=0, description="pictures seen with the teacher, the first of the training")
    teacher: str = Field(description="id of weights with `encoder.`, as `bench train generator` exports (scaffold)")
    channels: dict[int, int] = Field(description="side -> width of the teacher")


class Overfit(Strict):
    """A check of the code instead of a training: the pictures learned from are also those measured, and are few."""

    pictures: int = Field(32, gt=0, description="the first so many")
    drawn: bool = Field(False, description="drawn by the generator, so that codes alone can tell all of them")


class Preset(Strict):
    """Everything that fixes a training: same file, same machine -> same weights.

    What a training is belongs to its identity (:meth:`identity`); its length, its learning rates, the clipping of
    gradients and how often it reports do not, so a finished training can be prolonged and one that diverged mended.
    """

    method: str = Field(description="id of the method, or `trunk`")
    dataset: str
    domain: str
    seed: int = 0
    images: int = Field(gt=0, description="training pictures to draw in all; a multiple of the batch")
    batch: int = Field(gt=0, description="pictures per step, over all processes and micro-batches")
    micro_batch: int = Field(0, ge=0, description="pictures per pass; gradients of the rest are accumulated. 0: all")
    held_out: int = Field(1000, gt=0, description="last pictures of the set, never trained on")
    flip: bool = True
    optimizer: OptimizerSettings
    opponents: dict[str, OptimizerSettings] = Field(default_factory=dict, description="optimiser of each opponent")
    overfit: Overfit | None = None
    guide: Guide | None = Field(None, description="start under a teacher; its loss is called `code`")
    decay_images: int = Field(0, ge=0, description="length of a linear decay to 0 at the end; 0: constant rate")
    warm_up_images: int = Field(0, ge=0, description="length of a linear rise of the rate from 0 at the start")
    clip: float = Field(0, ge=0, description="norm that gradients are scaled down to; 0: never")
    ema_images: int = Field(0, ge=0, description="half-life of averaged weights in pictures; 0: none are kept")
    recompute: bool = Field(False, description="save memory: compute the generator's layers again for the gradient")
    precision: str = Field("fp32", pattern="^(fp32|bf16|fp16)$")
    weights: dict[str, float] = Field(min_length=1, description="loss -> its weight in the sum")
    options: dict[str, Any] = Field(default_factory=dict, description="overrides of the method's `training`")
    licence: str = Field("", description="of the exported weights; empty: that of the dataset")
    log_every: int = Field(400, gt=0)
    checkpoint_every: int = Field(2000, gt=0)
    validate_every: int = Field(4000, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Preset:
        micro = self.micro_batch or self.batch
        if self.batch % micro:
            raise ValueError(f"batch {self.batch} is no multiple of micro_batch {micro}")
        if self.images % self.batch:
            raise ValueError(f"images {self.images} is no multiple of batch {self.batch}")
        return self

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must share with the preset it is resumed under."""
        return identity_of(self.model_dump())

    def rate(self, position: int) -> float:
        """Factor on all learning rates after ``position`` pictures."""
        factor = 1.0
        if self.warm_up_images:
            factor = min(1.0, (position + self.batch) / self.warm_up_images)
        if self.decay_images:
            factor = min(factor, max(0.0, (self.images - position) / self.decay_images))
        return factor


MAY_CHANGE = {"images", "decay_images", "warm_up_images", "clip", "recompute"}
MAY_CHANGE |= {"micro_batch"}  # what counts is the pictures of a pass, which the number of processes may fix too
MAY_CHANGE |= {"licence", "log_every", "checkpoint_every", "validate_every"}


def identity_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a preset without those that may change between two stretches of its training."""
    kept = {key: value for key, value in settings.items() if key not in MAY_CHANGE}
    if not kept.get("overfit"):
        kept.pop("overfit", None)
    kept["optimizer"] = _but_rate(kept["optimizer"])
    kept["opponents"] = {name: _but_rate(optimizer) for name, optimizer in kept["opponents"].items()}
    return kept


def weights_id(preset: Preset, path: Path) -> str:
    """Id of the weights that a preset's training exports: domain, folder where it is not the domain's, file name.

    Raises:
        BenchError: no such id is possible.
    """
    folder = path.resolve().parent.name
    made = "_".join([preset.domain, *([] if folder in (preset.domain, FOLDER) else [folder]), path.stem])
    if not re.fullmatch(r"[a-z0-9_]+", made):
        raise BenchError(f"cannot name the weights of {path}", got=made, expected="a-z, 0-9 and _", fix="rename it")
    return made


def _but_rate(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in optimizer.items() if key != "lr"}


def read_preset(path: Path) -> Preset:
    """Read and check a method's preset.

    Raises:
        BenchError: as :func:`bench.training.settings.read_settings`.
    """
    return read_settings(path, Preset, "see `bench train --help`")


def default_preset(root: Path, folder: str, method: str, used: Collection[str]) -> Path:
    """The preset of a method in ``weights/<folder>``: the one that exports weights the method uses, else METHOD.yaml.

    Args:
        used: ids of the weights the method loads by default.
    """
    base = root / FOLDER / folder
    fitting = []
    for path in sorted(base.glob("*.yaml")):
        try:
            preset = read_preset(path)
            if preset.method == method and weights_id(preset, path) in used:
                fitting.append(path)
        except BenchError:  # of no method, or broken: whoever asks for it will be told
            continue
    return fitting[0] if len(fitting) == 1 else base / f"{method}.yaml"
