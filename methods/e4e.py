"""e4e: one pass of an encoder whose codes stay near one code for all layers, so that they can be edited."""

from __future__ import annotations

from torch import Tensor

from bench import api
from bench.nets.encoder_state import prepared, view
from bench.nets.encoders import ProgressiveEncoder


class Method(api.Method):
    """One code for all layers and a difference for each, small by training, plus the mean code."""

    title = "e4e"
    source = "Tov et al. 2021 (e4e); network of omertov/encoder4editing 99ea505"
    weights = {"faces": "e4e_ffhq", "cars": "e4e_cars", "church": "e4e_church", "horse": "e4e_horse"}
    options = {"untrained": False}  # seeded start values for weights: `bench check` needs no more
    quick = {"untrained": True}

    def setup(self) -> None:
        """Build the encoder that the weights describe; its mean code is theirs."""
        self.encoder, self.latent_avg = prepared(
            self.context, self.weights, (ProgressiveEncoder,), self.opt["untrained"]
        )

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) in [-1, 1] -> codes; nothing else is kept."""
        return api.Inversion(self.latent_avg + self.encoder(view(x, self.encoder.input_size, "bilinear_aa")))
