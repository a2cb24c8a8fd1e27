"""What edits need before any method is asked: which edits, on which pictures, and their exact targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.config.project import Config
from bench.config.sections import EditSettings
from bench.data.dataset import PreparedPaths
from bench.data.manifest import load_manifest
from bench.data.prepare import prepare
from bench.directions import files
from bench.edits.results import targets_path
from bench.edits.targets import Wanted, render_targets
from bench.engine import Execution
from bench.errors import BenchError
from bench.predictors.attributes import judge
from bench.store.paths import RunStore, write_json
from bench.weights import manifest as weights


def settings_of(config: Config) -> EditSettings:
    """The profile's ``edits``.

    Raises:
        BenchError: it has none.
    """
    if config.settings.edits is None:
        raise BenchError(
            f"profile {config.profile!r} asks for no edits", expected="a key `edits`", fix="see docs/editing.md"
        )
    return config.settings.edits


def wanted_edits(root: Path, domain: str, settings: EditSettings) -> list[Wanted]:
    """All edits to score, in the profile's order; under fixed degrees, of no attribute.

    Raises:
        UnknownName: a direction. BenchError: one that does not say which attribute it moves.
    """
    found = []
    for name, changes in settings.directions.items():
        about = files.find(root, domain, name).about
        if settings.policy == "fixed":
            about = {"attribute": ""}
        if "attribute" not in about:
            raise BenchError(
                f"direction {name!r} was not made for an attribute, so its strength cannot be matched",
                fix="take one of `bench directions --method interfacegan`, or `policy: fixed` with degrees",
            )
        found += [Wanted(name, str(about["attribute"]), change) for change in changes]
    return found


def check_judge(root: Path, domain: str, settings: EditSettings) -> None:
    """Refuse a judge whose own labels the directions were learned from: it would find in edits what it put there.

    Raises:
        UnknownName: no such judge. BenchError: it labelled a direction.
    """
    import torch

    if settings.policy == "fixed":
        return
    used = set(judge(root, domain, torch.device("cpu"), settings.judge)[1])
    for name in settings.directions:
        of_set = files.find(root, domain, name).about.get("weights")
        labelled_with = weights.load_with_meta(root, str(of_set))[1].get("made_with", {}) if of_set else {}
        if shared := used & set(labelled_with):
            raise BenchError(
                f"the judge of edits labelled direction {name!r}",
                got=f"weights {sorted(shared)[0]!r} in both",
                expected="another judge",
                fix="name one under `edits: judge`",
            )


def pictures_of(config: Config, settings: EditSettings, dataset: str, images: int | None) -> dict[str, list[str]]:
    """Dataset -> ids: those scored, then those calibrated on, if any are.

    Args:
        images: the first so many are scored, for the profile's number.
    Raises:
        BenchError: a picture would be in both.
    """
    calibration = settings.calibration
    if calibration is None:
        return {dataset: list(load_manifest(config.root, dataset).select(images or settings.images))}
    first, other = load_manifest(config.root, dataset), load_manifest(config.root, calibration.dataset)
    scored, held = first.select(images or settings.images), other.select(calibration.images)
    here, there = first.pixel_hashes(), other.pixel_hashes()
    if shared := {here[i] for i in scored} & {there[i] for i in held}:
        raise BenchError(
            f"{len(shared)} pictures would be scored and calibrated on",
            got=f"datasets {dataset!r} and {calibration.dataset!r}",
            expected="no picture in both",
            fix="name another dataset under `edits: calibration`",
        )
    return {dataset: list(scored), calibration.dataset: list(held)}


def prepare_edits(config: Config, store: RunStore, execution: Execution) -> tuple[Path, dict[str, Any]]:
    """Prepare the calibration pictures, render all exact targets and record what is asked for and what they are.

    Stages that edit depend on this record, and so on the settings in it.

    Returns:
        targets.json; what :func:`bench.edits.targets.render_targets` says; empty where the profile asks for no edits, or
        for fixed degrees.
    """
    path, found = targets_path(store, config.profile), {}
    settings = config.settings.edits
    if settings is not None and settings.calibration is not None:
        dataset = config.settings.datasets[0]
        if not PreparedPaths.of(config.root, settings.calibration.dataset).done.is_file():
            prepare(config, settings.calibration.dataset, execution=execution)
        parts = pictures_of(config, settings, dataset, None)
        edits = wanted_edits(config.root, load_manifest(config.root, dataset).domain, settings)
        rendered = {name: ids for name, ids in parts.items() if load_manifest(config.root, name).render is not None}
        found = render_targets(config.root, rendered, edits, execution)
    path.parent.mkdir(parents=True, exist_ok=True)
    asked = settings.model_dump(mode="json") if settings else None
    write_json(path, {"settings": {"edits": asked}, "targets": found})
    return path, found
