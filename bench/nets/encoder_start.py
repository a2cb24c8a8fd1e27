"""An encoder before its training: sizes from options, its trunk from a trained one where there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bench.api import Context
from bench.errors import BenchError, UnknownName, WeightsError
from bench.nets.encoder_state import ASPECTS, Encoder
from bench.nets.encoders import SLOPE
from bench.nets.reconstruction import OPTIONS as RECONSTRUCTION
from bench.nets.reconstruction import Reconstruction
from bench.nets.resnet34 import RESNET34, ResNetTrunk, from_torchvision
from bench.nets.resnet_ir import ENTRY, IR50, RESNET_ENTRY, groups_of

Made = TypeVar("Made", bound=Encoder)
OPTIONS: Mapping[str, Any] = {
    "trunk": "",  # id of weights that hold a trunk to start from, which then fixes `groups`; "": start values
    "groups": None,  # (channels, units) of each group of the trunk; None: as published
    "head_width": None,  # of the heads' convolutions but the last; None: that of the codes
    "input_size": 256,  # side of what the encoder sees; its width, where a domain's pictures are not square
    "noise": "random",  # of renders in training: "random", fresh each time, or "stored", as in every inversion
    "recogniser": "",  # id of weights of a recogniser; needed where `identity` has a weight
    **RECONSTRUCTION,
}
PARTS = ("input_layer.", "body.")  # of a trunk, in an encoder as in a recogniser
RENDER_STARTS: Mapping[str, Callable[[Tensor], Tensor]] = {"zero": torch.zeros_like, "normal": torch.randn_like}


def fresh_encoder(kind: type[Made], context: Context, options: Mapping[str, Any]) -> Made:
    """An encoder to train, for the context's generator.

    Of a six-channel encoder's entry only the part that sees the picture comes from the trunk; the part that sees the
    render starts from 0, so that the render's meaning is learnt without drowning the picture's, or as ``render_start``
    says.

    Raises:
        WeightsError: the weights hold no trunk, or another kind of trunk. UnknownName: no such start.
    """
    resnet = issubclass(kind, ResNetTrunk)
    trunk = _trunk(context, options["trunk"], resnet) if options["trunk"] else {}
    groups = options["groups"] or (RESNET34 if resnet else IR50)
    groups = groups_of(trunk, options["trunk"]) if trunk else [(int(width), int(units)) for width, units in groups]
    start = options.get("render_start", "zero")
    if start not in RENDER_STARTS:
        raise UnknownName.of("start of the render's half", start, RENDER_STARTS)
    generator, side, (rows, columns) = context.generator, options["input_size"], ASPECTS.get(context.domain, (1, 1))
    net = kind(
        generator.n_latent,
        generator.style_dim,
        groups=groups,
        input_size=side if rows == columns else (side * rows // columns, side),
        head_width=options["head_width"],
    )
    for layer in net.styles.modules():
        if isinstance(layer, nn.Conv2d):  # the framework's start values shrink a map at every layer of a deep head
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            layer.bias = nn.Parameter(torch.zeros(layer.out_channels))
    if trunk:
        name = RESNET_ENTRY if resnet else ENTRY
        entry = RENDER_STARTS[start](net.state_dict()[name])
        entry[:, :3] = trunk[name]
        net.load_state_dict({**trunk, name: entry}, strict=False)
    net.to(memory_format=torch.channels_last)
    net.to(context.device)
    return net


def one_of(kinds: Mapping[str, type[Made]], options: Mapping[str, Any]) -> type[Made]:
    """The encoder whose kind of trunk the options choose; UnknownName where there is none."""
    if options["kind"] not in kinds:
        raise UnknownName.of("kind of trunk", options["kind"], kinds)
    return kinds[options["kind"]]


def _trunk(context: Context, weights_id: str, resnet: bool) -> dict[str, Tensor]:
    state = context.load_weights(weights_id)
    trunk = from_torchvision(state) if resnet else {k: v for k, v in state.items() if k.startswith(PARTS)}
    if not trunk or (RESNET_ENTRY if resnet else ENTRY) not in trunk:
        raise WeightsError(
            f"weights {weights_id!r} hold no {'ResNet' if resnet else 'IR'} trunk",
            got=", ".join(list(state)[:3]),
            expected=f"{RESNET_ENTRY}, layer1 ... (torchvision's ResNet-34)" if resnet else f"{ENTRY}, body ...",
            fix="name others as `trunk`, or change `kind`",
        )
    return trunk


def losses_of(context: Context, options: Mapping[str, Any], weights: Mapping[str, float]) -> Reconstruction:
    """The reconstruction losses that have a weight.

    Raises:
        BenchError: an identity loss without a recogniser.
    """
    features = None
    if weights.get("identity"):
        from bench.nets.recogniser import identity_features  # which needs groups_of

        if not options["recogniser"]:
            raise BenchError("an identity loss needs a recogniser", fix="give the option `recogniser` an id of weights")
        features = identity_features(context.load_weights(options["recogniser"]), options["recogniser"], context.device)
    return Reconstruction(options, weights, context.device, features, context.load_weights)


def trained_encoder(net: nn.Module, latent_avg: Tensor) -> dict[str, Tensor]:
    """Weights of an encoder with its mean code, in the published layout; counters of batch norms are left out."""
    state = {f"encoder.{key}": value for key, value in net.state_dict().items() if value.is_floating_point()}
    return {**state, "latent_avg": latent_avg}
