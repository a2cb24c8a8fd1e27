"""How HFGI's two networks learn: an aligner on warped distortion maps, a consultation encoder on what it is given.

Every difference between the paper and the authors' release is an option; the files ``hfgi_paper.yaml`` and
``hfgi_release.yaml`` choose one side of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import BenchError, UnknownName, WeightsError
from bench.images import resize
from bench.nets.alignment import WIDTHS as ALIGN_WIDTHS
from bench.nets.alignment import DistortionAligner
from bench.nets.consultation import WIDTHS, ConsultationEncoder
from bench.nets.image_adversarial import ImageAdversarialLoss, discriminator_from
from bench.nets.perspective import random_perspective
from bench.nets.recogniser import identity_features
from bench.nets.reconstruction import OPTIONS as RECONSTRUCTION
from bench.nets.reconstruction import Reconstruction
from bench.nets.stylegan2 import Discriminator

if TYPE_CHECKING:
    from bench.api import Context
    from bench.nets.base_encoder import BaseEncoder

SHARED: Mapping[str, Any] = {  # what rendering after the training must know too
    "base_encoder": "none",  # E_0, as in the method's options; its weights stay as they are
    "base_steps": 5,  # of a ReStyle base
    "fusion": "paper",  # "paper": gate F + detail; "release": (1 + scale) F + shift, one layer
    "layers": [7],  # consulted layers by style index
    "distortion_size": 256,  # side of the distortion map
    "resampler": "bilinear",  # rule that brings low-rate renders to the map's side; "area" pools as the losses do
}
OPTIONS: Mapping[str, Any] = {
    **SHARED,
    "base_weights": "",  # id of the weights of E_0
    "widths": WIDTHS,  # of the consultation encoder
    "align_widths": ALIGN_WIDTHS,  # of the aligner
    "from_base": False,  # start values with which renders begin at those of the base, not at random features
    "warp_scale": 0.15,  # of random perspectives, as bench.nets.perspective.draw_endpoints
    "warp_probability": 0.9,  # that a map is warped at all
    "warp_shared": False,  # one warp for the whole batch, as released, instead of one for each picture
    "noise": "random",  # of renders in training: "random", fresh each time (release), or "stored", as in inversion
    "base_norms": "frozen",  # batch norms of the base encoder; "drifting": batch statistics, as released
    "discriminator": "",  # id of weights of a StyleGAN2 discriminator ("id/part" of published ones), or "fresh": start
    # values, of the generator's side and widths; needed where `adversarial` has a weight
    "judged": 0,  # pictures of a batch that the discriminator sees; 0: all
    "r1_every": 16,  # steps between two gradient penalties of the discriminator
    "recogniser": "",  # id of weights of a recogniser; needed where `identity` has a weight
    **RECONSTRUCTION,
}
ALIGNER, CONSULTATION, BASE = "grid_align", "residue", "encoder"  # published names
NORMS = ("frozen", "drifting")
FRESH = "fresh"


class ConsultationTraining:
    """Networks and losses of HFGI beyond its frozen base.

    Args:
        context: generator, device, weights. options: values of :data:`OPTIONS`. weights: loss -> weight.
        base: pictures -> codes. No gradient reaches it, and it stays in evaluation mode unless its norms may drift.

    Source: Wang et al. 2022 (HFGI), Sec. 3.3 and 3.4, Eq. 6 to 8; Tengfei-Wang/HFGI e30f33c.
    """

    def __init__(self, context: Context, options: Mapping[str, Any], weights: Mapping[str, float], base: BaseEncoder):
        if options["base_norms"] not in NORMS:
            raise UnknownName.of("treatment of the base's batch norms", options["base_norms"], NORMS)
        self.generator, self.options, self.weights, self.base = context.generator, options, weights, base
        net = self.generator.net
        layers = {int(n): net.channels[net.layer_side(int(n))] for n in options["layers"]}
        self.aligner = DistortionAligner(options["align_widths"])
        size = options["distortion_size"]
        self.consultation = ConsultationEncoder(layers, options["fusion"], options["widths"], size)
        self.nets = nn.ModuleDict({ALIGNER: self.aligner, CONSULTATION: self.consultation})
        if options["from_base"]:
            start_from_base(self.aligner, self.consultation)
        base.eval().requires_grad_(False)
        if options["base_norms"] == "drifting" and base.encoder is not None:
            self.nets[BASE] = base.encoder  # put in training mode with the others; its parameters stay frozen
        self.nets.to(context.device)
        features = None
        if weights.get("identity"):
            _required(options, "recogniser", "identity")
            state = context.load_weights(options["recogniser"])
            features = identity_features(state, options["recogniser"], context.device)
        self.reconstruction = Reconstruction(options, weights, context.device, features, context.load_weights)
        self.adversarial_loss: ImageAdversarialLoss | None = None
        if weights.get("adversarial"):
            self.adversarial_loss = ImageAdversarialLoss(_discriminator(context, options), options["r1_every"]).to(
                context.device
            )
        self.fake: tuple[Tensor, Tensor] | None = None

    def losses(self, x: Tensor, rng: torch.Generator, seeds: list[int]) -> dict[str, Tensor]:
        """Reconstruction, alignment and adversarial terms of a batch.

        Args:
            x: (B, 3, R, R) pictures in [-1, 1].
            rng: for a warp of the whole batch. seeds: one for each picture, for warps of their own.
        Returns:
            ``l2``, ``perceptual``, ``identity``, ``align``, ``adversarial``: those that have a weight.
        """
        with torch.no_grad():
            w_plus = self.base(x)
        distortion, low = self.distortion(x, w_plus)
        aligned = self.aligner(low, self.misaligned(distortion, rng, seeds))
        hooks = self.consultation.consult(self.consultation(aligned))
        x_hat = self.generator.synthesize(w_plus, noise=self.options["noise"], consult=hooks)
        losses = self.reconstruction(x_hat, x)
        if self.weights.get("align"):
            losses["align"] = F.l1_loss(aligned.float(), distortion)
        if self.adversarial_loss is not None:
            chosen = slice(self.options["judged"] or None)
            discriminator_input = resize(
                x_hat[chosen], x.shape[-1], "area"
            )  # a discriminator must not tell sides apart
            losses["adversarial"] = self.adversarial_loss.verdict(discriminator_input)
            self.fake = x[chosen], discriminator_input.detach()
        return losses

    @torch.no_grad()
    def distortion(self, x: Tensor, w_plus: Tensor) -> tuple[Tensor, Tensor]:
        """What the codes lose, (B, 3, S, S) in [-2, 2], and their render, (B, 3, S, S) in [-1, 1]."""
        size = self.options["distortion_size"]
        render = self.generator.synthesize(w_plus, noise=self.options["noise"]).clamp(-1, 1)
        low = resize(render, size, self.options["resampler"])
        return resize(x, size, "bilinear_aa") - low, low

    def misaligned(self, distortion: Tensor, rng: torch.Generator, seeds: list[int]) -> Tensor:
        """The maps under random perspectives: what an edit would do to them, with the answer known."""
        scale, probability = self.options["warp_scale"], self.options["warp_probability"]
        if self.options["warp_shared"]:
            return random_perspective(distortion, rng, scale, probability, shared=True)
        own = [torch.Generator().manual_seed(seed) for seed in seeds]
        warped = [
            random_perspective(one[None], each, scale, probability) for one, each in zip(distortion, own, strict=True)
        ]
        return torch.cat(warped)

    def discriminators(self) -> dict[str, nn.Module]:
        """The discriminator, where it has a say."""
        return {} if self.adversarial_loss is None else {"image_discriminator": self.adversarial_loss}

    def discriminator_loss(self, step: int) -> dict[str, Tensor]:
        """The discriminator's losses on the pictures and renders of the last :meth:`losses`."""
        if self.adversarial_loss is None or self.fake is None:
            raise BenchError("no render to judge", fix="compute the method's losses before its opponent's")
        return self.adversarial_loss.losses(*self.fake, step)

    def trained(self, net: nn.Module) -> dict[str, Tensor]:
        """``residue.`` and ``grid_align.``; with drifted norms ``encoder.`` and ``latent_avg`` too."""
        state = {key: value for key, value in net.state_dict().items() if value.is_floating_point()}
        return {**state, "latent_avg": self.base.latent_avg} if BASE in self.nets else state


