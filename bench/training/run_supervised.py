"""`bench train recogniser` and `regressor`: from a configuration to committed weights, measured on unseen faces."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.data.dataset import PreparedDataset
from bench.training import checkpoint
from bench.training.data import pack
from bench.training.ends import reached
from bench.training.export_files import check_exportable, project_path, write_export
from bench.training.log import CurveLog
from bench.training.settings import read_settings
from bench.training.spent import KEY, Spent, in_words
from bench.training.supervised import SupervisedConfig, SupervisedTraining


@dataclass(frozen=True)
class Task:
    """What is special about training one kind of network.

    Args:
        kind: of the manifest entry.
        config: keys of the YAML file.
        training: the training that it configures.
        measure: (training, dataset) -> numbers by name, measured on identities that were not trained on.
        save: (training, path without an ending) -> the file of weights and its SHA-256.
        card: (training, numbers, configuration's path in the project, licence, time taken) -> model card in Markdown.
    """

    kind: str
    config: type[SupervisedConfig]
    training: type[SupervisedTraining]
    measure: Callable[[Any, PreparedDataset], dict[str, Any]]
    save: Callable[[Any, Path], tuple[Path, str]]
    card: Callable[[Any, Mapping[str, Any], Path, str, str], str]


def run(
    task: Task,
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
        task: which network.
        config_path: YAML of the task's configuration.
        root: project folder.
        resume: continue from the last checkpoint.
        device: where to compute.
        dry_run: print the resolved run and the size of its network, then stop.
        stop_after: stop cleanly after this many images in all.
        export: do not train; measure the last checkpoint and write it as committed weights.
    Returns:
        the run's folder, or the files exported; nothing after a dry run.
    Raises:
        BenchError: wrong configuration, unprepared data, an existing run without ``resume``.
    """
    config = read_settings(config_path, task.config)
    folder = root / "weights" / "training" / config_path.stem
    latest = checkpoint.path_of_run(folder, resume or dry_run or export)
    dataset = PreparedDataset.open(root, config.dataset)
    images = pack(dataset.paths.folder, list(dataset.manifest.ids), dataset.manifest.resolution, with_labels=False)
    training = task.training(config, images, dataset.truth(), torch.device(device))
    if dry_run:
        size = f"{parameter_count(training):,} parameters, {len(training.rows):,} training pictures"
        print(f"{config.model_dump_json(indent=1)}\n{size}")
        return []
    saved = checkpoint.load(latest) if (resume or export) and latest.exists() else None
    if saved is not None:
        training.restore(saved)
    if export:
        return _export(task, training, dataset, config_path, root, saved)
    if not reached(config.id, training.position, config.images, stop_after):
        _drive(training, folder, min(config.images, stop_after or config.images), Spent(saved))
    return [folder]


def parameter_count(training: SupervisedTraining) -> int:
    """Parameters of the network that is exported."""
    return sum(p.numel() for p in training.net.parameters())


def _drive(training: SupervisedTraining, folder: Path, end: int, spent: Spent) -> None:
    """Make steps until ``end`` images are drawn; write curves and checkpoints into the run's folder."""
    config, log = training.config, CurveLog(folder / "curves", training.position)
    started, first = time.monotonic(), training.position
    while training.position < end:
        log.add(training.step())
        last = training.position >= end
        if training.position % training.log_every < config.batch or last:
            values = "  ".join(f"{name} {value:.4g}" for name, value in log.write(training.position).items())
            speed = (training.position - first) / (time.monotonic() - started)
            print(f"{config.id} {training.position:>8} pictures  {speed:.0f} pictures/s  {values}", flush=True)
        if training.position % training.checkpoint_every < config.batch or last:
            checkpoint.save(folder / "checkpoint.pt", {**training.state(), KEY: spent.state()})


def _export(
    task: Task,
    training: SupervisedTraining,
    dataset: PreparedDataset,
    config_path: Path,
    root: Path,
    saved: Mapping[str, Any] | None,
) -> list[Path]:
    """Write weights, measured numbers and card beside the configuration, and the manifest entry."""
    check_exportable(config_path, root, training.position)
    config, licence = training.config, dataset.manifest.licence
    numbers = {"pictures_seen": training.position, **task.measure(training, dataset)}
    file, digest = task.save(training, config_path.resolve().with_suffix(""))
    card = task.card(training, numbers, project_path(config_path, root), licence, in_words(saved))
    entry = {"id": config.id, "sha256": digest, "domain": config.domain, "kind": task.kind, "licence": licence}
    return write_export(root, file, {**numbers, **((saved or {}).get(KEY) or {})}, card, entry)
