"""`bench train regressor`: from a configuration to committed weights, measured on faces it never saw."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench.data.dataset import PreparedDataset
from bench.errors import BenchError
from bench.files import atomic_write
from bench.training import checkpoint
from bench.training.data import pack
from bench.training.ends import reached
from bench.training.log import CurveLog
from bench.training.regressor import RegressorConfig, RegressorTraining, measured, read_config
from bench.training.spent import KEY, Spent, in_words
from bench.weights import manifest as weights
from bench.weights.manifest import enter

LOG_EVERY, CHECKPOINT_EVERY = 6400, 32000  # pictures


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
        config_path: YAML of :class:`bench.training.regressor.RegressorConfig`.
        root: project folder.
        resume: continue from the last checkpoint. device: where to compute.
        dry_run: print the resolved run and the size of its network, then stop.
        stop_after: stop cleanly after this many pictures in all.
        export: do not train; measure the last checkpoint and write it as committed weights.
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
    training = RegressorTraining(config, images, dataset.truth(), torch.device(device))
    if dry_run:
        count = sum(p.numel() for p in training.net.parameters())
        print(f"{config.model_dump_json(indent=1)}\n{count:,} parameters, {len(training.rows):,} training pictures")
        return []
    saved = checkpoint.load(latest) if (resume or export) and latest.exists() else None
    if saved is not None:
        training.restore(saved)
    if export:
        return _export(training, dataset.manifest.licence, config_path, root, saved)
    if not reached(config.id, training.position, config.images, stop_after):
        _drive(training, folder, stop_after, Spent(saved))
    return [folder]


def _drive(training: RegressorTraining, folder: Path, stop_after: int | None, spent: Spent) -> None:
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
    training: RegressorTraining, licence: str, config_path: Path, root: Path, saved: Mapping[str, Any] | None
) -> list[Path]:
    """Weights, measured numbers, card and manifest entry, beside the configuration."""
    config, base = training.config, (root / weights.FOLDER).resolve()
    folder = config_path.resolve().parent
    if not training.position or not folder.is_relative_to(base):
        raise BenchError(
            f"cannot export {config_path.stem}", expected="a trained configuration under weights/", fix="train it first"
        )
    reader = training.reader()
    numbers = {
        "pictures_seen": training.position,
        **measured(reader, training.images, training.held_out, training.values),
    }
    file = folder / f"{config_path.stem}.safetensors"
    net = {f"net.{k}": v for k, v in training.net.state_dict().items() if v.is_floating_point()}
    units = {"mean": reader.mean, "scale": reader.scale, "landmark_side": torch.tensor(training.picture_side)}
    digest = weights.save(file, {**net, **units}, {"factors": config.names})
    card = file.with_suffix(".md")
    stated = {**numbers, **((saved or {}).get(KEY) or {})}
    atomic_write(file.with_suffix(".json"), json.dumps(stated, indent=1) + "\n")
    made_from = config_path.resolve().relative_to(base.parent)
    atomic_write(card, card_text(config, numbers, training, made_from, licence, in_words(saved)))
    entry = {
        "id": config.id,
        "file": file.relative_to(base).as_posix(),
        "sha256": digest,
        "size_bytes": file.stat().st_size,
        "domain": config.domain,
        "kind": "regressor",
        "licence": licence,
        "card": card.relative_to(base).as_posix(),
    }
    enter(root, entry)
    return [file, file.with_suffix(".json"), card, weights.manifest_path(root)]


def card_text(
    config: RegressorConfig,
    numbers: dict[str, Any],
    training: RegressorTraining,
    made_from: Path,
    licence: str,
    time_taken: str,
) -> str:
    """The model card, from the configuration and what was measured."""
    explained = "\n".join(f"| {name} | {value:.3f} |" for name, value in numbers["r2"].items())
    marks = numbers["landmark_px"]
    settings = "\n".join(f"| {key} | {value} |" for key, value in config.model_dump().items())
    return f"""# Model card: {config.id}

Made by `bench train regressor --config {made_from}`, exported with `--export`. This file is generated.

Reads known factors and the 68 landmarks off a picture. Measured at export on {numbers["pictures"]:,} pictures of
identities {config.held_out[0]:,} to {config.held_out[1] - 1:,} of {config.dataset}, none of them trained on; the test
set is another split with identities of its own. Landmarks are off by {marks["mean"]:.2f} px of
{training.picture_side} on average (median {marks["median"]:.2f}, 95 % of pictures below {marks["q95"]:.2f}).

| factor | R2, held out |
|---|---|
{explained}

A factor of low R2 is one that the picture hardly shows (grown by hair or hats, or small at {config.side} px): what is
measured with it is measured poorly.

## Recipe

Pictures of {config.side} px, mirrored at random, of varied brightness, half of the batches softened as inversions are.
Mean squared errors of standardised factors and landmarks; AdamW, rate falling along half a cosine.
{sum(p.numel() for p in training.net.parameters()):,} parameters, {numbers["pictures_seen"]:,} pictures drawn of
{len(training.rows):,}; time: {time_taken}; float16 safetensors, SHA-256 in `weights/manifest.yaml`; licence:
{licence}.

| setting | value |
|---|---|
{settings}
"""
