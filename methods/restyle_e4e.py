"""ReStyle on e4e: an encoder corrects editable codes a few times, looking at what they render."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.nets.encoder_start import OPTIONS
from bench.nets.encoders import ProgressiveBackboneEncoder, ProgressiveResNetEncoder
from bench.nets.progressive import OPTIONS as PROGRESSIVE
from bench.nets.progressive import EditableCodes, stage_at
from bench.nets.restyle import OPTIONS as STEPS
from bench.nets.restyle import ReStyle

KINDS = {"ir": ProgressiveBackboneEncoder, "resnet": ProgressiveResNetEncoder}


class Method(ReStyle):
    """Corrections of one code for all layers and of a difference for each, added up over the steps."""

    title = "ReStyle (e4e)"
    source = "Alaluf et al. 2021 (ReStyle); networks of yuval-alaluf/restyle-encoder 5e80276"
    weights = {
        "annyfaces": "annyfaces_restyle_e4e",
        "faces": "restyle_e4e_ffhq",
        "cars": "restyle_e4e_cars",
        "church": "restyle_e4e_church",
        "horse": "restyle_e4e_horse",
        "afhq_wild": "restyle_e4e_afhq_wild",
    }
    options = {
        "steps": 5,
        "untrained": False,  # seeded start values for weights: `bench check` needs no more
    }
    lowest = {"steps": 1}
    domain_options = {"annyfaces": {"steps": 3}}  # as many as it was trained with, like the published
    quick = {"untrained": True, "steps": 2}
    training = {**OPTIONS, **PROGRESSIVE, **STEPS}
    kinds = KINDS
    stage: int | None = None  # differences in use, all but while a training has not come to them

    def correct(self, pair: Tensor) -> Tensor:
        """(B, 6, H, W) picture and render -> (B, L, D) corrections, by the differences in use."""
        return self.encoder(pair) if self.stage is None else self.encoder(pair, self.stage)

    def start_training(self, options: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """Make a fresh encoder around the generator's mean code and its render, and a discriminator of its codes."""
        super().start_training(options, weights)
        self.editable = EditableCodes(self.generator, self.latent_avg, options)

    def opponents(self) -> Mapping[str, nn.Module]:
        """The discriminator of codes."""
        return self.editable.opponents()

    def training_losses(self, x: Tensor, rng: torch.Generator, seen: int) -> Iterator[dict[str, Tensor]]:
        """Losses after every inner step, with as many differences as the schedule of e4e allows."""
        self.stage = stage_at(seen, self.generator.n_latent, self.plan)
        return super().training_losses(x, rng, seen)

    def step_losses(self, w_plus: Tensor, x_hat: Tensor, x: Tensor) -> dict[str, Tensor]:
        """The losses of e4e after every inner step (Alaluf et al. 2021, Sec. 3 and 4)."""
        assert self.stage is not None
        return {**self.reconstruction(x_hat, x), **self.editable.losses(w_plus, self.stage)}

    def opponent_loss(self, name: str, x: Tensor, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        """The discriminator's, on the codes of the last inner step and mapped ones."""
        return self.editable.opponent_loss(rng, step)