@torch.no_grad()
def start_from_base(aligner: DistortionAligner, consultation: ConsultationEncoder) -> None:
    """Let the maps leave features as they are at first, and aligned distortions be about as small as distortions are.

    Published start values make the first renders noise, which a long training forgets and a short one does not.
    """
    for name, head in consultation.named_children():
        if not name.startswith("conv_layer"):
            last = list(head.children())[-1]
            nn.init.zeros_(last.get_parameter("weight"))
    for norm in getattr(aligner, f"dconv_layer{aligner.stages - 1}").modules():
        if isinstance(norm, nn.BatchNorm2d) and norm.num_features == 3:
            norm.weight.mul_(0.1)


def _discriminator(context: Context, options: Mapping[str, Any]) -> Discriminator:
    """The adversary before the training.

    Raises:
        BenchError: none is named, or its weights are not here.
    """
    _required(options, "discriminator", "adversarial")
    name, generator = options["discriminator"], context.generator
    if name == FRESH:
        return Discriminator(generator.resolution, channels=generator.net.channels)
    try:
        state = context.load_weights(name)
    except WeightsError as error:
        if error.fix:
            raise
        fix = f"set `adversarial: 0` under weights, or `discriminator: {FRESH}` under options"
        raise WeightsError(error.what, got=error.got, expected=error.expected, fix=fix) from None
    return discriminator_from(state, name)


def _required(options: Mapping[str, Any], name: str, loss: str) -> None:
    if not options[name]:
        raise BenchError(
            f"loss `{loss}` has a weight but option `{name}` is empty", fix=f"name its weights, or set {loss}: 0"
        )
