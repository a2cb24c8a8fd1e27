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
from bench.device import resolve_device
from bench.edits.editor import EditJob, calibrate_shard, direction_of, forget, joined
from bench.edits.prepare import check_judge, pictures_of, wanted_edits
from bench.edits.results import read_edits
from bench.edits.score_method import SHARD, strength_of
from bench.edits.strength import Matched
from bench.edits.targets import Wanted, exact
from bench.engine import Execution, Work, check_failures, even_shards, map_on_device
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
    matched = _stored(config, store, plan, settings)
    if matched is None and registry.methods(config.root).load(plan.method).cost == "slow":
        command = f"`bench score-edits --method {plan.method}`"
        return (), [f"inversions only: strengths of {plan.method!r} take long to match, {command} does it"]
    if matched is None:
        matched = _matched_here(config, plan, settings, execution)
    edits = {one.name: one for one in wanted_edits(config.root, plan.domain, settings)}
    moves = tuple(Move(edits[name], one.degree) for name, one in matched.items() if one.degree is not None)
    return moves, [f"{name} is left out: {one.told()}" for name, one in matched.items() if one.degree is None]


def has_targets(manifest: Manifest) -> bool:
    """Only rendered datasets know what an edit must show."""
    return manifest.render is not None


def _stored(config: Config, store: RunStore, plan: RunPlan, settings: EditSettings) -> dict[str, Matched] | None:
    """Strengths of `bench score-edits` in this profile, if they are of this very method and made in this way."""
    name = label(plan.method, plan.variant)
    found = read_edits(store, config.profile, [name]).get(name)
    if found is None or found.record["config_hash"] != plan.config_hash or found.record["dataset"] != plan.dataset:
        return None
    held, wanted = found.record["settings"], settings.model_dump(mode="json")
    names = [one.name for one in wanted_edits(config.root, plan.domain, settings)]
    same = all(held[key] == wanted[key] for key in ("judge", "degrees", "calibration"))
    return {n: found.matched[n] for n in names} if same and set(names) <= set(found.matched) else None


def _matched_here(config: Config, plan: RunPlan, settings: EditSettings, execution: Execution) -> dict[str, Matched]:
    edits = wanted_edits(config.root, plan.domain, settings)
    check_judge(config.root, plan.domain, settings)
    assert settings.calibration is not None
    other = settings.calibration.dataset
    ids = pictures_of(config, settings, plan.dataset, None)[other]
    bare = settings.model_copy(update={"metrics": [], "sets": [], "identity": ""})
    shards = even_shards(list(ids), SHARD)
    work = Work(calibrate_shard, {"job": EditJob(plan, other, tuple(edits), bare)})
    try:
        done = joined(map_on_device(resolve_device(plan.device), work, shards, execution.quiet()))
        check_failures(done.failures, ids, plan.method, f"pictures of {other!r}")
        return {one.name: strength_of(one, done, config.root, settings) for one in edits}
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
