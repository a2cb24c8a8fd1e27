"""`bench train METHOD`: from a preset to weights, resumable after any step."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.api import Context, TrainableMethod
from bench.data.dataset import PreparedDataset
from bench.errors import BenchError, DataError
from bench.generator import SharedGenerator
from bench.registry import methods
from bench.seeds import seed_for
from bench.training import checkpoint
from bench.training.data import PackedImages, pack
from bench.training.ends import reached
from bench.training.loop import Loop
from bench.training.overfit import few
from bench.training.preset import Preset, identity_of, read_preset, weights_id
from bench.training.record import Record, drive
from bench.training.scaffold import teacher
from bench.training.world import World, join
from bench.weights import manifest as weights

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
    method: str | None = None,
    dataset: str | None = None,
) -> list[Path]:
    """Train; write checkpoints, curves and grids under :func:`run_folder`.

    Args:
        config_path: YAML of :class:`bench.training.preset.Preset`.
        root: project folder.
        resume: continue from the last checkpoint.
        device: where to compute. Under torchrun every process takes its share of each batch.
        dry_run: print the resolved run, its networks and an estimate of memory and time, then stop.
        stop_after: stop cleanly after this many pictures in all (the checkpoint is kept).
        export: do not train; write the last checkpoint as committed weights.
        method: whose training is asked for; the preset must be of it.
        dataset: overrides the preset's.
    Returns:
        the run's folder, or the files exported; nothing after a dry run.
    Raises:
        BenchError: wrong preset, unprepared data, an existing run without ``resume``, a loss that is not finite.
    """
    preset = chosen(read_preset(config_path), config_path, method, dataset)
    folder = run_folder(root, config_path)
    latest = checkpoint.path_of_run(folder, resume or dry_run or export)
    world, where = join(torch.device(device))
    try:
        train, held = split(load_pictures(preset, root, world), preset.held_out)
        trainee = start(preset, root, where)
        if preset.overfit is not None:
            train = held = few(preset.overfit, train, trainee.generator, preset.seed)
        loop = Loop(preset, trainee, train, where, guide(preset, trainee), world)
        if world.leads and not export:
            print(f"preset {config_path}; its weights will be {weights_id(preset, config_path)}", flush=True)
        if dry_run:
            from bench.training.describe import describe

            print(describe(loop, len(held.ids)))
            return []
        saved = load_checkpoint(latest, loop, config_path) if (resume or export) and latest.exists() else None
        if saved is not None:
            loop.restore(saved["loop"])
        if export:
            from bench.training.export_method import export_run

            return export_run(loop, held, config_path, root, folder, saved)
        if not reached(folder.name, loop.position, preset.images, stop_after):
            drive(loop, Record(loop, held, folder, saved), stop_after)
        return [folder]
    finally:
        world.leave()


def run_folder(root: Path, config_path: Path) -> Path:
    """Where a run keeps its checkpoint: ``weights/training/<folder of the preset>/<its stem>``."""
    kept = config_path.resolve()
    return root / weights.FOLDER / "training" / kept.parent.name / kept.stem


def chosen(preset: Preset, path: Path, method: str | None, dataset: str | None) -> Preset:
    """The preset with what the command line overrides.

    Raises:
        BenchError: a preset of another method.
    """
    if method is not None and method != preset.method:
        raise BenchError(f"{path} trains another method", got=preset.method, expected=method)
    return preset.model_copy(update={"dataset": dataset}) if dataset else preset


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


def load_pictures(preset: Preset, root: Path, world: World) -> PackedImages:
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
    packed = partial(pack, dataset.paths.folder, list(ids), dataset.manifest.resolution, with_labels=False)
    if world.leads:
        packed()
    world.gather(None)  # the others wait until the file is written
    return packed()


def split(data: PackedImages, held_out: int) -> tuple[PackedImages, PackedImages]:
    """Pictures to learn from, and the last ``held_out``; both still on disk."""
    cut = len(data.ids) - held_out
    learnt, held = (PackedImages(data.ids[s], data.images[s], None) for s in (slice(0, cut), slice(cut, None)))
    return learnt, held


def load_checkpoint(path: Path, loop: Loop, config_path: Path) -> Mapping[str, Any]:
    """The last checkpoint, if it belongs to the training.

    Raises:
        BenchError: made under another preset (the keys that differ are named) or with passes of another size.
    """
    state = checkpoint.load(path)
    was, now = identity_of(state["preset"]), loop.preset.identity()
    differing = [
        f"{key}: {was.get(key)!r} in the checkpoint, {now.get(key)!r} now"
        for key in sorted({*was, *now})
        if was.get(key) != now.get(key)
    ]
    if differing:
        raise BenchError(
            f"{path} was made with another configuration",
            got="; ".join(differing),
            expected=f"the one in {config_path}",
            fix="restore that file, or move the folder away and start anew",
        )
    made = state["preset"]
    pictures = state.get("pass") or made["micro_batch"] or made["batch"] // state.get("processes", 1)
    if pictures != loop.micro:
        raise BenchError(
            f"{path} was made with passes of another size",
            got=f"{loop.micro} pictures a pass",
            expected=pictures,
            fix=f"set `micro_batch: {pictures}` in the preset, or start as many processes as before",
        )
    return state
