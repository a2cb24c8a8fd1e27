"""`bench train METHOD`: from a preset to weights, resumable after any step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench import weights
from bench.api import Context, TrainableMethod
from bench.errors import BenchError, DataError
from bench.generator import SharedGenerator
from bench.loading import PreparedDataset
from bench.plan import resolve_options
from bench.registry import methods
from bench.seeds import seed_for
from bench.training import checkpoint
from bench.training.data import PackedImages, pack
from bench.training.log import CurveLog
from bench.training.loop import Loop
from bench.training.preset import Preset, read_preset
from bench.training.scaffold import teacher
from bench.training.validation import validate

TRUNK = "trunk"  # the one network of no method that this loop trains


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
    """Train; write checkpoints, curves and grids under ``weights/training/<preset stem>``.

    Args:
        config_path: YAML of :class:`bench.training.preset.Preset`.
        root: project folder.
        resume: continue from the last checkpoint.
        device: where to compute.
        dry_run: print the resolved run and its networks, then stop.
        stop_after: stop cleanly after this many pictures in all (the checkpoint is kept).
        export: do not train; write the last checkpoint as committed weights.
    Returns:
        the run's folder, or the files exported; nothing after a dry run.
    Raises:
        BenchError: wrong preset, unprepared data, an existing run without ``resume``, a loss that is not finite.
    """
    preset = read_preset(config_path)
    folder = root / "weights" / "training" / config_path.stem
    latest = folder / "checkpoint.pt"
    if latest.exists() and not (resume or dry_run or export):
        raise BenchError(
            f"a run of {config_path.stem} exists in {folder}", fix="add --resume, or move that folder away"
        )
    train, held = split(load_pictures(preset, root), preset.held_out)
    method = start(preset, root, torch.device(device))
    loop = Loop(preset, method, train, torch.device(device), guide(preset, method))
    if dry_run:
        from bench.training.describe import describe

        print(describe(loop, len(held.ids)))
        return []
    saved = load_checkpoint(latest, preset, config_path) if (resume or export) and latest.exists() else None
    if saved is not None:
        loop.restore(saved["loop"])
    if export:
        from bench.training.export_method import export_run

        return export_run(loop, held, config_path, root)
    log = CurveLog(folder / "curves", loop.position)
    if saved is not None:
        log.restore(saved["log"])
    _drive(loop, log, held, folder, stop_after)
    return [folder]


def start(preset: Preset, root: Path, device: torch.device) -> TrainableMethod:
    """The method with fresh networks, the same for equal presets.

    Raises:
        BenchError: the method cannot be trained, or has no such option.
    """
    kind = _kind(preset.method, root)
    generator = SharedGenerator.load(preset.domain, device, root)
    context = Context(
        domain=preset.domain, generator=generator, device=device, load_weights=lambda name: weights.load(root, name)
    )
    method = kind.__new__(kind)  # setup() would ask for trained weights
    method.context, method.generator, method.device = context, generator, device
    method.opt = {**kind.options, **kind.domain_options.get(preset.domain, {})}
    torch.manual_seed(seed_for(preset.seed, preset.method, "start values") % 2**63)
    method.start_training(_options(kind, preset), preset.weights)
    return method


def guide(preset: Preset, method: TrainableMethod) -> nn.Module | None:
    """The teacher of the first pictures, where there is one."""
    if preset.guide is None:
        return None
    context, generator = method.context, method.generator
    state = context.load_weights(preset.guide.teacher)
    return teacher(state, generator.resolution, generator.style_dim, preset.guide.channels).to(method.device)


def _kind(name: str, root: Path) -> type[TrainableMethod]:
    if name == TRUNK:
        from bench.training.trunk import TrunkTraining

        return TrunkTraining
    kind = methods(root).load(name)
    if not issubclass(kind, TrainableMethod):
        raise BenchError(f"method {name!r} has nothing to train", expected="a TrainableMethod")
    return kind


def _options(kind: type[TrainableMethod], preset: Preset) -> dict[str, Any]:
    unknown = sorted(set(preset.options) - set(kind.training))
    if unknown:
        raise BenchError(
            f"training of {preset.method} has no option {unknown[0]!r}", expected=", ".join(sorted(kind.training))
        )
    return {**kind.training, **preset.options}


def load_pictures(preset: Preset, root: Path) -> PackedImages:
    """All pictures of the prepared training set, in manifest order, mapped from one packed file.

    Raises:
        DataError: the set is not prepared, or has no more pictures than are held out.
    """
    dataset = PreparedDataset.open(root, preset.dataset)
    ids = dataset.manifest.ids
    if len(ids) <= preset.held_out:
        raise DataError(
            f"dataset {preset.dataset!r} is too small to train on",
            got=f"{len(ids)} pictures",
            expected=f"more than the {preset.held_out} held out",
        )
    return pack(dataset.paths.folder, list(ids), dataset.manifest.resolution, with_labels=False)


def split(data: PackedImages, held_out: int) -> tuple[PackedImages, PackedImages]:
    """Pictures to learn from, and the last ``held_out``; both still on disk."""
    cut = len(data.ids) - held_out
    return tuple(PackedImages(data.ids[s], data.images[s], None) for s in (slice(0, cut), slice(cut, None)))


def load_checkpoint(path: Path, preset: Preset, config_path: Path) -> Mapping[str, Any]:
    """The last checkpoint, if it belongs to the preset.

    Raises:
        BenchError: made under another preset; the keys that differ are named.
    """
    state = checkpoint.load(path)
    was, now = state["preset"], preset.identity()
    differing = [f"{key}: {was.get(key)!r} in the checkpoint, {now[key]!r} now" for key in now if was.get(key) != now[key]]
    if differing:
        raise BenchError(
            f"{path} was made with another configuration",
            got="; ".join(differing),
            expected=f"the one in {config_path}",
            fix="restore that file, or move the folder away and start anew",
        )
    return state


def _drive(loop: Loop, log: CurveLog, held: PackedImages, folder: Path, stop_after: int | None) -> None:
    preset, clock, since = loop.preset, time.monotonic(), loop.position
    for report in loop.steps():
        log.add(report)
        position = loop.position
        stopping = position >= preset.images or (stop_after is not None and position >= stop_after)
        if _due(position, preset.validate_every, preset.batch) or stopping:
            log.add(validate(loop, held, folder / "grids"))
        if _due(position, preset.log_every, preset.batch) or stopping:
            means = log.write(position)
            rate = (position - since) / max(time.monotonic() - clock, 1e-9)
            values = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
            print(f"{preset.method} {position:>8} pictures  {rate:.1f} pictures/s  {values}", flush=True)
            clock, since = time.monotonic(), position
        if _due(position, preset.checkpoint_every, preset.batch) or stopping:
            state = {"preset": preset.identity(), "loop": loop.state(), "log": log.state()}
            checkpoint.save(folder / "checkpoint.pt", state)
        if stopping:
            return


def _due(position: int, every: int, batch: int) -> bool:
    """Whether a multiple of ``every`` was reached by the last batch."""
    return position // every != (position - batch) // every
