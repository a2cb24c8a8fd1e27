"""Which tensors a published network consists of: layout name -> {key: shape}, by rule, for every size.

Written from the published architectures apart from bench/nets, so that a mistake in one does not hide in the other;
tests compare both with key lists recorded from the official networks. Counters (``num_batches_tracked``) have shape ().
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from bench.errors import WeightsError
from bench.weights.inception_layout import COUNTER, inception_fid

Shape = tuple[int, ...]
Layout = dict[str, Shape]
WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
IR50 = ((64, 3), (128, 4), (256, 14), (512, 3))
IR101 = ((64, 3), (128, 13), (256, 30), (512, 3))


def n_styles(size: int) -> int:
    """Codes that a generator of this side takes: 18 at 1024, 16 at 512, 14 at 256."""
    return 2 * int(math.log2(size)) - 2


def size_of_styles(styles: int) -> int:
    """Side of the generator that takes so many codes."""
    return 1 << (styles + 2) // 2


def _linear(at: str, out: int, into: int) -> Layout:
    return {f"{at}.weight": (out, into), f"{at}.bias": (out,)}


def _conv(at: str, out: int, into: int, side: int, bias: bool = False) -> Layout:
    return {f"{at}.weight": (out, into, side, side), **({f"{at}.bias": (out,)} if bias else {})}


def _norm(at: str, width: int, affine: bool = True) -> Layout:
    learnt = ("weight", "bias") if affine else ()
    return {**{f"{at}.{name}": (width,) for name in (*learnt, "running_mean", "running_var")}, f"{at}.{COUNTER}": ()}


# --- StyleGAN2, rosinality/stylegan2-pytorch bef283a ---


def generator(size: int) -> Layout:
    """Mapping and synthesis network with noise maps and blur kernels, configuration F."""
    out = {}
    for i in range(1, 9):
        out.update(_linear(f"style.{i}", 512, 512))
    out["input.input"] = (1, WIDTHS[4], 4, 4)
    out.update(_styled("conv1", WIDTHS[4], WIDTHS[4]))
    out.update(_to_rgb("to_rgb1", WIDTHS[4], up=False))
    for block, (before, side) in enumerate(pairwise(_sides(size))):
        out.update(_styled(f"convs.{2 * block}", WIDTHS[before], WIDTHS[side], up=True))
        out.update(_styled(f"convs.{2 * block + 1}", WIDTHS[side], WIDTHS[side]))
        out.update(_to_rgb(f"to_rgbs.{block}", WIDTHS[side], up=True))
    for layer in range(n_styles(size) - 1):
        side = 4 << ((layer + 1) // 2)
        out[f"noises.noise_{layer}"] = (1, 1, side, side)
    return out


def _sides(size: int) -> list[int]:
    return [1 << i for i in range(2, size.bit_length())]


def _modulated(at: str, into: int, out: int, side: int) -> Layout:
    return {f"{at}.weight": (1, out, into, side, side), **_linear(f"{at}.modulation", into, 512)}


def _styled(at: str, into: int, out: int, up: bool = False) -> Layout:
    blur: Layout = {f"{at}.conv.blur.kernel": (4, 4)} if up else {}
    rest = {f"{at}.noise.weight": (1,), f"{at}.activate.bias": (out,)}
    return {**_modulated(f"{at}.conv", into, out, 3), **blur, **rest}


def _to_rgb(at: str, into: int, up: bool) -> Layout:
    blur: Layout = {f"{at}.upsample.kernel": (4, 4)} if up else {}
    return {f"{at}.bias": (1, 3, 1, 1), **blur, **_modulated(f"{at}.conv", into, 3, 1)}


def discriminator(size: int) -> Layout:
    """The residual discriminator."""
    out = {**_conv("convs.0.0", WIDTHS[size], 3, 1), "convs.0.1.bias": (WIDTHS[size],)}
    for i, (side, smaller) in enumerate(pairwise(reversed(_sides(size))), start=1):
        into, width = WIDTHS[side], WIDTHS[smaller]
        out.update({**_conv(f"convs.{i}.conv1.0", into, into, 3), f"convs.{i}.conv1.1.bias": (into,)})
        out.update({f"convs.{i}.conv2.0.kernel": (4, 4), **_conv(f"convs.{i}.conv2.1", width, into, 3)})
        out.update({f"convs.{i}.conv2.2.bias": (width,), f"convs.{i}.skip.0.kernel": (4, 4)})
        out.update(_conv(f"convs.{i}.skip.1", width, into, 1))
    out.update({**_conv("final_conv.0", 512, 513, 3), "final_conv.1.bias": (512,)})
    return {**out, **_linear("final_linear.0", 512, 8192), **_linear("final_linear.1", 1, 512)}


def latent_avg(size: int) -> Layout:
    """The mean code; its rows may be one or all (see bench/weights/verify.py)."""
    return {"latent_avg": (n_styles(size), 512)}


# --- Encoders of pSp 5cfff38, e4e 99ea505, ReStyle 5e80276, HFGI e30f33c ---


def _ir_unit(at: str, into: int, out: int, squeeze: bool) -> Layout:
    unit = {**_norm(f"{at}.res_layer.0", into), **_conv(f"{at}.res_layer.1", out, into, 3)}
    unit.update({f"{at}.res_layer.2.weight": (out,), **_conv(f"{at}.res_layer.3", out, out, 3)})
    unit.update(_norm(f"{at}.res_layer.4", out))
    if squeeze:
        unit.update(_conv(f"{at}.res_layer.5.fc1", out // 16, out, 1))
        unit.update(_conv(f"{at}.res_layer.5.fc2", out, out // 16, 1))
    if into != out:
        unit.update({**_conv(f"{at}.shortcut_layer.0", out, into, 1), **_norm(f"{at}.shortcut_layer.1", out)})
    return unit


def _stem(at: str, into: int, out: int) -> Layout:
    return {**_conv(f"{at}.0", out, into, 3), **_norm(f"{at}.1", out), f"{at}.2.weight": (out,)}


def _ir_trunk(into: int, groups: tuple[tuple[int, int], ...], squeeze: bool) -> Layout:
    out, width, index = _stem("input_layer", into, 64), 64, 0
    for wider, units in groups:
        for _ in range(units):
            out.update(_ir_unit(f"body.{index}", width, wider, squeeze))
            width, index = wider, index + 1
    return out


def _map2style(at: str, side: int) -> Layout:
    out: Layout = {}
    for i in range(int(math.log2(side))):
        out.update(_conv(f"{at}.convs.{2 * i}", 512, 512, 3, bias=True))
    return {**out, **_linear(f"{at}.linear", 512, 512)}


def fpn_encoder(size: int, channels: int = 3) -> Layout:
    """IR-SE50 with a feature pyramid: three depths of map2style, chosen by the code they make."""
    out = _ir_trunk(channels, IR50, squeeze=True)
    for i in range(n_styles(size)):
        out.update(_map2style(f"styles.{i}", 16 if i < 3 else 32 if i < 7 else 64))
    return {**out, **_conv("latlayer1", 512, 256, 1, bias=True), **_conv("latlayer2", 512, 128, 1, bias=True)}


def backbone_encoder(size: int, channels: int = 6) -> Layout:
    """IR-SE50 whose last map alone feeds every map2style."""
    out = _ir_trunk(channels, IR50, squeeze=True)
    for i in range(n_styles(size)):
        out.update(_map2style(f"styles.{i}", 16))
    return out


def resnet_encoder(size: int, channels: int = 6) -> Layout:
    """ResNet-34 trunk without max pooling (domains other than faces); not recorded from an official network."""
    out = {**_conv("conv1", 64, channels, 7), **_norm("bn1", 64), "relu.weight": (64,)}
    into, index = 64, 0
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(blocks):
            at = f"body.{index}"
            out.update({**_conv(f"{at}.conv1", width, into, 3), **_norm(f"{at}.bn1", width)})
            out.update({**_conv(f"{at}.conv2", width, width, 3), **_norm(f"{at}.bn2", width)})
            if into != width:
                out.update({**_conv(f"{at}.downsample.0", width, into, 1), **_norm(f"{at}.downsample.1", width)})
            into, index = width, index + 1
    for i in range(n_styles(size)):
        out.update(_map2style(f"styles.{i}", 16))
    return out


def resnet34() -> Layout:
    """torchvision's ResNet-34 without its classifier: where the trunks of :func:`resnet_encoder` began."""
    out = {**_conv("conv1", 64, 3, 7), **_norm("bn1", 64)}
    into = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            out.update({**_conv(f"{at}.conv1", width, into, 3), **_norm(f"{at}.bn1", width)})
            out.update({**_conv(f"{at}.conv2", width, width, 3), **_norm(f"{at}.bn2", width)})
            if into != width:
                out.update({**_conv(f"{at}.downsample.0", width, into, 1), **_norm(f"{at}.downsample.1", width)})
            into = width
    return out


