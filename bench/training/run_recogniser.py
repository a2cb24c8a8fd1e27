"""`bench train recogniser`: from a configuration to committed weights, verified on faces it never saw."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.data.dataset import PreparedDataset
from bench.files import file_sha256
from bench.training.recogniser import RecogniserConfig, RecogniserTraining, features_of, verification
from bench.training.run_supervised import Task, parameter_count, run
from bench.training.supervised import identity_rows
from bench.weights import manifest as weights


def measure(training: RecogniserTraining, dataset: PreparedDataset) -> dict[str, Any]:
    """Verify the identities that were not trained on; numbers of :func:`bench.training.recogniser.verification`."""
    config = training.config
    rows, identity = identity_rows(dataset.truth(), config.verified)
    return verification(features_of(training.net, config.network.side, training.images, rows), identity)


def save(training: RecogniserTraining, path: Path) -> tuple[Path, str]:
    """Write the network as its configuration's ``format``; the file and its SHA-256."""
    config = training.config
    file = path.with_name(f"{path.name}.{config.format}")
    if config.format == "onnx":
        return file, save_onnx(training.net, config.network.side, file)
    kept = {key: value for key, value in training.net.state_dict().items() if value.is_floating_point()}
    return file, weights.save(file, kept, {"architecture": config.network.model_dump(mode="json")})


def save_onnx(net: torch.nn.Module, side: int, path: Path) -> str:
    """Write a recogniser as insightface's ``ArcFaceONNX`` expects it: (N, 3, side, side) RGB in [-1, 1] -> (N, D).

    That class divides bytes by 127.5, subtracts 1 and turns its BGR input into RGB unless the graph begins with its own
    subtraction and multiplication; this graph begins with a convolution.

    Returns:
        SHA-256 of the file.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with warnings.catch_warnings():
        # The newer exporter needs one more package; shapes are checked while tracing and do not enter the graph.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        _trace(net, side, temporary)
    os.replace(temporary, path)
    return file_sha256(path)


def _trace(net: torch.nn.Module, side: int, path: Path) -> None:
    torch.onnx.export(
        net.to("cpu").to(memory_format=torch.contiguous_format).eval(),
        (torch.zeros(1, 3, side, side),),
        str(path),
        input_names=["input"],
        output_names=["features"],
        dynamic_axes={"input": {0: "n"}, "features": {0: "n"}},
        dynamo=False,
    )


def card_text(
    training: RecogniserTraining, numbers: Mapping[str, Any], made_from: Path, licence: str, spent: str
) -> str:
    """Write the model card, from the configuration and what was measured."""
    config = training.config
    first, last = config.verified[0], config.verified[1] - 1
    count = parameter_count(training)
    table = "\n".join(
        f"| {name} | {value:,} |" if isinstance(value, int) else f"| {name} | {value:.4f} |"
        for name, value in numbers.items()
    )
    settings = "\n".join(f"| {key} | {value} |" for key, value in config.model_dump().items())
    stored = "float32 ONNX, (N, 3, 112, 112) RGB in [-1, 1]" if config.format == "onnx" else "float16 safetensors"
    return f"""# Model card: {config.id}

Made by `bench train recogniser --config {made_from}`, exported with `--export`. This file is generated.

The numbers are measured at export, in float32, on identities {first:,} to {last:,} of {config.dataset}, which neither
this recogniser nor its counterpart was trained on: all pairs of their pictures, which differ in pose, light, age by a
few years, expression, background and, in part, in details such as spectacles.

| quantity | value |
|---|---|
{table}
| parameters | {count:,} |
| training pictures | {len(training.rows):,} |
| time of training | {spent} |
| file | {stored}; SHA-256 in `weights/manifest.yaml` |
| licence | {licence} |

Two recognisers serve this domain: one in losses, one in evaluation. They share neither architecture, nor seed, nor
training identities. Faces are cut as `bench.nets.recogniser.aligned_crop` cuts them.

## Recipe

Angular margin (ArcFace), rising from 0 after {config.margin_from:.0%} of the training; beside it, known factors of the
identities are read linearly from the features (weight {config.guide:g}). AdamW, rate falling along half a cosine; crops
moved and resized by a few pixels, mirrored, of varied brightness.

| setting | value |
|---|---|
{settings}

## Limits

Renders of one parametric head, not people: of no use on photographs. Hair and skin are part of an identity here, so it
leans on them.
"""


TASK = Task("recogniser", RecogniserConfig, RecogniserTraining, measure, save, card_text)
main = partial(run, TASK)
