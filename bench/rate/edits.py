"""Edits of ``bench rate``: how strong they are for a method, and what they must show.

Strengths are those that ``bench score-edits`` matched for the method as it is; where these are not there, they are
matched here in the same way, on the same pictures, so they are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench import registry
from bench.config.project import Config
from bench.config.sections import EditSettings
from bench.data.dataset import PreparedDataset
from bench.data.manifest import Manifest, load_manifest
from bench.edits.editor import EditJob, direction_of, forget
from bench.edits.plan import check_judge, plan_targets, wanted_edits
from bench.edits.results import read_edits
from bench.edits.score_method import calibrate, strength_of
from bench.edits.strength import Matched
from bench.edits.targets import Wanted, exact
from bench.engine import Execution
from bench.errors import UnknownName
from bench.inversion.plan import RunPlan
from bench.names import label
from bench.store.paths import RunStore

if TYPE_CHECKING:
    from torch import Tensor

    from bench.api import Method
    from bench.directions.direction import Direction


@dataclass(frozen=True)
class Move:
    """One edit of a method. Args: degree: along the direction, for the change that is wanted."""

    wanted: Wanted
    degree: float


@dataclass(frozen=True)
class Scene:
    """What some pictures of a batch are made to show.

    Args:
        edit: its name, "" for the inversion itself. rows: places in the batch. meant: (len(rows), R, R, 3) uint8.
        direction, degree: of the edit; None for the inversion.
    """

    edit: str
    rows: list[int]
    meant: np.ndarray
    direction: Direction | None = None
    degree: float = 0.0

    def moved(self, w_plus: Tensor) -> Tensor:
        """(B, L, D) codes -> those of the edit."""
        return w_plus if self.direction is None else self.direction.apply(w_plus, self.degree)


def moves_of(
    config: Config, store: RunStore, plan: RunPlan, execution: Execution
) -> tuple[tuple[Move, ...], list[str]]:
    """The edits to make at each operating point, and why some or all are not.

    Raises:
        UnknownName: `rate: directions` names one that is not among the profile's edits. BenchError: settings of edits
            that cannot be. DataError: data that ``bench edit-targets`` prepares.
    """
    settings, asked = config.settings.edits, config.settings.rate
    if settings is None:
        return (), [f"inversions only: profile {config.profile!r} asks for no edits"]
    if settings.policy == "fixed":
        return (), [f"inversions only: edits of profile {config.profile!r} have fixed degrees, and no targets"]
    if settings.calibration is None:
        return (), [f"inversions only: profile {config.profile!r} edits by fixed degrees, which no target goes with"]
    if not has_targets(load_manifest(config.root, plan.dataset)):
        return (), [f"inversions only: dataset {plan.dataset!r} has no exact targets of edits"]
    named = None if asked is None else asked.directions
    for name in named or ():
        if name not in settings.directions:
            raise UnknownName.of(f"direction under `edits` of profile {config.profile!r}", name, settings.directions)
    chosen = {name: on for name, on in settings.directions.items() if named is None or name in named}
    if not chosen:
        return (), ["inversions only: `rate: directions` is empty"]
    settings = settings.model_copy(update={"directions": chosen})
    edits = {one.name: one for one in wanted_edits(config.root, plan.domain, settings)}
    matched = _stored(config, store, plan, settings, list(edits))
    if matched is None and registry.methods(config.root).load(plan.method).cost == "slow":
        command = f"`bench score-edits --method {plan.method}`"
        return (), [f"inversions only: strengths of {plan.method!r} take long to match, {command} does it"]
    if matched is None:
        matched = _matched_here(config, plan, settings, execution)
    moves = tuple(Move(edits[name], one.degree) for name, one in matched.items() if one.degree is not None)
    return moves, [f"{name} is left out: {one.told()}" for name, one in matched.items() if one.degree is None]


def has_targets(manifest: Manifest) -> bool:
    """Only rendered datasets know what an edit must show."""
    return manifest.render is not None


def _stored(
    config: Config, store: RunStore, plan: RunPlan, settings: EditSettings, names: list[str]
) -> dict[str, Matched] | None:
    """Strengths of `bench score-edits` in this profile, if they are of this very method and made in this way."""
    row = label(plan.method, plan.variant)
    found = read_edits(store, config.profile, [row]).get(row)
    if found is None or found.record["config_hash"] != plan.config_hash or found.record["dataset"] != plan.dataset:
        return None
    held, wanted = found.record["settings"], settings.model_dump(mode="json")
    if any(held[key] != wanted[key] for key in ("judge", "degrees", "calibration")):
        return None
    matched = found.matched
    if not set(names) <= set(matched):
        return None
    return {name: matched[name] for name in names}


def _matched_here(config: Config, plan: RunPlan, settings: EditSettings, execution: Execution) -> dict[str, Matched]:
    """Strengths as `bench score-edits` would match them."""
    edits = plan_targets(config, plan.dataset, settings=settings)
    check_judge(config.root, plan.domain, settings)
    bare = settings.model_copy(update={"metrics": [], "sets": [], "identity": ""})
    job = EditJob(plan, edits.calibration, edits.edits, bare)
    try:
        done = calibrate(job, edits.calibration_ids, execution.quiet())
        exact_ones = edits.calibrated_on_targets
        return {one.name: strength_of(one, done, settings.degrees, exact_ones) for one in edits.edits}
    finally:
        forget()


def scenes_of(
    method: Method, plan: RunPlan, dataset: PreparedDataset, moves: Sequence[Move], ids: Sequence[str], own: np.ndarray
) -> list[Scene]:
    """What each picture of a batch is to show: itself, then every edit that it has room for."""
    scenes = [Scene("", list(range(len(ids))), own)]
    for move in moves:
        targets = exact(dataset, list(ids), move.wanted).images
        rows = [n for n, i in enumerate(ids) if i in targets]
        if rows:
            direction = direction_of(plan, move.wanted, method.generator)
            meant = np.stack([targets[ids[n]] for n in rows])
            scenes.append(Scene(move.wanted.name, rows, meant, direction, move.degree))
    return scenes