def _ir_stage(at: str, widths: tuple[int, ...]) -> Iterator[tuple[str, Shape]]:
    for i, (into, out) in enumerate(pairwise(widths)):
        yield from _ir_unit(f"{at}.{i}", into, out, squeeze=False).items()


def consultation_encoder() -> Layout:
    """HFGI's encoder of the aligned distortion map."""
    out = _stem("conv_layer1", 3, 32)
    out.update(_ir_stage("conv_layer2", (32, 48, 48, 48)))
    out.update(_ir_stage("conv_layer3", (48, 64, 64, 64)))
    for head in ("condition_scale3", "condition_shift3"):
        out.update({**_conv(f"{head}.0", 512, 64, 3, bias=True), **_conv(f"{head}.2", 512, 512, 3, bias=True)})
    return out


def aligner() -> Layout:
    """HFGI's alignment network (ADA)."""
    out = _stem("conv_layer1", 6, 16)
    stages = {"conv_layer2": (16, 32, 32, 32), "conv_layer3": (32, 48, 48, 48), "conv_layer4": (48, 64, 64, 64)}
    stages |= {"dconv_layer1": (112, 64, 32, 32), "dconv_layer2": (64, 32, 16, 16), "dconv_layer3": (32, 16, 3, 3)}
    for at, widths in stages.items():
        out.update(_ir_stage(at, widths))
    return out


