"""Scores of edits of one method or variant: strengths matched on calibration pictures, then everything measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import registry
from bench.config.project import LOCAL, Config
from bench.config.sections import EditSettings
from bench.data.dataset import PreparedDataset
from bench.data.manifest import load_manifest
from bench.device import resolve_device
from bench.edits.editor import EditJob, Part, calibrate_shard, forget, joined
from bench.edits.prepare import check_judge, pictures_of, settings_of, wanted_edits
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
from bench.scoring.build import lacking
from bench.store.paths import RunStore
from bench.store.provenance import ids_sha256, versions

if TYPE_CHECKING:
    import torch

SHARD = 6  # pictures worked on together, at most: few, so that workers share a small profile evenly
SPREAD = 200  # at most so many pictures say how much attributes vary


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
        BenchError: settings that cannot be, every picture failed; what was there before stays. DataError: data.
    """
    settings = settings_of(config)
    usable, missing = _usable(config, settings)
    edits = wanted_edits(config.root, plan.domain, settings)
    check_judge(config.root, plan.domain, settings)
    limit = config.settings.limits.get(plan.method, settings.images)
    parts = pictures_of(config, settings, plan.dataset, images or min(settings.images, limit))
    calibration = settings.calibration.dataset if settings.calibration else ""
    scored, held = parts[plan.dataset], parts.get(calibration, [])
    _check_masks(config.root, plan.dataset, masks, settings)
    where = resolve_device(plan.device)
    job = EditJob(plan, plan.dataset, tuple(edits), usable, masks)

    def each(work: Callable[..., Part], ids: Sequence[str], job: EditJob) -> Part:
        shards = even_shards(list(ids), SHARD)
        done = joined(map_on_device(where, Work(work, {"job": job}), shards, execution))
        check_failures(done.failures, ids, plan.method, f"pictures of {job.dataset!r}")
        return done

    brief = bool(plan.variant) and plan.scope != LOCAL
    room, unseen = {one.name: scored for one in edits}, {one.name: [] for one in edits}
    if load_manifest(config.root, plan.dataset).render is not None and calibration:
        room, unseen = _room(config.root, plan.dataset, parts, edits, execution)
    try:
        calibrated, spread = Part(), {}
        matched = {one.name: given(one.change) for one in edits}
        if calibration:
            calibrated = each(calibrate_shard, held, replace(job, dataset=calibration))
            matched = {one.name: strength_of(one, calibrated, config.root, settings) for one in edits}
            spread = _spread(config.root, plan.domain, settings, where)
        degrees = {name: one.degree for name, one in matched.items() if one.degree is not None}
        shown = {i: name for i, name in _shown(edits, room, settings.shown).items() if name in degrees}
        job = replace(
            job,
            degrees=degrees,
            spread=spread,
            again=() if brief else tuple(scored[: settings.round_trips]),
            shown=shown,
            brief=brief,
        )
        done = each(score_shard, scored, job)
    finally:
        forget()
    features = Features.of_part(done)
    head = {"dataset": plan.dataset, "method": plan.method, "variant": plan.variant}
    record = {
        **head,
        "config_hash": plan.config_hash,
        "settings": settings.model_dump(mode="json"),
        "ids": scored,
        "ids_sha256": ids_sha256(scored),
        "calibration_ids_sha256": ids_sha256(held),
        "edits": [{"name": e.name, "direction": e.direction, "attribute": e.attribute} for e in edits],
        "matched": {name: one.to_json() for name, one in matched.items()},
        "no_room": {e.name: [i for i in scored if i not in {*room[e.name], *unseen[e.name]}] for e in edits},
        "unseen": unseen,
        "failures": dict(sorted(done.failures.items())),
        "calibration_failures": dict(sorted(calibrated.failures.items())),
        "sets": _sets(config, usable, features, scored),
        "missing": missing,
        "shown": shown,
        "judge": judge(config.root, plan.domain, where, settings.judge)[1] if calibration else {},
        "weights": plan.weights,
        "versions": versions(),
    }
    target = edits_dir(store, plan.scope, label(plan.method, plan.variant))
    rows = [{**head, **row} for row in done.rows]
    return write_edits(target, rows, record, done.pictures, features), record


def _usable(config: Config, settings: EditSettings) -> tuple[EditSettings, dict[str, str]]:
    """Settings with the metrics that can be computed here; and metric -> the command that brings what another lacks."""
    known, missing = registry.metrics(config.root), {}
    for name in dict.fromkeys([*settings.metrics, *settings.sets, *filter(None, [settings.identity])]):
        if why := lacking(config.root, known.load(name)):
            missing[name] = why
    left = {
        "metrics": [m for m in settings.metrics if m not in missing],
        "sets": [m for m in settings.sets if m not in missing],
        "identity": "" if settings.identity in missing else settings.identity,
    }
    return settings.model_copy(update=left), missing


