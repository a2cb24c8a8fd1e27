"""High-fidelity GAN inversion: a low-rate code, and the distortion it leaves, consulted while a picture is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import groupby

import torch
from torch import Tensor

from bench import api
from bench.images import resize
from bench.nets.alignment import DistortionAligner, widths_in
from bench.nets.consultation import ConsultationEncoder
from bench.nets.encoders import FPNEncoder, ProgressiveEncoder
from bench.nets.resnet_ir import IR50, Groups, sides_of
from bench.nets.statedict import Network, filled, part

BASE_ENCODERS: dict[str, type[FPNEncoder]] = {"e4e": ProgressiveEncoder, "psp": FPNEncoder}
UNTRAINED = (8, 12)  # widths


class Method(api.Method):
    """Codes of a base encoder say what a picture is like; a distortion map says what they miss.

    The map is the source minus its low-rate render. For every picture that is made, reconstruction or edit, it is
    aligned to that picture's own low-rate render; then it becomes maps that gate and complete features of early layers
    of the generator, so that detail returns and the edit stays.
    """

    title = "HFGI"
    source = "Wang et al. 2022 (HFGI), Sec. 3; networks and order of steps of Tengfei-Wang/HFGI e30f33c"
    weights = {"faces": "hfgi_ffhq"}
    options = {
        "base_encoder": "e4e",  # E_0: "e4e", "psp"; "none": the mean code for every picture
        "base_weights": "",  # id of the weights with E_0 and its mean code; empty: those of the method
        "consult": True,  # without it: the base encoder alone
        "align": True,  # without it: the map is consulted as it is, out of place under edits
        "fusion": "release",  # (1 + scale) F + shift; "paper": gate F + detail; "image": added to the picture
        "layers": [7],  # consulted layers by style index; 7 is the first of side 64
        "distortion_size": 256,  # side of the map
        "resampler": "bilinear",  # rule that brings renders to it; "area" is that of the release's training
        "untrained": False,  # seeded start values for weights: `bench check` needs no more
    }
    lowest = {"distortion_size": 1}
    quick = {"untrained": True, "base_encoder": "none", "layers": [3], "distortion_size": 32}

    @classmethod
    def skip(cls, dataset: api.DatasetInfo) -> str | None:
        """None, or that there are no weights for the domain, and for which there are."""
        if dataset.domain in cls.weights:
            return None
        return (
            f"no weights for domain {dataset.domain!r}; there are some for: {', '.join(sorted(cls.weights)) or 'none'}"
        )

    def setup(self) -> None:
        """Build what the options ask for; widths and mean code are those of the weights."""
        self.kept: tuple[Tensor, Tensor] | None = None
        state = self._weights(self.weights.get(self.context.domain))
        base = self._weights(self.opt["base_weights"]) if self.opt["base_weights"] else state
        mean = base.get("latent_avg", self.generator.latent_avg).to(self.device)
        self.latent_avg = mean.reshape(-1, mean.shape[-1]).expand(self.generator.n_latent, -1)
        self.encoder = self._base_encoder(part(base, "encoder."))
        self.aligner = self.consultation = None
        if self.opt["consult"] and self.opt["align"]:
            own = part(state, "grid_align.")
            self.aligner = self._network(partial(DistortionAligner, widths_in(own) or UNTRAINED), own)
        if self.opt["consult"] and self.opt["fusion"] != "image":
            own = part(state, "residue.")
            channels, side = self.generator.net.channels, self.generator.net.layer_side
            layers = {n: channels[side(n)] for n in self.opt["layers"]}
            shape = layers, self.opt["fusion"], widths_in(own) or UNTRAINED, self.opt["distortion_size"]
            self.consultation = self._network(partial(ConsultationEncoder, *shape), own)

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) in [-1, 1] -> codes and the distortion map (B, 3, S, S) of their render, in [-2, 2]."""
        w_plus = self.latent_avg.repeat(len(x), 1, 1)
        if self.encoder is not None:
            w_plus = w_plus + self.encoder(resize(x, sides_of(self.encoder.input_size), "bilinear_aa"))
        if not self.opt["consult"]:
            return api.Inversion(w_plus)
        x_low = resize(x, self.opt["distortion_size"], "bilinear_aa")
        return api.Inversion(w_plus, {"distortion": x_low - self.low_rate(w_plus)})

    def render(self, w_plus: Tensor, inversion: api.Inversion) -> Tensor:
        """Codes, the source's or edited ones -> (B, 3, R, R), unclamped."""
        if not self.opt["consult"]:
            return self.generator.synthesize(w_plus)
        distortion = inversion.memory["distortion"]
        if self.aligner is not None:
            distortion = self.aligner(self.low_rate(w_plus), distortion)
        if self.consultation is None:
            return self.generator.synthesize(w_plus) + resize(distortion, self.generator.resolution, "bilinear")
        latent_map = self.consultation(distortion)
        return self.generator.synthesize(w_plus, consult=self.consultation.consult(latent_map))

    def low_rate(self, w_plus: Tensor) -> Tensor:
        """(B, 3, S, S) render of the codes alone, in [-1, 1]; that of the last codes is remembered.

        An inversion needs it twice, for the map and to align the map: two renders in all, as in the release, not three.
        """
        if self.kept is not None and not w_plus.requires_grad and torch.equal(self.kept[0], w_plus):
            return self.kept[1]
        x_hat_o = self.generator.synthesize(w_plus).clamp(-1, 1)
        small = resize(x_hat_o, self.opt["distortion_size"], self.opt["resampler"])
        self.kept = None if small.requires_grad else (w_plus.clone(), small)
        return small

    def _weights(self, weights_id: str | None) -> Mapping[str, Tensor]:
        """Tensors in the published layout: ``encoder.``, ``grid_align.``, ``residue.`` and ``latent_avg``."""
        if self.opt["untrained"]:
            return {}
        if weights_id is None:
            raise api.WeightsError(f"no weights for domain {self.context.domain!r}", expected=sorted(self.weights))
        return self.context.load_weights(weights_id)

    def _base_encoder(self, state: Mapping[str, Tensor]) -> FPNEncoder | None:
        """E_0 with its weights, or None for the mean code."""
        name, generator = self.opt["base_encoder"], self.generator
        if name == "none":
            return None
        if name not in BASE_ENCODERS:
            raise api.UnknownName.of("base encoder", name, ["none", *BASE_ENCODERS])
        groups, side = _trunk(state)
        make = partial(BASE_ENCODERS[name], generator.n_latent, generator.style_dim, groups=groups, input_size=side)
        return self._network(make, state)

    def _network(self, make: Callable[[], Network], state: Mapping[str, Tensor]) -> Network:
        """A frozen network with its weights, or with the same start values everywhere."""
        if not self.opt["untrained"]:
            return filled(make, state, f"weights of domain {self.context.domain!r}").to(self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make().eval().requires_grad_(False).to(self.device)


def _trunk(state: Mapping[str, Tensor]) -> tuple[Groups, int]:
    """(channels, units) of each group of an encoder's trunk and the side of its input, read off its weights.

    Groups differ in width; map2style halves the coarsest map to one pixel. Without weights: the published ones.
    """
    units = [len(state[key]) for n in range(len(state)) if (key := f"body.{n}.res_layer.3.weight") in state]
    groups = [(width, len(list(same))) for width, same in groupby(units)]
    halvings = len(groups) + sum(key.startswith("styles.0.convs.") and key.endswith("weight") for key in state)
    return (groups, 1 << halvings) if groups else (IR50, 256)
