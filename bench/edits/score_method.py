"""Scores of edits of one method or variant: strengths matched on calibration pictures, then everything measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.config.project import LOCAL, Config
from bench.data.dataset import PreparedDataset
from bench.device import resolve_device
from bench.edits.editor import EditJob, Part, calibrate_shard, forget, joined
from bench.edits.plan import EditPlan, plan_edits, settings_of
from bench.edits.results import edits_dir, write_edits, write_nothing
from bench.edits.score_batch import score_shard
from bench.edits.set_metrics import Features, set_values
from bench.edits.strength import Matched, given, match
from bench.edits.targets import Wanted, render_targets
from bench.engine import SERIAL, Execution, Work, check_failures, even_shards, map_on_device
from bench.errors import BenchError, DataError
from bench.inversion.plan import RunPlan
from bench.names import label
from bench.predictors.attributes import judge
from bench.store.paths import RunStore
from bench.store.provenance import ids_sha256, versions

if TYPE_CHECKING:
    import torch

SHARD = 6  # pictures worked on together, at most: few, so that workers share a small profile evenly
SPREAD = 200  # at most so many pictures say how much attributes vary


@dataclass(frozen=True)
class Strengths:
    """What calibration found.

    Args:
        matched: edit -> its strength.
        spread: attribute -> standard deviation over images; {} under fixed degrees.
        failures: id -> reason, of calibration images.
    """

    matched: Mapping[str, Matched]
    spread: Mapping[str, float]
    failures: Mapping[str, str]

    @property
    def degrees(self) -> dict[str, float]:
        """Edit -> degree, of those whose change is reached."""
        return {name: one.degree for name, one in self.matched.items() if one.degree is not None}


def score_edits(
    config: Config,
    store: RunStore,
    plan: RunPlan,
    images: int | None = None,
    masks: Path | None = None,
    execution: Execution = SERIAL,
) -> tuple[list[Path], dict[str, Any]]:
    """Match strengths or take those given, edit, measure, write ``results/edits/<scope>/<method[.variant]>``.

    What is written: bench/edits/results.py.

    Args:
        plan: the method's run (bench.inversion.plan.plan_run), whose dataset, options and scope are used. A variant of the
            profile's gets what tables of variants show: edits at their strength, no curves, round trips and sweeps.
        images: the first so many, for the profile's number and its limit for the method.
        masks: folder of masks, for part labels.
        execution: its progress is told in finished images.
    Returns:
        Files written; the record (edits.json).
    Raises:
        BenchError: settings that cannot be, every image failed; what was there before stays. DataError: data.
    """
    edits = plan_edits(config, plan.dataset, images or _count(config, plan.method))
    _check_masks(edits, masks)
    job = EditJob(plan, plan.dataset, edits.edits, edits.usable, masks)
    has_target, unseen = _target_ids(edits, execution)
    try:
        strengths = _strengths(edits, job, execution)
        job = _scoring_job(edits, job, strengths, has_target)
        done = _map_job(score_shard, edits.ids, job, execution)
    finally:
        forget()
    features = Features.of_part(done)
    record = _record(edits, job, strengths, has_target, unseen)
    record |= {"failures": dict(sorted(done.failures.items())), "sets": _sets(edits, features, config.seed)}
    rows = [{**_head(plan), **row} for row in done.rows]
    folder = edits_dir(store, plan.scope, label(plan.method, plan.variant))
    return write_edits(folder, rows, record, done.pictures, features), record


def _head(plan: RunPlan) -> dict[str, str]:
    """Whose rows and record these are."""
    return {"dataset": plan.dataset, "method": plan.method, "variant": plan.variant}


def _record(
    edits: EditPlan,
    job: EditJob,
    strengths: Strengths,
    has_target: Mapping[str, Sequence[str]],
    unseen: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """What edits.json says, but for the results of scoring.

    Args:
        job: of the scoring. has_target, unseen: see :func:`_target_ids`.
    """
    in_range = {one.name: {*has_target[one.name], *unseen[one.name]} for one in edits.edits}
    return {
        **_head(job.plan),
        "config_hash": job.plan.config_hash,
        "settings": edits.settings.model_dump(mode="json"),
        "ids": edits.ids,
        "ids_sha256": ids_sha256(edits.ids),
        "calibration_ids_sha256": ids_sha256(edits.calibration_ids),
        "edits": [{"name": e.name, "direction": e.direction, "attribute": e.attribute} for e in edits.edits],
        "matched": {name: one.to_json() for name, one in strengths.matched.items()},
        "no_room": {name: [i for i in edits.ids if i not in ids] for name, ids in in_range.items()},
        "unseen": unseen,
        "calibration_failures": dict(sorted(strengths.failures.items())),
        "missing": edits.missing,
        "shown": job.shown,
        "judge": edits.predictor,
        "weights": job.plan.weights,
        "versions": versions(),
    }


def _count(config: Config, method: str) -> int:
    """The number of images that the profile scores a method on."""
    images = settings_of(config).images
    return min(images, config.settings.limits.get(method, images))


def _map_job(work: Callable[..., Part], ids: Sequence[str], job: EditJob, execution: Execution) -> Part:
    """Apply a job's work to images, in shards.

    Raises:
        BenchError: every image failed.
    """
    shards = even_shards(list(ids), SHARD)
    device = resolve_device(job.plan.device)
    done = joined(map_on_device(device, Work(work, {"job": job}), shards, execution))
    check_failures(done.failures, ids, job.plan.method, f"pictures of {job.dataset!r}")
    return done


def calibrate(job: EditJob, ids: Sequence[str], execution: Execution) -> Part:
    """What the attribute predictor sees in calibration images, their exact targets and their edits.

    Args:
        job: of the calibration dataset.
        ids: images to calibrate on.
    Raises:
        BenchError: every image failed.
    """
    return _map_job(calibrate_shard, ids, job, execution)


def _strengths(edits: EditPlan, job: EditJob, execution: Execution) -> Strengths:
    """The strength of every edit: matched on calibration images, or the degree that the profile gives."""
    if not edits.calibration:
        return Strengths({one.name: given(one.change) for one in edits.edits}, {}, {})
    calibrated = calibrate(replace(job, dataset=edits.calibration), edits.calibration_ids, execution)
    degrees, exact = edits.settings.degrees, edits.calibrated_on_targets
    matched = {one.name: strength_of(one, calibrated, degrees, exact) for one in edits.edits}
    return Strengths(matched, _spread(edits, resolve_device(job.plan.device)), calibrated.failures)


def _scoring_job(
    edits: EditPlan, job: EditJob, strengths: Strengths, has_target: Mapping[str, Sequence[str]]
) -> EditJob:
    """The job that measures edits at their strengths; a variant of the profile's has the short one."""
    brief = bool(job.plan.variant) and job.plan.scope != LOCAL
    degrees = strengths.degrees
    shown = choose_shown(edits.edits, has_target, edits.settings.shown)
    return replace(
        job,
        degrees=degrees,
        spread=strengths.spread,
        again=() if brief else tuple(edits.ids[: edits.settings.round_trips]),
        shown={image_id: name for image_id, name in shown.items() if name in degrees},
        brief=brief,
    )


