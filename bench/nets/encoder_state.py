"""Encoders out of weights: which network a state dict describes, its mean code, and the picture it wants to see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from torch import Tensor

from bench.api import Context
from bench.errors import WeightsError
from bench.images import resize
from bench.nets.encoders import BackboneEncoder, FPNEncoder, ResNetEncoder
from bench.nets.resnet_ir import Groups, sides_of
from bench.nets.statedict import filled, part, seeded

Encoder = FPNEncoder | BackboneEncoder | ResNetEncoder
ASPECTS = {"cars": (3, 4)}  # height to width of what an encoder sees, where not square: cars fill rows 64:448 of 512
UNTRAINED: Groups = ((16, 1), (20, 1), (24, 1))  # the pyramid has three levels


def prepared(
    context: Context, weights: Mapping[str, str], kinds: tuple[type[Encoder], ...], untrained: bool = False
) -> tuple[Encoder, Tensor]:
    """The frozen encoder of a method in a domain, and its mean code (L, D), both on the context's device.

    Args:
        weights: domain -> id of weights with ``encoder.`` and ``latent_avg``.
        kinds: classes by trunk, that of IR units first; the weights choose.
        untrained: small, with the same start values everywhere, and the generator's mean code.
    Raises:
        WeightsError: none for the domain; not those of such an encoder, or of another generator's codes.
    """
    generator = context.generator
    if untrained:
        side = min(generator.resolution, 256)
        make: Callable[[], Encoder] = partial(
            kinds[0], generator.n_latent, generator.style_dim, groups=UNTRAINED, input_size=side
        )
        return seeded(make).to(context.device), generator.latent_avg
    if context.domain not in weights:
        raise WeightsError(
            f"no weights for domain {context.domain!r}", expected=f"one of: {', '.join(sorted(weights))}"
        )
    what = f"weights {weights[context.domain]!r}"
    state = context.load_weights(weights[context.domain])
    encoder = encoder_from(part(state, "encoder."), kinds, what, ASPECTS.get(context.domain, (1, 1)))
    made, expected = (encoder.n_styles, encoder.style_dim), (generator.n_latent, generator.style_dim)
    if made != expected:
        raise WeightsError(
            f"{what} are for another generator",
            got=f"{made[0]} codes of {made[1]}",
            expected=f"{expected[0]} of {expected[1]}",
        )
    return encoder.to(context.device), mean_latent(state, *expected, what).to(context.device)


def encoder_from(
    state: Mapping[str, Tensor], kinds: tuple[type[Encoder], ...], what: str, aspect: tuple[int, int] = (1, 1)
) -> Encoder:
    """The frozen encoder that holds these tensors.

    Args:
        state: published layout, no prefix. kinds: as :func:`prepared`. what: names the weights in errors.
        aspect: height to width of its pictures; a square and a flatter picture need the same tensors.
    Raises:
        WeightsError: no encoder, one whose trunk none of ``kinds`` has, or tensors that do not fit.
    """
    arguments = arguments_in(state, what)
    fitting = [kind for kind in kinds if issubclass(kind, ResNetEncoder) == ("conv1.weight" in state)]
    channels = 3 if issubclass(kinds[0], FPNEncoder) else 6
    if not fitting or arguments["channels_in"] != channels:
        raise WeightsError(
            f"{what} are not those of {' or '.join(kind.__name__ for kind in kinds)}",
            got=f"{'a ResNet' if 'conv1.weight' in state else 'an IR'} trunk for {arguments['channels_in']} channels",
            expected=f"{channels} channels",
            fix="choose the weights this method was trained as",
        )
    if issubclass(fitting[0], FPNEncoder):
        arguments["taps"] = _taps(state, arguments["n_styles"])
    side = arguments["input_size"]
    arguments["input_size"] = side if aspect[0] == aspect[1] else (side * aspect[0] // aspect[1], side)
    make: Callable[[], Encoder] = partial(fitting[0], **arguments)
    return filled(make, state, what)


def arguments_in(state: Mapping[str, Tensor], what: str) -> dict[str, Any]:
    """Arguments of an encoder's class, read off its weights; groups of a trunk differ in width from their neighbours.

    The side of its pictures is what the trunk and the deepest head halve to one pixel.
    """
    resnet = "conv1.weight" in state
    entry = "conv1.weight" if resnet else "input_layer.0.weight"
    if entry not in state or "styles.0.linear.weight" not in state:
        raise WeightsError(
            f"{what} hold no encoder", got=", ".join(list(state)[:3]) or "no tensors", expected=f"{entry}, styles.0 ..."
        )
    last = "conv2" if resnet else "res_layer.3"
    units = [len(state[key]) for n in range(len(state)) if (key := f"body.{n}.{last}.weight") in state]
    groups = [(width, len(list(same))) for width, same in groupby(units)]
    n_styles = sum(key.startswith("styles.") and key.endswith(".linear.weight") for key in state)
    deepest = max(_depth(state, style) for style in range(n_styles)) - _levels(state)
    return {
        "n_styles": n_styles,
        "style_dim": len(state["styles.0.linear.weight"]),
        "channels_in": state[entry].shape[1],
        "groups": groups,
        "input_size": 1 << (len(groups) + deepest),
        "head_width": len(state["styles.0.convs.0.weight"]),
        **({} if resnet else {"se": "body.0.res_layer.5.fc1.weight" in state}),
    }


def _depth(state: Mapping[str, Tensor], style: int) -> int:
    """Convolutions of a head."""
    return sum(key.startswith(f"styles.{style}.convs.") and key.endswith(".weight") for key in state)


def _levels(state: Mapping[str, Tensor]) -> int:
    """Levels of the pyramid beyond the coarsest."""
    return sum(key.startswith("latlayer") and key.endswith(".weight") for key in state)


def _taps(state: Mapping[str, Tensor], n_styles: int) -> list[int]:
    """Level each head reads: one convolution more for each level."""
    depths = [_depth(state, style) for style in range(n_styles)]
    return [depth - max(depths) + _levels(state) for depth in depths]


def mean_latent(state: Mapping[str, Tensor], n_styles: int, style_dim: int, what: str) -> Tensor:
    """(L, D) mean code that an encoder's codes are relative to; stored as (D,), (1, D) or (L, D).

    Raises:
        WeightsError: absent (codes without it look plausible and are wrong), or of another shape.
    """
    stored = state.get("latent_avg")
    rows = None if stored is None else stored.reshape(-1, stored.shape[-1])
    if stored is None or rows is None or rows.shape not in ((1, style_dim), (n_styles, style_dim)):
        raise WeightsError(
            f"{what} lack a mean code",
            got="no latent_avg" if stored is None else tuple(stored.shape),
            expected=f"latent_avg ({n_styles}, {style_dim})",
        )
    return rows.expand(n_styles, -1)


def view(image: Tensor, input_size: int | Sequence[int], how: str) -> Tensor:
    """What an encoder sees of a image: its middle in the aspect of the input, resized.

    Args:
        image: (B, 3, R, R). input_size: side, or (height, width) with height <= width: rows are cut off evenly.
        how: rule of :func:`bench.images.resize`. Pictures are reduced as their files would be, "bilinear_aa"; renders
            are pooled, "area" (eladrich/pixel2style2pixel 5cfff38, yuval-alaluf/restyle-encoder 5e80276).
    Returns:
        (B, 3, height, width).
    """
    height, width = sides_of(input_size)
    rows = image.shape[-1] * height // width
    top = (image.shape[-2] - rows) // 2
    return resize(image[..., top : top + rows, :], (height, width), how)
