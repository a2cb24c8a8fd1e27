"""ReStyle on pSp: an encoder corrects its codes a few times, looking at what they render."""

from __future__ import annotations

from torch import Tensor

from bench.nets.encoder_start import OPTIONS
from bench.nets.encoders import BackboneEncoder, ResNetEncoder
from bench.nets.restyle import OPTIONS as STEPS
from bench.nets.restyle import ReStyle

KINDS = {"ir": BackboneEncoder, "resnet": ResNetEncoder}


class Method(ReStyle):
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
    kinds = KINDS

    def step_losses(self, w_plus: Tensor, x_hat: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Reconstruction after every inner step (Alaluf et al. 2021, Sec. 3)."""
        return self.reconstruction(x_hat, x)