# --- Networks of losses and metrics ---


def _face_head(affine: bool) -> Layout:
    head = {**_norm("output_layer.0", 512), **_linear("output_layer.3", 512, 25088)}
    return {**head, **_norm("output_layer.4", 512, affine)}


def arcface_ir_se50() -> Layout:
    """IR-SE50 face embedding."""
    return {**_ir_trunk(3, IR50, squeeze=True), **_face_head(affine=True)}


def curricularface_ir101() -> Layout:
    """IR-101 face embedding, last normalisation without scale and shift."""
    return {**_ir_trunk(3, IR101, squeeze=False), **_face_head(affine=False)}


def mtcnn(net: str) -> Layout:
    """One of the three detection networks: ``p``, ``r`` or ``o``."""
    convs, dense, heads = {
        "p": (((10, 3, 3), (16, 10, 3), (32, 16, 3)), (), {"conv4_1": (2, 32), "conv4_2": (4, 32)}),
        "r": (((28, 3, 3), (48, 28, 3), (64, 48, 2)), (128, 576), {"conv5_1": (2, 128), "conv5_2": (4, 128)}),
        "o": (((32, 3, 3), (64, 32, 3), (64, 64, 3), (128, 64, 2)), (256, 1152),
              {"conv6_1": (2, 256), "conv6_2": (4, 256), "conv6_3": (10, 256)}),
    }[net]  # fmt: skip
    out: Layout = {}
    for i, (width, into, side) in enumerate(convs, start=1):
        out.update({**_conv(f"features.conv{i}", width, into, side, bias=True), f"features.prelu{i}.weight": (width,)})
    if dense:
        i = len(convs) + 1
        out.update({**_linear(f"features.conv{i}", *dense), f"features.prelu{i}.weight": (dense[0],)})
    for name, (width, into) in heads.items():
        out.update(_linear(name, width, into) if dense else _conv(name, width, into, 1, bias=True))
    return out


