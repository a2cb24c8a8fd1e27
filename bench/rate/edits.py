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
from bench.edits.plan import check_predictor, edit_specs_of, plan_targets
from bench.edits.results import read_edits
from bench.edits.score_method import calibrate, strength_of
from bench.edits.strength import EditStrength
from bench.edits.targets import EditSpec, exact
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
class EditStep:
    """One edit of a method. Args: degree: along the direction, for the change that is wanted."""

    edit_spec: EditSpec
    degree: float


@dataclass(frozen=True)
class RenderTask:
    """What some pictures of a batch are made to show.

    Args:
        edit: its name, "" for the inversion itself. rows: places in the batch. targets: (len(rows), R, R, 3) uint8.
        direction, degree: of the edit; None for the inversion.
    """

    edit: str
    rows: list[int]
    targets: np.ndarray
    direction: Direction | None = None
    degree: float = 0.0

    def edited_latents(self, w_plus: Tensor) -> Tensor:
        """(B, L, D) codes -> those of the edit."""
        return w_plus if self.direction is None else self.direction.apply(w_plus, self.degree)


def plan_edit_steps(
    config: Config, store: RunStore, plan: RunPlan, execution: Execution
) -> tuple[tuple[EditStep, ...], list[str]]:
    """The edits to make at each operating point, and why some or all are not.

    Raises:
        UnknownName: `rate: directions` names one that is not among the profile's edits. BenchError: settings of edits
            that cannot be. DataError: data that ``bench edit-targets`` prepares.
    """
    settings, rate_settings = config.settings.edits, config.settings.rate
    if settings is None:
        return (), [f"inversions only: profile {config.profile!r} asks for no edits"]
    if settings.policy == "fixed":
        return (), [f"inversions only: edits of profile {config.profile!r} have fixed degrees, and no targets"]
    if settings.calibration is None:
        return (), [f"inversions only: profile {config.profile!r} edits by fixed degrees, which no target goes with"]
    if not has_targets(load_manifest(config.root, plan.dataset)):
        return (), [f"inversions only: dataset {plan.dataset!r} has no exact targets of edits"]
    named = None if rate_settings is None else rate_settings.directions
    for name in named or ():
        if name not in settings.directions:
            raise UnknownName.of(f"direction under `edits` of profile {config.profile!r}", name, settings.directions)
    chosen = {name: on for name, on in settings.directions.items() if named is None or name in named}
    if not chosen:
        return (), ["inversions only: `rate: directions` is empty"]
    settings = settings.model_copy(update={"directions": chosen})
    edits = {one.name: one for one in edit_specs_of(config.root, plan.domain, settings)}
    strengths = _stored_strengths(config, store, plan, settings, list(edits))
    if strengths is None and registry.methods(config.root).load(plan.method).cost == "slow":
        command = f"`bench score-edits --method {plan.method}`"
        return (), [f"inversions only: strengths of {plan.method!r} take long to match, {command} does it"]
    if strengths is None:
        strengths = _strengths(config, plan, settings, execution)
    edit_steps = tuple(EditStep(edits[name], one.degree) for name, one in strengths.items() if one.degree is not None)
    return edit_steps, [
        f"{name} is left out: {one.describe()}" for name, one in strengths.items() if one.degree is None
    ]


def has_targets(manifest: Manifest) -> bool:
    """Only rendered datasets know what an edit must show."""
    return manifest.render is not None


def _stored_strengths(
    config: Config, store: RunStore, plan: RunPlan, settings: EditSettings, names: list[str]
) -> dict[str, EditStrength] | None:
    """Strengths of `bench score-edits` in this profile, if they are of this very method and made in this way."""
    row = label(plan.method, plan.variant)
    stored_edits = read_edits(store, config.profile, [row]).get(row)
    if (
        stored_edits is None
        or stored_edits.record["config_hash"] != plan.config_hash
        or stored_edits.record["dataset"] != plan.dataset
    ):
        return None
    stored, current = stored_edits.record["settings"], settings.model_dump(mode="json")
    if any(stored[key] != current[key] for key in ("judge", "degrees", "calibration")):
        return None
    strengths = stored_edits.strengths
    if not set(names) <= set(strengths):
        return None
    return {name: strengths[name] for name in names}


def _strengths(config: Config, plan: RunPlan, settings: EditSettings, execution: Execution) -> dict[str, EditStrength]:
    """Strengths as `bench score-edits` would match them."""
    edits = plan_targets(config, plan.dataset, settings=settings)
    check_predictor(config.root, plan.domain, settings)
    bare = settings.model_copy(update={"metrics": [], "sets": [], "identity": ""})
    job = EditJob(plan, edits.calibration, edits.edits, bare)
    try:
        done = calibrate(job, edits.calibration_ids, execution.quiet())
        exact_ones = edits.calibrated_on_targets
        return {one.name: strength_of(one, done, settings.degrees, exact_ones) for one in edits.edits}
    finally:
        forget()


def render_tasks(
    method: Method,
    plan: RunPlan,
    dataset: PreparedDataset,
    edit_steps: Sequence[EditStep],
    ids: Sequence[str],
    own: np.ndarray,
) -> list[RenderTask]:
    """What each picture of a batch is to show: itself, then every edit that it has room for."""
    tasks = [RenderTask("", list(range(len(ids))), own)]
    for edit_step in edit_steps:
        targets = exact(dataset, list(ids), edit_step.edit_spec).images
        rows = [n for n, i in enumerate(ids) if i in targets]
        if rows:
            direction = direction_of(plan, edit_step.edit_spec, method.generator)
            target_images = np.stack([targets[ids[n]] for n in rows])
            tasks.append(RenderTask(edit_step.edit_spec.name, rows, target_images, direction, edit_step.degree))
    return tasks
