"""`bench train generator`: from a configuration to committed weights, resumable at any moment."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.files import write_png
from bench.nets.projected_discriminator import STAGES
from bench.training import checkpoint, evaluate
from bench.training.config import GeneratorConfig, read_config
from bench.training.data import PackedImages, split_rows
from bench.training.ends import reached, throughput
from bench.training.frechet_watch import FrechetWatch
from bench.training.generator import GeneratorTraining, batches
from bench.training.generator_data import averaged_encoder, load_data, part_table, shared
from bench.training.known import known_targets
from bench.training.log import CurveLog
from bench.training.progress import read_progress, write_progress
from bench.training.spent import KEY, Spent
from bench.training.world import World, join
from bench.weights import manifest as weights

if TYPE_CHECKING:
    from bench.nets.perceptual import PerceptualDistance


def main(
    config_path: Path,
    root: Path,
    *,
    resume: bool = False,
    device: str = "cpu",
    dry_run: bool = False,
    stop_after: int | None = None,
    export: bool = False,
    progress: bool = False,
) -> list[Path]:
    """Train; write checkpoints, curves and sheets under ``weights/training/<config stem>``.

    Args:
        config_path: YAML of :class:`bench.training.config.GeneratorConfig`.
        root: project folder.
        resume: continue from the last checkpoint (the curve is the uninterrupted one).
        device: where to compute.
        dry_run: print the resolved run and its networks, then stop.
        stop_after: stop cleanly after this many images in all (the checkpoint is kept).
        export: do not train; measure the last checkpoint and write it as committed weights.
        progress: do not train; write the last checkpoint's networks where ``warm_start`` finds them.
    Returns:
        the run's folder, or the files exported; nothing after a dry run.
    Raises:
        BenchError: wrong configuration, unprepared data, an existing run without ``resume``.
    """
    if export:
        from bench.training.export import export_run

        return export_run(config_path, root)
    if progress:
        return write_progress(config_path, root)
    world, where = join(torch.device(device))
    try:
        return _train(read_config(config_path), config_path, root, world, where, resume, dry_run, stop_after)
    finally:
        world.leave()


def _train(
    config: GeneratorConfig,
    config_path: Path,
    root: Path,
    world: World,
    device: torch.device,
    resume: bool,
    dry_run: bool,
    stop_after: int | None,
) -> list[Path]:
    folder = root / "weights" / "training" / config_path.stem
    latest = checkpoint.path_of_run(folder, resume or dry_run)
    if world.leads:
        load_data(config, root)
    world.gather(None)  # the others wait until the packed pictures are written
    truth, data = load_data(config, root)
    clean = ~truth.filter(like="detail_").astype(bool).any(axis=1).to_numpy()
    train_rows, held_out_rows = split_rows(data.ids, clean, config.held_out, config.clean_only)
    training = GeneratorTraining(
        config,
        data.subset(train_rows),
        part_table(config),
        _perceptual(config),
        device,
        known_targets(config.known, truth, train_rows, config.size),
        world,
    )
    if dry_run:
        print(describe(training, len(train_rows), len(held_out_rows)))
        return []
    held_out = data.subset(held_out_rows)
    state, record = (checkpoint.load(latest) if resume and latest.exists() else None), dict[str, Any]()
    if state is not None:
        if state["config"] != _digest(config):
            raise BenchError(
                f"{latest} was made with another configuration",
                expected=f"the one in {config_path}",
                fix="restore that file, or move the folder away and start anew",
            )
        training.restore(state["training"])
    elif config.warm_start and config.warm_start.endswith(".safetensors"):
        networks, record = read_progress(root, config.warm_start)
        training.warm_start(networks, record["position"], record["step"])
    elif config.warm_start:
        training.warm_start(warm_networks(root, config))
    images = sum(phase.images for phase in config.phases)
    if reached(config_path.stem, training.position, images, stop_after):
        return [folder]
    if not world.leads:
        for _ in batches(training):
            if stop_after is not None and training.position >= stop_after:
                break
        return [folder]
    log = CurveLog(folder / "curves", training.position)
    if state is not None:
        log.restore(state["log"])
    watch = None
    if config.frechet_network:
        best = state.get("best") if state is not None else record.get("best")
        network = weights.file_path(root, config.frechet_network, "")
        watch = FrechetWatch(network, training.full.images, config.frechet_images, config.seed, best)
    _drive(training, log, held_out, folder, stop_after, Spent(state), watch)
    return [folder]


def _drive(
    training: GeneratorTraining,
    log: CurveLog,
    held_out: PackedImages,
    folder: Path,
    stop_after: int | None,
    spent: Spent,
    watch: FrechetWatch | None,
) -> None:
    config, clock, since = training.config, time.monotonic(), training.position

    def save(name: str = "checkpoint.pt") -> None:
        state = {"config": _digest(config), "training": training.state(), "log": log.state(), KEY: spent.state()}
        checkpoint.save(folder / name, state | ({} if watch is None else {"best": watch.best}))

    for report in batches(training):
        log.add(report)
        position, batch = training.position, training.phase.batch

        def due(every: int, position: int = position, batch: int = batch) -> bool:
            return position // every != (position - batch) // every

        stopping = stop_after is not None and position >= stop_after
        better = False
        if watch is not None and training.nets.resolution == config.size and due(config.frechet_every):
            distance, better = watch.measure(shared(training), position)
            log.add({"frechet": distance})
        if due(config.log_every):
            means = log.write(position)
            print(
                f"{training.phase.name} {position:>8} images  {throughput(position - since, clock)}  "
                + "  ".join(f"{k} {v:.4g}" for k, v in means.items()),
                flush=True,
            )
            clock, since = time.monotonic(), position
        if better:
            save("best.pt")
        if due(config.checkpoint_every) or stopping:
            save()
        if due(config.sheet_every) or stopping:
            look(training, held_out, folder / "sheets", position, log)
        if stopping:
            return
    save()
    look(training, held_out, folder / "sheets", training.position, log)


def warm_networks(root: Path, config: GeneratorConfig) -> dict[str, Tensor]:
    """Networks for a warm start: those of ``config.warm_start``, with the domain's generator and discriminator.

    Raises:
        UnknownName: no such weights, or none of the domain's generator.
    """
    tensors = dict(weights.load(root, config.warm_start or ""))
    held_out = {entry.id for entry in weights.read_manifest(root).weights}
    generator = {k: v for k, v in weights.load(root, f"{config.domain}_generator").items() if k != "latent_avg"}
    discriminator_id = f"{config.domain}_discriminator"
    tensors |= {f"generator.{k}": v for k, v in generator.items()}
    return tensors | {
        f"discriminator.{k}": v
        for k, v in (weights.load(root, discriminator_id) if discriminator_id in held_out else {}).items()
    }


def _perceptual(config: GeneratorConfig) -> PerceptualDistance | None:
    """The frozen network of the perceptual term and of the projected discriminator, or None where no phase uses it."""
    projected = any(phase.projected for phase in config.phases)
    if not projected and not any(phase.perceptual for phase in config.phases):
        return None
    from bench.nets.perceptual import PerceptualDistance

    return PerceptualDistance(sorted({*config.perceptual_stages, *(STAGES if projected else ())}))


def _digest(config: GeneratorConfig) -> str:
    """Hash of what must not change between stretches; later phases and cadences may."""
    architecture = {"size", "style_dim", "n_mlp", "channels"}
    fixed = config.model_dump(include={"dataset", "domain", "seed", "clean_only", "held_out", "known"} | architecture)
    return hashlib.sha256(repr(sorted(fixed.items())).encode()).hexdigest()


def look(
    training: GeneratorTraining, held_out: PackedImages, folder: Path, position: int, log: CurveLog | None = None
) -> float:
    """Sheets and the held-out error at the current resolution; returns the error."""
    state = checkpoint.random_state()
    generator, encoder = shared(training), averaged_encoder(training)
    small = held_out.resized(training.nets.resolution)
    subset = small.subset(np.arange(min(200, len(small.ids))))
    mae = evaluate.held_out_mae(generator, encoder, subset)
    folder.mkdir(parents=True, exist_ok=True)
    for name, sheet in evaluate.sheets(generator, encoder, small, training.config.seed).items():
        write_png(folder / f"{position:08d}_{name}.png", sheet)
        if log is not None:
            log.write_figure(name, sheet, position)
    print(f"held-out MAE {mae:.4f} at {position} images, sheets in {folder}", flush=True)
    checkpoint.restore_random_state(state)
    return mae


def describe(training: GeneratorTraining, n_train: int, n_held_out: int) -> str:
    """Text of a dry run: the resolved configuration, picture counts and parameter counts."""
    config = training.config
    training.enter_phase()
    lines = [f"dataset {config.dataset}: {n_train} training pictures, {n_held_out} clean held-out pictures"]
    lines += [
        f"phase {p.name}: {p.resolution} px, {p.images} images, batch {p.batch}, lr {p.lr:g}" for p in config.phases
    ]
    lines += [
        f"{name}: {sum(p.numel() for p in net.parameters()):,} parameters at {training.nets.resolution} px"
        for name, net in training.nets.named_children()
    ]
    return "\n".join(lines)