def _features(widths: dict[int, tuple[int, int, int]]) -> Layout:
    out: Layout = {}
    for index, (width, into, side) in widths.items():
        out.update(_conv(f"features.{index}", width, into, side, bias=True))
    return out


def alexnet() -> Layout:
    """Convolutions of torchvision's AlexNet."""
    return _features({0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)})


def vgg16() -> Layout:
    """Convolutions of torchvision's VGG-16."""
    indices = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    widths = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    return _features({i: (out, into, 3) for i, (into, out) in zip(indices, pairwise(widths), strict=True)})


def squeezenet() -> Layout:
    """Convolutions of torchvision's SqueezeNet 1.1: a plain one, then eight fire modules."""
    out, into = _conv("features.0", 64, 3, 3, bias=True), 64
    for index, narrow, wide in ((3, 16, 64), (4, 16, 64), (6, 32, 128), (7, 32, 128), (9, 48, 192), (10, 48, 192),
                                (11, 64, 256), (12, 64, 256)):  # fmt: skip
        at = f"features.{index}"
        out.update(_conv(f"{at}.squeeze", narrow, into, 1, bias=True))
        out.update(_conv(f"{at}.expand1x1", wide, narrow, 1, bias=True))
        out.update(_conv(f"{at}.expand3x3", wide, narrow, 3, bias=True))
        into = 2 * wide
    return out


def moco_resnet50() -> Layout:
    """ResNet-50 with the two-layer head of MoCo v2."""
    out = {**_conv("conv1", 64, 3, 7), **_norm("bn1", 64)}
    into = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            for i, (wide, narrow, side) in enumerate(((width, into, 1), (width, width, 3), (4 * width, width, 1)), 1):
                out.update({**_conv(f"{at}.conv{i}", wide, narrow, side), **_norm(f"{at}.bn{i}", wide)})
            if block == 0:
                out.update(
                    {**_conv(f"{at}.downsample.0", 4 * width, into, 1), **_norm(f"{at}.downsample.1", 4 * width)}
                )
            into = 4 * width
    return {**out, **_linear("fc.0", 2048, 2048), **_linear("fc.2", 128, 2048)}


RULES: dict[str, Callable[..., Layout]] = {
    rule.__name__: rule
    for rule in (
        generator, discriminator, latent_avg, fpn_encoder, backbone_encoder, resnet_encoder, consultation_encoder,
        aligner, arcface_ir_se50, curricularface_ir101, mtcnn, alexnet, vgg16, squeezenet, moco_resnet50,
        resnet34, inception_fid,
    )
}  # fmt: skip
_SIZED = ("generator", "discriminator", "latent_avg", "fpn_encoder", "backbone_encoder", "resnet_encoder")


def expected(layout: str, size: int | None, args: dict[str, Any]) -> Layout:
    """The layout of a part; ``size`` is the side of the generator it belongs to.

    Raises:
        WeightsError: no such rule, or arguments it does not take.
    """
    if layout not in RULES:
        raise WeightsError(f"unknown layout {layout!r}", expected=f"one of: {', '.join(RULES)}")
    sized = {"size": size} if layout in _SIZED else {}
    try:
        return RULES[layout](**sized, **args)
    except (TypeError, KeyError) as error:
        raise WeightsError(f"layout {layout!r} cannot be made", got=f"{sized | args}: {error}") from None
