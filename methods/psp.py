"""pSp: one pass of an encoder, a code for every layer from the map of fitting side."""

from __future__ import annotations

from torch import Tensor

from bench import api
from bench.nets.encoder_state import prepared, view
from bench.nets.encoders import FPNEncoder


class Method(api.Method):
    """Codes of all layers, each from its own head on one of three levels of a feature pyramid, plus the mean code."""

    title = "pSp"
    source = "Richardson et al. 2021 (pSp); network of eladrich/pixel2style2pixel 5cfff38"
    weights = {"faces": "psp_ffhq"}
    options = {"untrained": False}  # seeded start values for weights: `bench check` needs no more
    quick = {"untrained": True}

    def setup(self) -> None:
        """Build the encoder that the weights describe; its mean code is theirs."""
        self.encoder, self.latent_avg = prepared(self.context, self.weights, (FPNEncoder,), self.opt["untrained"])

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) in [-1, 1] -> codes; nothing else is kept."""
        return api.Inversion(self.latent_avg + self.encoder(view(x, self.encoder.input_size, "bilinear_aa")))
