"""`bench train recogniser`: from a configuration to committed weights, verified on faces it never saw."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench.data.dataset import PreparedDataset
from bench.errors import BenchError
from bench.files import atomic_write, file_sha256
from bench.training import checkpoint
from bench.training.data import pack
from bench.training.ends import reached
from bench.training.log import CurveLog
from bench.training.recogniser import (
    RecogniserConfig,
    RecogniserTraining,
    features_of,
    identity_rows,
    read_config,
    verification,
)
from bench.training.spent import KEY, Spent, in_words
from bench.weights import manifest as weights
from bench.weights.manifest import enter

LOG_EVERY, CHECKPOINT_EVERY = 3200, 12800  # pictures


def main(
    config_path: Path,
    root: Path,
    *,
    resume: bool = False,
    device: str = "cpu",
    dry_run: bool = False,
    stop_after: int | None = None,
    export: bool = False,
) -> list[Path]:
    """Train; write checkpoint and curves under ``weights/training/<config stem>``.

    Args:
        config_path: YAML of :class:`bench.training.recogniser.RecogniserConfig`.
        root: project folder.
        resume: continue from the last checkpoint. device: where to compute.
        dry_run: print the resolved run and the size of its network, then stop.
        stop_after: stop cleanly after this many pictures in all.
        export: do not train; verify the last checkpoint and write it as committed weights.
    Returns:
        the run's folder, or the files exported; nothing after a dry run.
    Raises:
        BenchError: wrong configuration, unprepared data, an existing run without ``resume``.
    """
    config = read_config(config_path)
    folder = root / "weights" / "training" / config_path.stem
    latest = folder / "checkpoint.pt"
    if latest.exists() and not (resume or dry_run or export):
        raise BenchError(
            f"a run of {config_path.stem} exists in {folder}", fix="add --resume, or move that folder away"
        )
    dataset = PreparedDataset.open(root, config.dataset)
    images = pack(dataset.paths.folder, list(dataset.manifest.ids), dataset.manifest.resolution, with_labels=False)
    training = RecogniserTraining(config, images, dataset.truth(), torch.device(device))
    if dry_run:
        count = sum(p.numel() for p in training.net.parameters())
        print(f"{config.model_dump_json(indent=1)}\n{count:,} parameters, {len(training.rows):,} training pictures")
        return []
    saved = checkpoint.load(latest) if (resume or export) and latest.exists() else None
    if saved is not None:
        training.restore(saved)
    if export:
        return _export(training, dataset, config_path, root, saved)
    if not reached(config.id, training.position, config.images, stop_after):
        _drive(training, folder, stop_after, Spent(saved))
    return [folder]


def _drive(training: RecogniserTraining, folder: Path, stop_after: int | None, spent: Spent) -> None:
    config, log = training.config, CurveLog(folder / "curves", training.position)
    end = min(config.images, stop_after or config.images)
    started, first = time.monotonic(), training.position
    while training.position < end:
        log.add(training.step())
        last = training.position >= end
        if training.position % LOG_EVERY < config.batch or last:
            values = "  ".join(f"{name} {value:.4g}" for name, value in log.write(training.position).items())
            rate = (training.position - first) / (time.monotonic() - started)
            print(f"{config.id} {training.position:>8} pictures  {rate:.0f} pictures/s  {values}", flush=True)
        if training.position % CHECKPOINT_EVERY < config.batch or last:
            checkpoint.save(folder / "checkpoint.pt", {**training.state(), KEY: spent.state()})


def _export(
    training: RecogniserTraining,
    dataset: PreparedDataset,
    config_path: Path,
    root: Path,
    saved: Mapping[str, Any] | None,
) -> list[Path]:
    """Weights, measured numbers, card and manifest entry, beside the configuration."""
    config, base = training.config, (root / weights.FOLDER).resolve()
    folder = config_path.resolve().parent
    if not training.position or not folder.is_relative_to(base):
        raise BenchError(
            f"cannot export {config_path.stem}", expected="a trained configuration under weights/", fix="train it first"
        )
    rows, identity = identity_rows(dataset.truth(), config.verified)
    found = features_of(training.net, config.network.side, training.images, rows)
    measured = {"pictures_seen": training.position, **verification(found, identity)}
    stated = {**measured, **((saved or {}).get(KEY) or {})}
    file = folder / f"{config_path.stem}.{config.format}"
    if config.format == "onnx":
        digest = save_onnx(training.net, config.network.side, file)
    else:
        keep = {key: value for key, value in training.net.state_dict().items() if value.is_floating_point()}
        digest = weights.save(file, keep, {"architecture": config.network.model_dump(mode="json")})
    card = file.with_suffix(".md")
    atomic_write(file.with_suffix(".json"), json.dumps(stated, indent=1) + "\n")
    made_from = config_path.resolve().relative_to(base.parent)
    licence = dataset.manifest.licence
    atomic_write(card, card_text(config, measured, training, made_from, licence, in_words(saved)))
    entry = {
        "id": config.id,
        "file": file.relative_to(base).as_posix(),
        "sha256": digest,
        "size_bytes": file.stat().st_size,
        "domain": config.domain,
        "kind": "recogniser",
        "licence": licence,
        "card": card.relative_to(base).as_posix(),
    }
    enter(root, entry)
    return [file, file.with_suffix(".json"), card, weights.manifest_path(root)]


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
    config: RecogniserConfig,
    measured: dict[str, Any],
    training: RecogniserTraining,
    made_from: Path,
    licence: str,
    time_taken: str,
) -> str:
    """The model card, from the configuration and what was measured."""
    first, last = config.verified[0], config.verified[1] - 1
    count = sum(p.numel() for p in training.net.parameters())
    numbers = "\n".join(
        f"| {name} | {value:,} |" if isinstance(value, int) else f"| {name} | {value:.4f} |"
        for name, value in measured.items()
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
{numbers}
| parameters | {count:,} |
| training pictures | {len(training.rows):,} |
| time of training | {time_taken} |
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
