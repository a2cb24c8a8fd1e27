"""High-fidelity GAN inversion: a low-rate code, and the distortion it leaves, consulted while a picture is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from bench import api
from bench.images import resize
from bench.nets import encoders, thin_plate
from bench.nets.alignment import DistortionAligner, widths_in
from bench.nets.base_encoder import BaseEncoder
from bench.nets.consultation import fitted_encoder, packed, stages_for, unpacked
from bench.nets.hfgi_training import OPTIONS as TRAINING
from bench.nets.hfgi_training import SHARED, ConsultationTraining
from bench.nets.statedict import Network, filled, part, seeded
from bench.predictors.landmarks import detector

BASE_ENCODERS = {  # name -> networks by trunk; the weights choose
    "none": (),  # the generator's mean code for every picture
    "e4e": (encoders.ProgressiveEncoder,),
    "psp": (encoders.FPNEncoder,),
    "restyle_e4e": (encoders.ProgressiveBackboneEncoder, encoders.ProgressiveResNetEncoder),
    "restyle_psp": (encoders.BackboneEncoder, encoders.ResNetEncoder),
}
Widths = Sequence[int]
UNTRAINED: Widths = (8, 12, 16, 20, 24, 28)


class Method(api.TrainableMethod):
    """Codes of a base encoder say what a picture is like; a distortion map says what they miss.

    The map is the source minus its low-rate render. For every picture that is made, reconstruction or edit, it is
    aligned to that picture's own low-rate render; then it becomes maps that gate and complete features of early layers
    of the generator, so that detail returns and the edit stays.

    Weights, as published: ``residue.`` (consultation encoder), ``grid_align.`` (aligner), ``encoder.`` and
    ``latent_avg`` (base encoder and its mean code). The last two may lie in weights of their own, ``base_weights``.
    """

    title = "HFGI"
    source = "Wang et al. 2022 (HFGI), Sec. 3; networks and order of steps of Tengfei-Wang/HFGI e30f33c"
    weights = {"faces": "hfgi_ffhq", "annyfaces": "annyfaces_hfgi_paper"}
    unpublished = {"cars": "its authors published none for it (issue 19 of their repository asks, without an answer)"}
    options = {
        "base_encoder": "e4e",  # E_0: "e4e", "psp", "restyle_e4e", "restyle_psp"; "none": the mean code alone
        "base_weights": {},  # domain -> id of weights with E_0 and its mean code; elsewhere those of the method
        "base_steps": 5,  # of a ReStyle base
        "own_weights": {},  # domain -> id of weights with the other networks, for variants trained apart
        "consult": True,  # without it: the base encoder alone
        "align": True,  # without it: the map is consulted as it is, out of place under edits
        "fusion": "release",  # (1 + scale) F + shift; "paper": gate F + detail; "image": added to the picture;
        # "image_warp": added, after a warp by landmarks of source and render
        "landmarks": {},  # domain -> name of the landmark source (bench/predictors/landmarks.py) for "image_warp"
        "landmark_weights": {},  # domain -> id of its weights
        "layers": [7],  # consulted layers by style index; 3, 5 and 7 are the first of side 16, 32 and 64
        "distortion_size": 256,  # side of the map
        "resampler": "bilinear",  # rule that brings renders to it; "area" pools
        "untrained": False,  # seeded start values for weights: `bench check` needs no more
    }
    domain_options = {
        "annyfaces": {
            "distortion_size": 128,
            "base_weights": {"annyfaces": "annyfaces_e4e"},
            "base_steps": 3,  # as many as the ReStyle encoders of this domain were trained with
            "fusion": "paper",
        }
    }
    lowest = {"distortion_size": 1, "base_steps": 1}
    quick = {"untrained": True, "base_encoder": "none", "layers": [3], "distortion_size": 32}
    training = {**TRAINING, "base_encoder": "e4e"}

    def setup(self) -> None:
        """Build what the options ask for; widths and mean code are those of the weights."""
        self.consulted: tuple[Tensor, int, Tensor] | None = None
        domain, fusion = self.context.domain, self.opt["fusion"]
        ids = {**self.weights, **self.opt["own_weights"]}
        self.load = cache(self.context.load_weights)  # one file may hold both
        self.base = self._base({**ids, **self.opt["base_weights"]}, replace(self.context, load_weights=self.load))
        self.aligner = self.consultation = self.landmarks = None
        consult, warp = self.opt["consult"], fusion == "image_warp"
        if consult and self.opt["align"]:
            self.aligner = self._own(ids, "grid_align.", DistortionAligner, 2)
        if consult and warp:
            name, weights_id = (self.opt[key].get(domain, "") for key in ("landmarks", "landmark_weights"))
            self.landmarks = detector(self.context, name, weights_id, self.opt["untrained"])
        if consult and fusion not in ("image", "image_warp"):
            net, side = self.generator.net, self.opt["distortion_size"]
            layers = {n: net.channels[net.layer_side(n)] for n in self.opt["layers"]}
            make = partial(fitted_encoder, layers, fusion, input_size=side)
            self.consultation = self._own(ids, "residue.", make, stages_for(layers, side))
        del self.load

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) in [-1, 1] -> codes and the distortion map (B, 3, S, S) of their render, in [-2, 2]."""
        w_plus = self.base(x)
        if not self.opt["consult"]:
            return api.Inversion(w_plus)
        x_low = resize(x, self.opt["distortion_size"], "bilinear_aa")
        memory = {"distortion": x_low - self.low_rate(w_plus)}
        if self.landmarks is not None:
            memory["landmarks"] = self.landmarks(x_low)
        return api.Inversion(w_plus, memory)

    def render(self, w_plus: Tensor, inversion: api.Inversion) -> Tensor:
        """Codes, the source's or edited ones -> (B, 3, R, R), unclamped."""
        if not self.opt["consult"]:
            return self.generator.synthesize(w_plus)
        if self.consultation is None:
            distortion = self.in_place(w_plus, inversion)
            return self.generator.synthesize(w_plus) + resize(distortion, self.generator.resolution, "bilinear")
        latent_map = unpacked(inversion.memory) or self.consultation(self.in_place(w_plus, inversion))
        return self.generator.synthesize(w_plus, consult=self.consultation.consult(latent_map))

    def latent_maps(self, inversion: api.Inversion) -> api.Inversion | None:
        """Codes and the maps that are fused, aligned to the source: what an edit then cannot align any more."""
        if self.consultation is None:
            return None
        maps = self.consultation(self.in_place(inversion.w_plus, inversion))
        return api.Inversion(inversion.w_plus, packed(maps))

    def in_place(self, w_plus: Tensor, inversion: api.Inversion) -> Tensor:
        """The distortion map (B, 3, S, S) where the render of these codes needs it: warped, aligned, or as it is."""
        distortion = inversion.memory["distortion"]
        if self.landmarks is not None:
            to = self.landmarks(self.low_rate(w_plus))
            distortion = thin_plate.warp(distortion, inversion.memory["landmarks"], to)
        return distortion if self.aligner is None else self.aligner(self.low_rate(w_plus), distortion)

    def low_rate(self, w_plus: Tensor) -> Tensor:
        """(B, 3, S, S) render of the codes alone, in [-1, 1]; that of the last codes is remembered.

        An inversion needs it twice, for the map and to align the map: two renders in all, as in the release, not three.
        """
        if self.consulted is not None and self.consulted[0] is w_plus and self.consulted[1] == w_plus._version:
            return self.consulted[2]
        x_hat_o = self.generator.synthesize(w_plus).clamp(-1, 1)
        small = resize(x_hat_o, self.opt["distortion_size"], self.opt["resampler"])
        self.consulted = None if small.requires_grad or small.is_inference() else (w_plus, w_plus._version, small)
        return small

    def start_training(self, options: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """Fresh aligner and consultation encoder on a frozen base."""
        self.opt.update({name: options[name] for name in SHARED})
        self.consulted = self.landmarks = None
        self.base = self._base({self.context.domain: options["base_weights"]}, self.context)
        self.learning = ConsultationTraining(self.context, options, weights, self.base)
        self.aligner, self.consultation = self.learning.aligner, self.learning.consultation

    def trainable(self) -> nn.Module:
        """``grid_align`` and ``residue``; with them the base, where its norms may drift."""
        return self.learning.nets

    def discriminators(self) -> Mapping[str, nn.Module]:
        """The discriminator of pictures, where the adversarial loss has a weight."""
        return self.learning.discriminators()

    def training_loss(self, x: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """Reconstruction from a distortion map that was warped and aligned again (Wang et al. 2022, Sec. 3.4)."""
        return self.learning.losses(x, rng, self.context.image_seeds)

    def discriminator_loss(self, name: str, x: Tensor, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        """The discriminator's, on the renders of this batch."""
        return self.learning.discriminator_loss(step)

    def trained(self, net: nn.Module) -> dict[str, Tensor]:
        """``residue.`` and ``grid_align.``; the base has weights of its own."""
        return self.learning.trained(net)

    def _base(self, ids: Mapping[str, str], context: api.Context) -> BaseEncoder:
        name = self.opt["base_encoder"]
        if name not in BASE_ENCODERS:
            raise api.UnknownName.of("base encoder", name, BASE_ENCODERS)
        return BaseEncoder(context, ids, BASE_ENCODERS[name], self.opt["untrained"], self.opt["base_steps"])

    def _own(self, ids: Mapping[str, str], prefix: str, make: Callable[[Widths], Network], depth: int) -> Network:
        """One of the method's own networks, frozen, with its weights, or with the same start values everywhere."""
        domain = self.context.domain
        if self.opt["untrained"]:
            return seeded(partial(make, UNTRAINED[:depth])).to(self.device)
        if domain not in ids:
            raise api.WeightsError(f"no weights for domain {domain!r}", expected=f"one of: {', '.join(sorted(ids))}")
        state = part(self.load(ids[domain]), prefix)
        return filled(partial(make, widths_in(state)), state, f"weights {ids[domain]!r}").to(self.device)
