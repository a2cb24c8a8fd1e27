"""Films of one method or variant measured: strength matched, every clip inverted and edited frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench.config.project import Config
from bench.device import resolve_device
from bench.edits.editor import EditJob, Editor, Part, editor_of, forget, isolated, joined
from bench.edits.plan import usable_metrics
from bench.edits.score_method import calibrate, strength_of
from bench.edits.strength import Matched
from bench.engine import SERIAL, Execution, Shard, Work, check_failures, map_on_device
from bench.files import read_rgb
from bench.inversion.plan import RunPlan
from bench.names import label
from bench.scoring.pair_metrics import score_batch
from bench.store.paths import RunStore
from bench.store.provenance import ids_sha256, versions
from bench.store.video import KINDS, video_dir, write_films, write_nothing
from bench.video.measures import difference, drifts, flickers
from bench.video.motion import estimated_motions, true_motions
from bench.video.prepare import Asked, asked_of, shown_targets

BATCH = 8  # frames computed together, whatever the engine: rows depend on it by rounding alone (docs/numerics.md)
GREY = 225


@dataclass(frozen=True, eq=False)
class VideoJob:
    """What a worker needs. Args: edit: method, edit and metrics. degree: matched; None if the mark is not reached."""

    asked: Asked
    edit: EditJob
    degree: float | None


def score_video(
    config: Config,
    store: RunStore,
    plan: RunPlan,
    execution: Execution = SERIAL,
) -> tuple[list[Path], dict[str, Any]]:
    """Match the strength, invert and edit all frames, measure, write ``results/video/<scope>/<method[.variant]>``.

    Args:
        plan: the method's run on the clips' dataset, whose options are used.
        execution: its progress is told in finished frames.
    Returns:
        Files written; the record (video.json).
    Raises:
        BenchError: settings that cannot be, every frame failed; what was there before stays. DataError: data.
    """
    asked, missing = _usable(config.root, asked_of(config))
    where = resolve_device(plan.device)
    calibration = asked.calibration
    job = EditJob(plan, calibration.dataset, (asked.wanted,), asked.edit)
    try:
        matched, calibration_failures = _calibrated(job, asked, execution.quiet())
        films = VideoJob(asked, EditJob(plan, asked.video.dataset, (asked.wanted,), asked.edit), matched.degree)
        shards = [Shard(n, tuple(ids)) for n, ids in enumerate(asked.clips.values())]
        done = joined(map_on_device(where, Work(clip_shard, {"job": films}), shards, execution))
    finally:
        forget()
    check_failures(done.failures, asked.ids, plan.method, f"frames of {plan.dataset!r}")
    head = {"dataset": plan.dataset, "method": plan.method, "variant": plan.variant}
    targets = {row["image_id"] for row in done.rows if row["task"] == "edit" and row["metric"] in asked.video.metrics}
    record = {
        **head,
        "config_hash": plan.config_hash,
        "settings": asked.video.model_dump(mode="json"),
        "ids": asked.clips,
        "ids_sha256": ids_sha256(asked.ids),
        "calibration": calibration.model_dump(mode="json"),
        "calibration_ids_sha256": ids_sha256(asked.held),
        "matched": matched.to_json(),
        "no_room": [i for i in asked.ids if i not in targets] if matched.degree is not None else [],
        "failures": dict(sorted(done.failures.items())),
        "calibration_failures": dict(sorted(calibration_failures.items())),
        "missing": missing,
        "shown": list(asked.shown),
        "judge": asked.predictor,
        "weights": plan.weights,
        "versions": versions(),
    }
    name = label(plan.method, plan.variant)
    folder = video_dir(store, config.scope_of(config.settings.datasets[0], name), name)
    rows = [{**head, **row} for row in done.rows]
    return write_films(folder, rows, record, done.pictures), record


def _usable(root: Path, asked: Asked) -> tuple[Asked, dict[str, str]]:
    """What can be measured here; and measure -> the command that brings what another lacks."""
    edit, missing = usable_metrics(root, asked.edit)
    if find_spec("cv2") is None:
        missing["flicker_estimated"] = "pip install 'hfgi-bench[video]'"
    return replace(asked, edit=edit), missing


def _calibrated(job: EditJob, asked: Asked, execution: Execution) -> tuple[Matched, dict[str, str]]:
    """The strength of the edit, and id -> reason of calibration images that failed."""
    calibrated = calibrate(job, asked.held, execution)
    exact = asked.calibration.dataset in asked.rendered
    return strength_of(asked.wanted, calibrated, asked.edit.degrees, exact), calibrated.failures


def clip_shard(shard: Shard, job: VideoJob) -> Part:
    """One clip: its frames inverted and edited, then measured. ``pictures`` are strips of a clip that is shown."""
    editor = editor_of(job.edit)
    made = Part()
    for start in range(0, len(shard.ids), BATCH):
        made.join(isolated(shard.ids[start : start + BATCH], partial(_rendered, editor, job)))
    clip = _Clip(editor, job, shard.ids, made)
    return Part(clip.measure(), made.failures, clip.strips())


def _rendered(editor: Editor, job: VideoJob, ids: Sequence[str]) -> Part:
    inversion = editor.embed(ids, editor.dataset.stack(ids))
    pictures = {"inversion": editor.render(inversion.w_plus, inversion)}
    if job.degree is not None:
        pictures["edit"] = editor.edit(inversion, job.asked.wanted, job.degree)
    return Part(pictures={(kind, i): p for kind, found in pictures.items() for i, p in zip(ids, found, strict=True)})


class _Clip:
    """Measures of one clip. ``of``: kind -> id -> (R, R, 3) uint8."""

    def __init__(self, editor: Editor, job: VideoJob, ids: Sequence[str], made: Part):
        self.editor, self.job, self.ids = editor, job, list(ids)
        self.of: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in KINDS}
        self.of["source"] = dict(zip(ids, editor.dataset.stack(ids), strict=True))
        for (kind, i), picture in made.pictures.items():
            self.of[kind][i] = picture
        targets = editor.targets(ids, job.asked.wanted)
        self.of["target"] = dict(targets.images) if targets else {}
        self.name = self.ids[0].partition("_")[0]
        self.rows: list[dict[str, Any]] = []
        sources = np.stack(list(self.of["source"].values()))
        self.motions = {"flicker": true_motions(editor.dataset, ids)}
        if find_spec("cv2") is not None:
            self.motions["flicker_estimated"] = estimated_motions(sources)

    def measure(self) -> list[dict[str, Any]]:
        """All rows, without dataset, method and variant."""
        for task, against in (("inversion", "source"), ("edit", "target")):
            for name in self.editor.settings.metrics:
                self._add(task, name, self._scores(name, task, against))
        identity = self.editor.settings.identity
        if identity:
            for task in ("inversion", "edit"):
                self._add(task, "identity", self._scores(identity, task, "source"))
            for task in ("source", "inversion", "edit"):
                self._add(task, "drift", self._drift(identity, task))
        self._flickers()
        return self.rows

    def _add(self, task: str, metric: str, values: Mapping[str, float]) -> None:
        head = {"clip": self.name, "task": task, "metric": metric}
        self.rows += [{**head, "image_id": i, "value": float(v)} for i, v in values.items()]

    def _scores(self, name: str, kind: str, against: str) -> dict[str, float]:
        """Of the frames that have both pictures."""
        ids = [i for i in self.ids if i in self.of[kind] and i in self.of[against]]
        if not ids:
            return {}
        x = np.stack([self.of[against][i] for i in ids])
        x_hat = np.stack([self.of[kind][i] for i in ids])
        return dict(zip(ids, score_batch(self.editor.metrics[name], name, x, x_hat), strict=True))

    def _drift(self, name: str, kind: str) -> dict[str, float]:
        """Of all frames but the first, where that is there."""
        ids = [i for i in self.ids[1:] if i in self.of[kind]]
        first = self.of[kind].get(self.ids[0])
        if first is None or not ids:
            return {}
        frames = np.stack([self.of[kind][i] for i in ids])
        return drifts(ids, score_batch(self.editor.metrics[name], name, np.stack([first] * len(ids)), frames))

    def _flickers(self) -> None:
        black = {i: np.zeros_like(frame) for i, frame in self.of["source"].items()}
        errors = {
            "source": self._differences(self.of["source"], black),
            "inversion": self._differences(self.of["inversion"], self.of["source"]),
            "edit": self._differences(self.of["edit"], self.of["inversion"]),
            "target": self._differences(self.of["target"], self.of["source"]),
        }
        for metric, motions in self.motions.items():
            for task, found in errors.items():
                self._add(task, metric, flickers(self.ids, found, motions))
        missed = self._differences(self.of["edit"], self.of["target"])
        self._add("edit", "flicker_target", flickers(self.ids, missed, self.motions["flicker"]))

    def _differences(self, kind: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {i: difference(kind[i], other[i]) for i in self.ids if i in kind and i in other}

    def strips(self) -> dict[tuple[str, str], np.ndarray]:
        """(clip, kind) -> frames side by side, grey where one failed; nothing of a clip that is not shown."""
        if self.name not in self.job.asked.shown:
            return {}
        paths = shown_targets(self.editor.dataset, self.ids, self.job.asked.wanted)
        kinds = {**self.of, "target": {i: read_rgb(path) for i, path in zip(self.ids, paths, strict=True)}}
        absent = np.full_like(self.of["source"][self.ids[0]], GREY)
        strips = {kind: [found.get(i, absent) for i in self.ids] for kind, found in kinds.items() if found}
        return {(self.name, kind): np.concatenate(frames, 1) for kind, frames in strips.items()}


def nothing_asked(config: Config, store: RunStore, method: str, variant: str) -> Path:
    """What the pipeline's stage leaves where the profile asks for no clips."""
    return write_nothing(video_dir(store, config.profile, label(method, variant)))


def told(record: Mapping[str, Any]) -> list[str]:
    """What a person must know of a record: strength, failures, what was left out."""
    lines = [f"degree {Matched.from_json(record['matched']).told()}"]
    for what, failures in (("frame", record["failures"]), ("calibration picture", record["calibration_failures"])):
        lines += [f"{what} {i} failed: {why}" for i, why in list(failures.items())[:5]]
        if len(failures) > 5:
            lines.append(f"{len(failures)} {what}s failed in all")
    if record["no_room"]:
        lines.append(f"{len(record['no_room'])} frames have no exact edit")
    return lines + [f"measure {name} was left out: {why}" for name, why in record["missing"].items()]
