"""ReStyle on e4e: an encoder corrects editable codes a few times, looking at what they render."""

from __future__ import annotations

from torch import Tensor

from bench import api
from bench.nets.encoder_state import prepared, view
from bench.nets.encoders import ProgressiveBackboneEncoder, ProgressiveResNetEncoder
from bench.nets.restyle import refine


class Method(api.Method):
    """Corrections of one code for all layers and of a difference for each, added up over the steps."""

    title = "ReStyle (e4e)"
    source = "Alaluf et al. 2021 (ReStyle); networks of yuval-alaluf/restyle-encoder 5e80276"
    weights = {
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
    quick = {"untrained": True, "steps": 2}

    def setup(self) -> None:
        """Build the encoder that the weights describe; render its mean code, which every picture starts from."""
        kinds = (ProgressiveBackboneEncoder, ProgressiveResNetEncoder)
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
