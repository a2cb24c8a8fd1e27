"""ReStyle on pSp: an encoder corrects its codes a few times, looking at what they render."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench import api
from bench.nets.encoder_start import OPTIONS, fresh_encoder, losses_of, one_of, trained_encoder
from bench.nets.encoder_state import prepared, view
from bench.nets.encoders import BackboneEncoder, ResNetEncoder
from bench.nets.restyle import OPTIONS as STEPS
from bench.nets.restyle import corrections, refine

KINDS = {"ir": BackboneEncoder, "resnet": ResNetEncoder}


class Method(api.TrainableMethod):
    """Corrections for the codes of all layers, each from its own head, added up over the steps."""

    title = "ReStyle (pSp)"
    source = "Alaluf et al. 2021 (ReStyle); networks of yuval-alaluf/restyle-encoder 5e80276"
    weights = {
        "annyfaces": "annyfaces_restyle_psp",
        "faces": "restyle_psp_ffhq",
        "cars": "restyle_psp_cars",
        "church": "restyle_psp_church",
        "afhq_wild": "restyle_psp_afhq_wild",
    }
    options = {
        "steps": 5,
        "untrained": False,  # seeded start values for weights: `bench check` needs no more
    }
    lowest = {"steps": 1}
    domain_options = {"annyfaces": {"steps": 3}}  # as many as it was trained with, like the published
    quick = {"untrained": True, "steps": 2}
    training = {**OPTIONS, **STEPS}

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
        for w_plus in refine(self.encoder, self.view_of, picture, self.latent_avg, self.average, steps):
            found.append(w_plus)
            self.context.progress(len(found) / steps)
        return found

    def view_of(self, w_plus: Tensor) -> Tensor:
        """(B, L, D) codes -> (B, 3, H, W), their render as the encoder sees it, not clamped."""
        return self.seen(self.generator.synthesize(w_plus))

    def seen(self, x_hat: Tensor) -> Tensor:
        """(B, 3, R, R) render -> (B, 3, H, W)."""
        return view(x_hat, self.encoder.input_size, "area")

    def start_training(self, options: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """A fresh encoder around the generator's mean code and its render."""
        self.latent_avg, self.plan = self.generator.latent_avg, options
        self.encoder = fresh_encoder(one_of(KINDS, options), self.context, options)
        self.reconstruction = losses_of(self.context, options, weights)
        with torch.no_grad():
            self.average = self.view_of(self.latent_avg[None])

    def trainable(self) -> nn.Module:
        """The encoder."""
        return self.encoder

    def training_losses(self, x: Tensor, rng: torch.Generator, seen: int) -> Iterator[dict[str, Tensor]]:
        """Reconstruction after every inner step (Alaluf et al. 2021, Sec. 3)."""
        draw = partial(self.generator.synthesize, noise=self.plan["noise"])
        picture, steps = view(x, self.encoder.input_size, "bilinear_aa"), self.plan["inner_steps"]
        found = corrections(self.encoder, draw, self.seen, picture, self.latent_avg, self.average, steps)
        for _, x_hat in found:
            yield self.reconstruction(x_hat, x)

    def training_codes(self, x: Tensor) -> Iterator[Tensor]:
        """(B, L, D) codes after every inner step."""
        picture, steps = view(x, self.encoder.input_size, "bilinear_aa"), self.plan["inner_steps"]
        draw = torch.no_grad()(self.generator.synthesize)
        for w_plus, _ in corrections(self.encoder, draw, self.seen, picture, self.latent_avg, self.average, steps):
            yield w_plus

    def trained(self, net: nn.Module) -> dict[str, Tensor]:
        """``encoder.`` and ``latent_avg``."""
        return trained_encoder(net, self.latent_avg)