def _check_masks(edits: EditPlan, masks: Path | None) -> None:
    prepared = PreparedDataset.open(edits.root, edits.dataset)
    if masks is None and prepared.manifest.render is None and edits.settings.policy == "matched":
        raise DataError(
            f"dataset {edits.dataset!r} has no masks",
            expected="part labels of a rendered one",
            fix="pass --masks FOLDER",
        )
    if masks is not None and not masks.is_dir():
        raise DataError(f"no folder {masks}", expected="one PNG a picture, not 0 in the face", fix="correct --masks")


def strength_of(wanted: Wanted, calibrated: Part, degrees: Sequence[float], exact: bool) -> Matched:
    """The degree of one edit, on the calibration images that have room for it.

    Args:
        calibrated: what :func:`calibrate` found.
        degrees: along the direction, above 0, that were tried.
        exact: calibration images have exact targets; otherwise the change itself is the mark.
    Raises:
        BenchError: no image has room for the change.
    """
    targets, source = calibrated.judged[wanted.name], calibrated.judged["source"]
    signed = [degree if wanted.change > 0 else -degree for degree in degrees]
    changes = {degree: calibrated.judged[wanted.name, degree] for degree in signed}
    ids = [i for i in source if i in targets] if exact else list(source)
    if not ids:
        raise BenchError(
            f"no calibration picture has room for {wanted.name}", fix="ask for a smaller change, or for more pictures"
        )
    mark = wanted.change
    if exact:
        mark = float(np.mean([targets[i] - source[i][wanted.attribute] for i in ids]))
    return match(wanted.change, mark, {degree: np.array([changes[degree][i] for i in ids]) for degree in signed})


