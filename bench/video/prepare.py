"""What films need before any method is asked: clips, the edit, exact edits of every frame, true motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.config.project import Config
from bench.config.sections import CalibrationSettings, EditSettings, VideoSettings
from bench.data.dataset import PreparedDataset, PreparedPaths
from bench.data.manifest import Manifest, load_manifest
from bench.data.prepare import counterfactuals, prepare
from bench.edits.plan import check_judge, settings_of, wanted_edits
from bench.edits.targets import Wanted, degree_of, render_targets
from bench.engine import Execution, Shard, Work, map_shards
from bench.errors import BenchError, UnknownName
from bench.store.paths import RunStore, write_json
from bench.store.video import targets_path
from bench.video.motion import true_motions


@dataclass(frozen=True)
class Asked:
    """What a profile asks for.

    Args:
        edit: settings of its edits with the films' direction, metrics and identity in place of their own.
        clips: name (``03``) -> ids of its frames. shown: names of clips kept for films. held: ids to calibrate on.
        rendered: dataset -> those of these images that can have an exact edit.
        predictor: weights id -> SHA-256 of the attribute predictor.
    """

    video: VideoSettings
    edit: EditSettings
    wanted: Wanted
    clips: dict[str, list[str]]
    shown: tuple[str, ...]
    held: list[str]
    rendered: dict[str, list[str]]
    predictor: dict[str, str]

    @property
    def calibration(self) -> CalibrationSettings:
        """Dataset and number of images that edit strengths are calibrated on."""
        assert self.edit.calibration is not None  # asked_of refuses others
        return self.edit.calibration

    @property
    def ids(self) -> list[str]:
        """Ids of the frames of all clips."""
        return [i for ids in self.clips.values() for i in ids]


def asked_of(config: Config) -> Asked:
    """The profile's ``video``, looked up and checked.

    Raises:
        BenchError: it has none, or no ``edits`` to match strengths with; clips that are not there; a picture would be
            measured and calibrated on; a judge that labelled the direction. UnknownName: dataset, direction.
    """
    video = config.settings.video
    if video is None:
        raise BenchError(
            f"profile {config.profile!r} asks for no clips", expected="a key `video`", fix="see docs/video.md"
        )
    edits = settings_of(config)
    if edits.calibration is None:
        raise BenchError(
            f"edits of profile {config.profile!r} are not matched in strength, as those of clips are",
            got=f"policy {edits.policy!r}",
            expected="pictures under `edits: calibration`",
            fix="see docs/editing.md",
        )
    manifest = load_manifest(config.root, video.dataset)
    other = load_manifest(config.root, edits.calibration.dataset)
    update = {"directions": {video.direction: [video.change]}, "metrics": video.metrics, "identity": video.identity}
    settings = edits.model_copy(update={**update, "sets": []})
    clips = clips_of(manifest)
    chosen = {name: ids[: video.frames] for name, ids in _picked(clips, video.clips).items()}
    held = list(other.select(edits.calibration.images))
    here, there = manifest.pixel_hashes(), other.pixel_hashes()
    if {here[i] for ids in chosen.values() for i in ids} & {there[i] for i in held}:
        raise BenchError(
            "frames would be measured and calibrated on",
            got=f"datasets {manifest.id!r} and {other.id!r}",
            fix="name another dataset under `edits: calibration`",
        )
    rendered = {manifest.id: [i for ids in chosen.values() for i in ids]}
    if other.render is not None:
        rendered[other.id] = held
    return Asked(
        video=video,
        edit=settings,
        wanted=wanted_edits(config.root, manifest.domain, settings)[0],
        clips=chosen,
        shown=tuple(_picked(chosen, video.shown)) if video.shown else (),
        held=held,
        rendered=rendered,
        predictor=check_judge(config.root, manifest.domain, settings),
    )


def clips_of(manifest: Manifest) -> dict[str, list[str]]:
    """Clip (``03``) -> ids of its frames in order.

    Raises:
        BenchError: the dataset has no clips.
    """
    if manifest.render is None or not manifest.render.clip:
        raise BenchError(
            f"dataset {manifest.id!r} has no clips", got=manifest.kind, expected="a rendered one with `clip`"
        )
    found: dict[str, list[str]] = {}
    for image_id in manifest.ids:
        found.setdefault(image_id.partition("_")[0], []).append(image_id)
    return found


def _picked(clips: dict[str, list[str]], numbers: Sequence[int]) -> dict[str, list[str]]:
    by_number = {int(name): name for name in clips}
    for number in numbers:
        if number not in by_number:
            raise UnknownName.of("clip", str(number), [str(n) for n in by_number])
    return {by_number[n]: clips[by_number[n]] for n in (numbers or by_number)}


def prepare_video(config: Config, store: RunStore, execution: Execution) -> tuple[Path, dict[str, Any]]:
    """Prepare clips and calibration pictures, render all exact edits, compute true motion, and record what they are
    and what is asked for: stages that edit clips depend on this record.

    Returns:
        targets.json; dataset -> {id: hash of the exact edit, see :func:`bench.edits.targets.render_targets`},
        ``visible`` -> {id: share of the frame that has a true motion}; empty where the profile asks for no clips.
    """
    path = targets_path(store, config.profile)
    found: dict[str, Any] = {}
    if config.settings.video is not None:
        asked = asked_of(config)
        dataset, calibration = asked.video.dataset, asked.calibration.dataset
        for name in (dataset, calibration):
            if not PreparedPaths.of(config.root, name).done.is_file():
                prepare(config, name, execution=execution)
        targets = render_targets(config.root, asked.rendered, [asked.wanted], execution)
        shards = [Shard(n, tuple(ids)) for n, ids in enumerate(asked.clips.values())]
        work = Work(_clip, {"root": config.root, "asked": asked})
        done = map_shards(work, shards, execution.quiet().serial_if(len(shards) < 2))
        found = {name: edits[asked.wanted.name] for name, edits in targets.items()}
        found["visible"] = {i: share for part in done for i, share in part.items()}
    sections = {"edits": config.settings.edits, "video": config.settings.video}
    settings = {name: asked.model_dump(mode="json") if asked else None for name, asked in sections.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"settings": settings, "targets": found})
    return path, found


def _clip(shard: Shard, root: Path, asked: Asked) -> dict[str, float]:
    dataset = PreparedDataset.open(root, asked.video.dataset)
    if shard.ids[0].partition("_")[0] in asked.shown:
        shown_targets(dataset, shard.ids, asked.wanted)
    motions = true_motions(dataset, shard.ids)
    return {i: round(float(np.isfinite(m[..., 0]).mean()), 3) for i, m in zip(shard.ids[1:], motions, strict=True)}


def shown_targets(dataset: PreparedDataset, ids: Sequence[str], wanted: Wanted) -> list[Path]:
    """Exact edits of all frames for the film; where there is no room for the change the factor stops at its bound."""
    return counterfactuals(dataset, ids, wanted.direction, degree_of(dataset, wanted))
