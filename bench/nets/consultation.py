"""Consultation encoder: the distortion map becomes maps that gate and complete features of the generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BenchError, WeightsError
from bench.images import resize
from bench.nets import ops
from bench.nets.alignment import UNITS, entry, stage
from bench.nets.fusion import fuse, fuse_release
from bench.nets.layers import EqualConv2d
from bench.nets.ops import check_shape
from bench.nets.stylegan2 import Generator

WIDTHS = (32, 48, 64)
RELEASE_LAYERS = {7: 512}  # ``convs.6`` of the generator: 64x64, 512 channels
FORMS = {"release": fuse_release, "paper": fuse}
LatentMap = dict[int, tuple[Tensor, Tensor]]


def stage_for(layer: int, input_size: int) -> int:
    """Number, from 1, of the coarsest stage that is not coarser than a layer; 1 if all are."""
    return max(1, (input_size // Generator.layer_side(layer)).bit_length())


def stages_for(layers: Iterable[int], input_size: int) -> int:
    """How many stages an encoder has whose every layer is fed by the stage that fits it."""
    return max((stage_for(layer, input_size) for layer in layers), default=1)


class ConsultationEncoder(nn.Module):
    """Distortion map -> latent map: two feature maps for each consulted layer of the generator.

    Args:
        layers: consulted layers of the generator: style index (as :class:`bench.nets.stylegan2.Generator` counts) ->
            channels of its output. None is the published {7: 512}, the first layer of side 64.
        form: "release" gives (scale, shift) for one layer, fused as ``features (1 + scale) + shift``; "paper" gives
            (gate, detail) for any number of layers, fused as ``gate features + detail``.
        widths: channels of the stages, fine to coarse. Published: (32, 48, 64), 5.65 M numbers with the heads.
        input_size: side of the distortion map; halved by each stage after the first.

    A layer is fed by the coarsest stage that is not coarser than the layer (256: the third stage for a 64 px layer;
    128: the second), by the finest if there is none; what then differs in side is resized bilinearly.

    Raises:
        BenchError: unknown form, no layer, several layers in the release's form, a stage that would feed no layer.

    Source: Wang et al. 2022 (HFGI), Sec. 3.2, Eq. 4 and 5; parameter names (``residue.``), the one layer and the form
    "release": Tengfei-Wang/HFGI e30f33c.
    """

    def __init__(
        self,
        layers: Mapping[int, int] | None = None,
        form: str = "release",
        widths: Sequence[int] = WIDTHS,
        input_size: int = 256,
    ):
        super().__init__()
        self.layers, self.form = dict(RELEASE_LAYERS if layers is None else layers), form
        self.input_size, self.stages = input_size, len(widths)
        self.fed_by = {layer: min(stage_for(layer, input_size), self.stages) for layer in self.layers}
        self._check(widths)
        self.conv_layer1 = entry(3, widths[0])
        for n, (before, width) in enumerate(zip(widths, widths[1:], strict=False), 2):
            self.add_module(f"conv_layer{n}", stage([before, *[width] * UNITS], stride=2))
        for layer, channels in self.layers.items():
            for name in self._heads(layer):
                self.add_module(name, _head(widths[self.fed_by[layer] - 1], channels))
            if form == "paper":
                nn.init.ones_(getattr(self, f"gate{layer}")[2].bias)  # an untrained gate lets features through

    def _heads(self, layer: int) -> tuple[str, str]:
        if self.form == "release":  # published names count stages, not layers
            return f"condition_scale{self.fed_by[layer]}", f"condition_shift{self.fed_by[layer]}"
        return f"gate{layer}", f"detail{layer}"

    def _check(self, widths: Sequence[int]) -> None:
        if self.form not in FORMS:
            raise BenchError("unknown form of fusion", got=repr(self.form), expected=f"one of: {', '.join(FORMS)}")
        if not self.layers or (self.form == "release" and len(self.layers) != 1):
            raise BenchError(
                f"fusion form {self.form!r} cannot consult these layers",
                got=sorted(self.layers),
                expected="one layer" if self.form == "release" else "one layer or more",
            )
        deepest = max(self.fed_by.values())
        if deepest < len(widths):
            raise BenchError(
                f"stage {len(widths)} of the consultation encoder would feed no layer",
                got=f"{len(widths)} widths, input size {self.input_size}, layers {sorted(self.layers)}",
                expected=f"{deepest} widths",
            )

    def forward(self, distortion: Tensor) -> LatentMap:
        """(B, 3, S, S) distortion, S the input size -> {layer: two maps (B, C, r, r) of the layer's shape, unbounded}.

        Raises:
            ShapeError: another side, or not three channels.
        """
        check_shape("distortion", distortion, (None, 3, self.input_size, self.input_size))
        x, features = distortion, []
        for n in range(1, self.stages + 1):
            x = getattr(self, f"conv_layer{n}")(x)
            features.append(x)
        maps: LatentMap = {}
        for layer, number in self.fed_by.items():
            side = Generator.layer_side(layer)
            first, second = (getattr(self, name)(features[number - 1]) for name in self._heads(layer))
            maps[layer] = resize(first, side, "bilinear"), resize(second, side, "bilinear")
        return maps

    def consult(self, latent_map: LatentMap) -> dict[int | str, Callable[[Tensor], Tensor]]:
        """Latent map -> what ``synthesize(consult=...)`` does to the features of each layer, in this encoder's form."""
        return {layer: partial(_fused, FORMS[self.form], maps) for layer, maps in latent_map.items()}


def packed(latent_map: LatentMap) -> dict[str, Tensor]:
    """A latent map as named tensors: ``map<layer>.<0 or 1>``."""
    return {f"map{layer}.{n}": one for layer, pair in latent_map.items() for n, one in enumerate(pair)}


def unpacked(tensors: Mapping[str, Tensor]) -> LatentMap:
    """The inverse of :func:`packed`; {} where the tensors hold no latent map."""
    layers = [int(name[3:-2]) for name in tensors if name.startswith("map") and name.endswith(".0")]
    return {layer: (tensors[f"map{layer}.0"], tensors[f"map{layer}.1"]) for layer in layers}


def fitted_encoder(layers: Mapping[int, int], form: str, widths: Sequence[int], input_size: int) -> ConsultationEncoder:
    """The encoder for weights of these widths, which must have been made for such layers and maps.

    Keys of the form "release" name stages, not layers, so the tensors of one layer may fill the encoder of another.

    Raises:
        WeightsError: more or fewer stages than the layers need.
    """
    if len(widths) != (needed := stages_for(layers, input_size)):
        raise WeightsError(
            f"weights are not for layers {sorted(layers)} and a map of {input_size} px",
            got=f"{len(widths)} stages",
            expected=needed,
            fix="choose the weights trained with these options",
        )
    return ConsultationEncoder(layers, form, widths, input_size)


def _fused(how: Callable[[Tensor, Tensor, Tensor], Tensor], maps: tuple[Tensor, Tensor], features: Tensor) -> Tensor:
    return how(features, *maps)


def _head(channels_in: int, channels_out: int) -> nn.Sequential:
    """Two convolutions and the activation between them: (B, I, H, W) -> (B, O, H, W)."""
    return nn.Sequential(_Conv(channels_in, channels_out), _ScaledLeaky(), _Conv(channels_out, channels_out))


class _Conv(EqualConv2d):
    """3x3 convolution with equalised learning rate and a plain bias."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(channels_in, channels_out, 3)
        self.bias = nn.Parameter(torch.zeros(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H, W)."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=1)


class _ScaledLeaky(nn.Module):
    """Leaky ReLU that keeps the mean square, as in StyleGAN2."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> same shape."""
        return F.leaky_relu(x, ops.SLOPE) * ops.GAIN