def _spread(edits: EditPlan, device: torch.device) -> dict[str, float]:
    """Attribute -> standard deviation of what the judge sees in all images of the calibration dataset."""
    import torch

    read = judge(edits.root, edits.domain, device, edits.settings.judge)[0]
    prepared = PreparedDataset.open(edits.root, edits.calibration)
    with torch.no_grad():
        seen = [read(x.to(device)) for _, x in prepared.batches(prepared.manifest.ids[:SPREAD], SHARD)]
    return {name: float(torch.cat([one[name] for one in seen]).double().std(correction=0)) for name in seen[0]}


def _target_ids(edits: EditPlan, execution: Execution) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Edit -> ids that have an exact target, or all where no target can be; and those whose target is their source."""
    if not edits.targets_are_exact:
        return {one.name: edits.ids for one in edits.edits}, {one.name: [] for one in edits.edits}
    targets = render_targets(edits.root, edits.rendered, edits.edits, execution)[edits.dataset]
    room = {name: [i for i, sha in of.items() if sha] for name, of in targets.items()}
    return room, {name: [i for i, sha in of.items() if sha == ""] for name, of in targets.items()}


def choose_shown(edits: Sequence[Wanted], room: Mapping[str, Sequence[str]], count: int) -> dict[str, str]:
    """Image id -> edit to show of it: edits in turn, each on the next image that has room for it.

    The same for every method, so that figures can set them side by side.

    Args:
        room: edit -> ids of images that have room for it.
        count: how many images are shown at most.
    """
    shown: dict[str, str] = {}
    for n in range(count):
        name = edits[n % len(edits)].name
        free = [i for i in room[name] if i not in shown]
        if free:
            shown[free[0]] = name
    return shown


def _sets(edits: EditPlan, features: Features, seed: int) -> list[dict[str, Any]]:
    """Distances of all edits from what they are compared with, as JSON (null for NaN)."""
    found = set_values(edits.root, edits.usable.sets, features, edits.ids, seed)
    return [{key: None if v != v else v for key, v in asdict(value).items()} for value in found]


def nothing_asked(config: Config, store: RunStore, method: str, variant: str) -> Path:
    """What the pipeline's stage leaves where the profile asks for no edits."""
    return write_nothing(edits_dir(store, config.profile, label(method, variant)))


def told(record: Mapping[str, Any]) -> list[str]:
    """What a person must know of a record: strengths, failures, what was left out."""
    lines = [f"{name}: degree {Matched.from_json(one).told()}" for name, one in record["matched"].items()]
    for what, failures in (("", record["failures"]), ("calibration ", record["calibration_failures"])):
        lines += [f"{what}picture {i} failed: {why}" for i, why in list(failures.items())[:5]]
        if len(failures) > 5:
            lines.append(f"{len(failures)} {what}pictures failed in all")
    lines += [f"{name}: {len(ids)} pictures have no room" for name, ids in record["no_room"].items() if ids]
    lines += [f"{name}: in {len(ids)} pictures nothing of it is seen" for name, ids in record["unseen"].items() if ids]
    return lines + [f"metric {name} was left out: {why}" for name, why in record["missing"].items()]
