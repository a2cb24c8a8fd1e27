"""Configuration of a generator training: a YAML file, checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from bench.training.settings import read_settings

Positive = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Phase(_Strict):
    """A stretch of training with fixed losses and resolution. A weight of 0 turns a term off."""

    name: str
    resolution: Positive
    images: Positive = Field(description="training images drawn in this phase")
    batch: Positive = 32
    lr: float = Field(2e-3, gt=0)
    lr_final: float | None = Field(None, gt=0, description="linear decay to this rate; None keeps lr")
    mapping_lr: float = Field(
        50.0, gt=0, description="factor on lr for the mapping network, whose equalised rate is 0.01: 100 is full speed"
    )
    encoder_lr: float = Field(1.0, gt=0, description="factor on lr for the encoder, whose rates are not equalised")
    discriminator_lr: float = Field(1.0, gt=0, description="factor on lr for the discriminator")
    reconstruction: Weight = 1.0
    perceptual: Weight = 0.0
    prior: Weight = 0.02
    code_noise: Weight = Field(
        0.1, description="standard deviation of noise added to codes, which are about unit variance"
    )
    known: Weight = Field(0.0, description="error of known factors and landmarks read linearly from the codes")
    latent: Weight = Field(0.0, description="latent adversarial term that makes the mapping network cover the codes")
    adversarial: Weight = Field(0.0, description="image adversarial term on samples and reconstructions")
    projected: Weight = Field(
        0.0, description="projected adversarial term on the same images; each step's are then drawn once for all"
    )
    projected_blur: float = Field(
        0.0,
        ge=0,
        description="standard deviation in pixels of a blur of all images before it, fading to 0 over the phase",
    )
    projected_lr: float = Field(0.2, gt=0, description="factor on lr for it, whose rates are not equalised")
    from_average: bool = Field(False, description="begin with the averaged generator as the live one")
    drawing: bool = Field(True, description="False trains the discriminators alone, so that they have an opinion first")
    r1: Weight = 4.0
    r1_every: Positive = 16
    path: Weight = 0.0
    path_every: Positive = 8
    mixing: float = Field(0.5, ge=0, le=1, description="probability of style mixing in samples")
    ema_images: Positive = Field(5000, description="half-life of the averaged weights, in images")


class Known(_Strict):
    """Ground truth of rendered pictures that codes should carry: pixel losses hardly count a smile."""

    factors: list[str] = Field(default_factory=list, description="columns that a mirror image keeps")
    odd_factors: list[str] = Field(default_factory=list, description="columns that change sign in a mirror image")
    landmarks: bool = False


class GeneratorConfig(_Strict):
    """Everything that fixes a run: same file, same seed, same machine -> same weights."""

    dataset: str
    domain: str
    seed: int = 0
    size: Positive = 128
    style_dim: Positive = 128
    n_mlp: Positive = 8
    channels: dict[int, int]
    clean_only: bool = Field(True, description="leave out pictures with image-specific details")
    held_out: int = Field(1000, ge=10, description="last images of the set, never trained on")
    part_weights: dict[str, float] = Field(default_factory=dict, description="loss weight per labelled part; default 1")
    known: Known = Known()
    perceptual_stages: list[int] = Field(
        default_factory=lambda: [0, 2, 4, 10],
        description="blocks of EfficientNet-Lite0 that are compared",
    )
    warm_start: str | None = Field(
        None,
        description="networks to start from: an id in weights/manifest.yaml, or a file under weights/ that "
        "`bench train generator --progress` wrote; the latter goes on at its position",
    )
    frechet_network: str | None = Field(
        None, description="id in weights/manifest.yaml of a recogniser (ONNX) whose Frechet distance keeps the best"
    )
    frechet_every: Positive = 25000
    frechet_images: int = Field(1000, ge=16, description="samples; twice as many training pictures are compared")
    precision: str = Field("bf16", pattern="^(fp32|bf16)$")
    phases: list[Phase] = Field(min_length=1)
    log_every: Positive = 1000
    checkpoint_every: Positive = 10000
    sheet_every: Positive = 25000

    def resolve(self, position: int) -> tuple[Phase, int] | None:
        """The phase at ``position`` images since the start, and the position inside it; None after the end."""
        for phase in self.phases:
            if position < phase.images:
                return phase, position
            position -= phase.images
        return None


def read_config(path: Path) -> GeneratorConfig:
    """Read and check a generator's configuration.

    Raises:
        BenchError: as :func:`bench.training.settings.read_settings`.
    """
    return read_settings(path, GeneratorConfig, "pass --config, e.g. weights/annyfaces/generator.yaml")