def _check_masks(root: Path, dataset: str, masks: Path | None, settings: EditSettings) -> None:
    prepared = PreparedDataset.open(root, dataset)
    if masks is None and prepared.manifest.render is None and settings.policy == "matched":
        raise DataError(
            f"dataset {dataset!r} has no masks", expected="part labels of a rendered one", fix="pass --masks FOLDER"
        )
    if masks is not None and not masks.is_dir():
        raise DataError(f"no folder {masks}", expected="one PNG a picture, not 0 in the face", fix="correct --masks")


def strength_of(wanted: Wanted, calibrated: Part, root: Path, settings: EditSettings) -> Matched:
    """The degree of one edit, on the calibration pictures that have room for it."""
    assert settings.calibration is not None
    exact, source = calibrated.judged[wanted.name], calibrated.judged["source"]
    signed = [d if wanted.change > 0 else -d for d in settings.degrees]
    changes = {d: calibrated.judged[wanted.name, d] for d in signed}
    rendered = load_manifest(root, settings.calibration.dataset).render is not None
    ids = [i for i in source if i in exact] if rendered else list(source)
    if not ids:
        raise BenchError(
            f"no calibration picture has room for {wanted.name}", fix="ask for a smaller change, or for more pictures"
        )
    judged = float(np.mean([exact[i] - source[i][wanted.attribute] for i in ids])) if rendered else wanted.change
    return match(wanted.change, judged, {d: np.array([changes[d][i] for i in ids]) for d in signed})


def _spread(root: Path, domain: str, settings: EditSettings, device: torch.device) -> dict[str, float]:
    """Attribute -> standard deviation of what the judge sees in all pictures of the calibration dataset."""
    import torch

    assert settings.calibration is not None
    read = judge(root, domain, device, settings.judge)[0]
    prepared = PreparedDataset.open(root, settings.calibration.dataset)
    with torch.no_grad():
        seen = [read(x.to(device)) for _, x in prepared.batches(prepared.manifest.ids[:SPREAD], SHARD)]
    return {name: float(torch.cat([one[name] for one in seen]).double().std(correction=0)) for name in seen[0]}


def _room(
    root: Path,
    dataset: str,
    parts: Mapping[str, Sequence[str]],
    edits: Sequence[Wanted],
    execution: Execution,
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Edit -> ids of a rendered dataset that have an exact target; and those whose target is their source again."""
    rendered = {name: ids for name, ids in parts.items() if load_manifest(root, name).render is not None}
    targets = render_targets(root, rendered, edits, execution)[dataset]
    room = {name: [i for i, sha in of.items() if sha] for name, of in targets.items()}
    return room, {name: [i for i, sha in of.items() if sha == ""] for name, of in targets.items()}


def _shown(edits: Sequence[Wanted], room: Mapping[str, Sequence[str]], count: int) -> dict[str, str]:
    """Image id -> edit to show of it: edits in turn, each on the next picture that has room for it.

    The same for every method, so that figures can set them side by side.
    """
    shown: dict[str, str] = {}
    for n in range(count):
        name = edits[n % len(edits)].name
        free = [i for i in room[name] if i not in shown]
        if free:
            shown[free[0]] = name
    return shown


def _sets(config: Config, settings: EditSettings, features: Features, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Distances of all edits from what they are compared with, as JSON (null for NaN)."""
    found = set_values(config.root, settings.sets, features, ids, config.seed)
    return [{k: None if v != v else v for k, v in asdict(value).items()} for value in found]


def nothing_asked(config: Config, store: RunStore, method: str, variant: str) -> Path:
    """What the pipeline's stage leaves where the profile asks for no edits."""
    return write_nothing(edits_dir(store, config.profile, label(method, variant)))


def told(record: Mapping[str, Any]) -> list[str]:
    """What a person must know of a record: strengths, failures, what was left out."""
    lines = [f"{name}: degree {Matched.from_json(one).told()}" for name, one in record["matched"].items()]
    for what, failures in (("", record["failures"]), ("calibration ", record["calibration_failures"])):
        lines += [f"{what}picture {i} failed: {why}" for i, why in list(failures.items())[:5]]
        lines += [f"{len(failures)} {what}pictures failed in all"] if len(failures) > 5 else []
    lines += [f"{name}: {len(ids)} pictures have no room" for name, ids in record["no_room"].items() if ids]
    lines += [f"{name}: in {len(ids)} pictures nothing of it is seen" for name, ids in record["unseen"].items() if ids]
    return lines + [f"metric {name} was left out: {why}" for name, why in record["missing"].items()]
