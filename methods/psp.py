"""pSp: one pass of an encoder, a code for every layer from the map of fitting side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench import api
from bench.nets.encoder_start import OPTIONS, fresh_encoder, losses_of, trained_encoder
from bench.nets.encoder_state import prepared, view
from bench.nets.encoders import FPNEncoder


class Method(api.TrainableMethod):
    """Codes of all layers, each from its own head on one of three levels of a feature pyramid, plus the mean code."""

    title = "pSp"
    source = "Richardson et al. 2021 (pSp); network of eladrich/pixel2style2pixel 5cfff38"
    weights = {"faces": "psp_ffhq", "annyfaces": "annyfaces_psp"}
    options = {"untrained": False}  # seeded start values for weights: `bench check` needs no more
    quick = {"untrained": True}
    training = {**OPTIONS}

    def setup(self) -> None:
        """Build the encoder that the weights describe; its mean code is theirs."""
        self.encoder, self.latent_avg = prepared(self.context, self.weights, (FPNEncoder,), self.opt["untrained"])

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) in [-1, 1] -> codes; nothing else is kept."""
        return api.Inversion(self.latent_avg + self.encoder(view(x, self.encoder.input_size, "bilinear_aa")))

    def start_training(self, options: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """A fresh encoder around the generator's mean code."""
        self.latent_avg, self.noise = self.generator.latent_avg, options["noise"]
        self.encoder = fresh_encoder(FPNEncoder, self.context, options)
        self.reconstruction = losses_of(self.context, options, weights)

    def trainable(self) -> nn.Module:
        """The encoder."""
        return self.encoder

    def training_loss(self, x: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """Reconstruction alone (Richardson et al. 2021, Sec. 3.2; no regularisation of codes for inversion)."""
        return self.reconstruction(self.generator.synthesize(self.embed(x).w_plus, noise=self.noise), x)

    def trained(self, net: nn.Module) -> dict[str, Tensor]:
        """``encoder.`` and ``latent_avg``."""
        return trained_encoder(net, self.latent_avg)
