"""ReStyle on e4e: an encoder corrects editable codes a few times, looking at what they render."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench import api
from bench.nets.encoder_start import OPTIONS, fresh_encoder, losses_of, one_of, trained_encoder
from bench.nets.encoder_state import prepared, view
from bench.nets.encoders import ProgressiveBackboneEncoder, ProgressiveResNetEncoder
from bench.nets.latent_discriminator import LatentJudge
from bench.nets.progressive import OPTIONS as PROGRESSIVE
from bench.nets.progressive import difference_norm, stage_at
from bench.nets.restyle import OPTIONS as STEPS
from bench.nets.restyle import corrections, refine

KINDS = {"ir": ProgressiveBackboneEncoder, "resnet": ProgressiveResNetEncoder}


class Method(api.TrainableMethod):
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
    stage: int | None = None  # differences in use, all but while a training has not come to them

    def setup(self) -> None:
        """Build the encoder that the weights describe; render its mean code, which every picture starts from."""
        kinds = tuple(KINDS.values())
        self.encoder, self.latent_avg = prepared(self.context, self.weights, kinds, self.opt["untrained"])
        self.average = self.view_of(self.latent_avg[None])

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) in [-1, 1] -> codes after the last step, and those after every step as its trace."""
        found = self.codes_per_step(x)
        return api.Inversion(found[-1], steps=torch.stack(found, 1))

    def codes_per_step(self, x: Tensor) -> list[Tensor]:
        """(B, 3, R, R) in [-1, 1] -> (B, L, D) codes after each step."""
        picture, steps = view(x, self.encoder.input_size, "bilinear_aa"), self.opt["steps"]
        found: list[Tensor] = []
        for w_plus in refine(self.correct, self.view_of, picture, self.latent_avg, self.average, steps):
            found.append(w_plus)
            self.context.progress(len(found) / steps)
        return found

    def correct(self, pair: Tensor) -> Tensor:
        """(B, 6, H, W) picture and render -> (B, L, D) corrections, by the differences in use."""
        return self.encoder(pair) if self.stage is None else self.encoder(pair, self.stage)

    def view_of(self, w_plus: Tensor) -> Tensor:
        """(B, L, D) codes -> (B, 3, H, W), their render as the encoder sees it, not clamped."""
        return self.seen(self.generator.synthesize(w_plus))

    def seen(self, x_hat: Tensor) -> Tensor:
        """(B, 3, R, R) render -> (B, 3, H, W)."""
        return view(x_hat, self.encoder.input_size, "area")

    def start_training(self, options: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """A fresh encoder around the generator's mean code and its render, and a discriminator of its codes."""
        self.latent_avg, self.plan = self.generator.latent_avg, options
        self.encoder = fresh_encoder(one_of(KINDS, options), self.context, options)
        self.reconstruction = losses_of(self.context, options, weights)
        self.judge = LatentJudge(self.generator.style_dim, options["pool"], options["r1_every"])
        with torch.no_grad():
            self.average = self.view_of(self.latent_avg[None])

    def trainable(self) -> nn.Module:
        """The encoder."""
        return self.encoder

    def opponents(self) -> Mapping[str, nn.Module]:
        """The discriminator of codes."""
        return {"latent_discriminator": self.judge}

    def training_losses(self, x: Tensor, rng: torch.Generator, seen: int) -> Iterator[dict[str, Tensor]]:
        """The losses of e4e after every inner step (Alaluf et al. 2021, Sec. 3 and 4)."""
        self.stage = stage_at(seen, self.generator.n_latent, self.plan)
        draw = partial(self.generator.synthesize, noise=self.plan["noise"])
        picture, steps = view(x, self.encoder.input_size, "bilinear_aa"), self.plan["inner_steps"]
        for w_plus, x_hat in corrections(self.correct, draw, self.seen, picture, self.latent_avg, self.average, steps):
            self.codes = w_plus[:, : self.stage + 1]  # the others equal the first
            yield {
                **self.reconstruction(x_hat, x),
                "delta": difference_norm(self.codes - self.latent_avg[: self.stage + 1]),
                "latent_adversarial": self.judge.verdict(self.codes),
            }

    def opponent_loss(self, name: str, x: Tensor, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        """The discriminator's, on the codes of the last inner step and mapped ones."""
        return self.judge.losses(self.codes.detach(), self.generator, rng, step)

    def training_codes(self, x: Tensor) -> Iterator[Tensor]:
        """(B, L, D) codes after every inner step."""
        picture, steps = view(x, self.encoder.input_size, "bilinear_aa"), self.plan["inner_steps"]
        draw = torch.no_grad()(self.generator.synthesize)
        for w_plus, _ in corrections(self.correct, draw, self.seen, picture, self.latent_avg, self.average, steps):
            yield w_plus

    def trained(self, net: nn.Module) -> dict[str, Tensor]:
        """``encoder.`` and ``latent_avg``."""
        return trained_encoder(net, self.latent_avg)
