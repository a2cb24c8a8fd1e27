"""ReStyle on pSp: an encoder corrects its codes a few times, looking at what they render."""

from __future__ import annotations

from torch import Tensor

from bench import api
from bench.nets.encoder_state import prepared, view
from bench.nets.encoders import BackboneEncoder, ResNetEncoder
from bench.nets.restyle import refine


class Method(api.Method):
    """Corrections for the codes of all layers, each from its own head, added up over the steps."""

    title = "ReStyle (pSp)"
    source = "Alaluf et al. 2021 (ReStyle); networks of yuval-alaluf/restyle-encoder 5e80276"
    weights = {
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
    quick = {"untrained": True, "steps": 2}

    def setup(self) -> None:
        """Build the encoder that the weights describe; render its mean code, which every picture starts from."""
        kinds = (BackboneEncoder, ResNetEncoder)
        self.encoder, self.latent_avg = prepared(self.context, self.weights, kinds, self.opt["untrained"])
        self.average = self.shown(self.latent_avg[None])

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) in [-1, 1] -> codes after the last step; nothing else is kept."""
        return api.Inversion(self.codes_per_step(x)[-1])

    def codes_per_step(self, x: Tensor) -> list[Tensor]:
        """(B, 3, R, R) in [-1, 1] -> (B, L, D) codes after each step."""
        picture, steps = view(x, self.encoder.input_size, "bilinear_aa"), self.opt["steps"]
        found: list[Tensor] = []
        for w_plus in refine(self.encoder, self.shown, picture, self.latent_avg, self.average, steps):
            found.append(w_plus)
            self.context.progress(len(found) / steps)
        return found

    def shown(self, w_plus: Tensor) -> Tensor:
        """(B, L, D) codes -> (B, 3, H, W), their render as the encoder sees it, not clamped."""
        return view(self.generator.synthesize(w_plus), self.encoder.input_size, "area")
