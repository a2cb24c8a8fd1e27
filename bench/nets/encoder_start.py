"""An encoder before its training: sizes from options, its trunk from a trained one where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bench.api import Context
from bench.errors import BenchError, WeightsError
from bench.nets.encoder_state import Encoder
from bench.nets.encoders import SLOPE
from bench.nets.reconstruction import OPTIONS as RECONSTRUCTION
from bench.nets.reconstruction import Reconstruction
from bench.nets.resnet_ir import IR50, Groups

Made = TypeVar("Made", bound=Encoder)
ENTRY = "input_layer.0.weight"
OPTIONS: Mapping[str, Any] = {
    "trunk": "",  # id of weights that hold a trunk to start from, which then fixes `groups`; "": start values
    "groups": IR50,  # (channels, units) of each group of the trunk
    "head_width": None,  # of the heads' convolutions but the last; None: that of the codes
    "input_size": 256,  # side of what the encoder sees
    "noise": "random",  # of renders in training: "random", fresh each time, or "stored", as in every inversion
    "recogniser": "",  # id of weights of a recogniser; needed where `identity` has a weight
    **RECONSTRUCTION,
}
PARTS = ("input_layer.", "body.")  # of a trunk, in an encoder as in a recogniser


def fresh_encoder(kind: type[Made], context: Context, options: Mapping[str, Any]) -> Made:
    """An encoder to train, for the context's generator.

    Of a six-channel encoder's entry only the part that sees the picture comes from the trunk; the part that sees the
    render starts from 0, so that the render's meaning is learnt without drowning the picture's.

    Raises:
        WeightsError: the weights hold no trunk.
    """
    state = context.load_weights(options["trunk"]) if options["trunk"] else {}
    trunk = {key: value for key, value in state.items() if key.startswith(PARTS)}
    groups = (
        groups_of(trunk, options["trunk"]) if options["trunk"] else [(int(w), int(n)) for w, n in options["groups"]]
    )
    generator = context.generator
    net = kind(
        generator.n_latent,
        generator.style_dim,
        groups=groups,
        input_size=options["input_size"],
        head_width=options["head_width"],
    )
    for layer in net.styles.modules():
        if isinstance(layer, nn.Conv2d):  # the framework's start values shrink a map at every layer of a deep head
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            layer.bias = nn.Parameter(torch.zeros(layer.out_channels))
    if trunk:
        entry = torch.zeros_like(net.state_dict()[ENTRY])
        entry[:, :3] = trunk[ENTRY]
        net.load_state_dict({**trunk, ENTRY: entry}, strict=False)
    net.to(memory_format=torch.channels_last)
    net.to(context.device)
    return net


def groups_of(trunk: Mapping[str, Tensor], what: str) -> Groups:
    """(channels, units) of the groups of a trunk of IR units, read off its tensors."""
    units = [len(trunk[key]) for n in range(len(trunk)) if (key := f"body.{n}.res_layer.3.weight") in trunk]
    if ENTRY not in trunk or not units:
        raise WeightsError(f"weights {what!r} hold no trunk", got=", ".join(list(trunk)[:3]), expected=ENTRY)
    return [(width, len(list(same))) for width, same in groupby(units)]


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
