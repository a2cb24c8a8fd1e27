"""e4e: one pass of an encoder whose codes stay near one code for all layers, so that they can be edited."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench import api
from bench.nets.encoder_start import OPTIONS, fresh_encoder, losses_of, trained_encoder
from bench.nets.encoder_state import prepared, view
from bench.nets.encoders import ProgressiveEncoder
from bench.nets.progressive import OPTIONS as PROGRESSIVE
from bench.nets.progressive import EditableCodes, stage_at


class Method(api.TrainableMethod):
    """One code for all layers and a difference for each, small by training, plus the mean code."""

    title = "e4e"
    source = "Tov et al. 2021 (e4e); network of omertov/encoder4editing 99ea505"
    weights = {
        "annyfaces": "annyfaces_e4e",
        "faces": "e4e_ffhq",
        "cars": "e4e_cars",
        "church": "e4e_church",
        "horse": "e4e_horse",
    }
    options = {"untrained": False}  # seeded start values for weights: `bench check` needs no more
    quick = {"untrained": True}
    training = {**OPTIONS, **PROGRESSIVE}
    stage: int | None = None  # differences in use, all but while a training has not come to them

    def setup(self) -> None:
        """Build the encoder that the weights describe; its mean code is theirs."""
        self.encoder, self.latent_avg = prepared(
            self.context, self.weights, (ProgressiveEncoder,), self.opt["untrained"]
        )

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) in [-1, 1] -> codes; nothing else is kept."""
        seen = view(x, self.encoder.input_size, "bilinear_aa")
        return api.Inversion(self.latent_avg + self.encoder(seen, self.stage))

    def start_training(self, options: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """A fresh encoder around the generator's mean code, and a discriminator of its codes."""
        self.latent_avg, self.plan = self.generator.latent_avg, options
        self.encoder = fresh_encoder(ProgressiveEncoder, self.context, options)
        self.reconstruction = losses_of(self.context, options, weights)
        self.editable = EditableCodes(self.generator, self.latent_avg, options)

    def trainable(self) -> nn.Module:
        """The encoder."""
        return self.encoder

    def opponents(self) -> Mapping[str, nn.Module]:
        """The discriminator of codes."""
        return self.editable.opponents()

    def training_losses(self, x: Tensor, rng: torch.Generator, seen: int) -> Iterator[dict[str, Tensor]]:
        """Reconstruction, size of the differences, and whether codes look mapped (Tov et al. 2021, Sec. 5.2)."""
        self.stage = stage_at(seen, self.generator.n_latent, self.plan)
        w_plus = self.embed(x).w_plus
        x_hat = self.generator.synthesize(w_plus, noise=self.plan["noise"])
        yield {**self.reconstruction(x_hat, x), **self.editable.losses(w_plus, self.stage)}

    def opponent_loss(self, name: str, x: Tensor, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        """The discriminator's, on the codes of this batch and mapped ones."""
        return self.editable.opponent_loss(rng, step)

    def trained(self, net: nn.Module) -> dict[str, Tensor]:
        """``encoder.`` and ``latent_avg``."""
        return trained_encoder(net, self.latent_avg)
