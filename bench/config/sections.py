"""Sections of a profile and of params.yaml: their keys, defaults and bounds (pydantic models)."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeSettings(_Section):
    """``bench time``: pictures used, the seconds one method may take, and the method that ratios are taken to."""

    images: int = Field(default=16, ge=1)
    budget_s: float = Field(default=25.0, gt=0)
    reference: str = ""


class RateSettings(_Section):
    """``bench rate``.

    Args:
        images: the first so many of a dataset. metrics: of distortion, and of edits against their exact targets.
        directions: those of the profile's ``edits`` that are made at every point; null for all, [] for none.
        codes: steps of quantisation where codes are all a method keeps. memory: of what it keeps beside them, while the
            codes have the step ``beside``. pools: squares that maps are pooled over, at the smallest step of memory.
            Units: see docs/rate.md.
        of_ablations: the steps of memory for named variants, which are not pooled; [] for the same as methods.
        qualities: of the picture codecs.
    """

    images: int = Field(default=24, ge=1)
    metrics: list[str] = ["mae"]
    directions: list[str] | None = None
    codes: list[float] = [0.25, 0.5, 1.0]
    memory: list[float] = [0.5, 1.0, 2.0]
    pools: list[Annotated[int, Field(ge=2)]] = []
    beside: float = 0.5
    of_ablations: list[float] = []
    qualities: list[Annotated[int, Field(ge=1, le=100)]] = [10, 50, 90]

    @field_validator("codes", "memory", "beside", "of_ablations")
    @classmethod
    def _above_zero(cls, steps: Any) -> Any:
        for step in steps if isinstance(steps, list) else [steps]:
            if not 0 < step < math.inf:
                raise ValueError(f"step {step} is not above 0")
        return steps


class StepSettings(_Section):
    """Runs of methods that keep their steps: the first ``limit`` images are scored after each, with ``metrics``."""

    limit: int = Field(default=96, ge=1)
    metrics: list[str] = Field(min_length=1)


class AblationSettings(_Section):
    """Of the variants params.yaml lists: which of them this profile has (null: all), on how many of the first ids.

    ``metrics``: what they are scored with, where that is not all that methods are.
    """

    names: list[str] | None = None
    limit: int | None = Field(default=None, ge=1)
    metrics: list[str] = []


class Profile(_Section):
    """A profile file. ``limits``: method id -> first so many ids; ``options``: method id -> overrides.

    ``methods``: ids of its table, where they are not those of params.yaml.
    """

    protocol: str
    methods: list[str] = []
    datasets: list[str] = Field(min_length=1)
    metrics: list[str] = Field(min_length=1)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    engine: Literal["serial", "processes"] = "serial"
    workers: int | None = Field(None, ge=1)
    batch_size: int = Field(16, ge=1)
    shard_size: int = Field(32, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    limits: dict[str, int] = {}
    options: dict[str, dict[str, Any]] = {}
    ablations: AblationSettings = AblationSettings()
    time: TimeSettings = TimeSettings()
    rate: RateSettings | None = None
    steps: StepSettings | None = None
    edits: EditSettings | None = None
    video: VideoSettings | None = None
    bootstrap: int = Field(2000, ge=1)

    @field_validator("limits")
    @classmethod
    def _positive(cls, limits: dict[str, int]) -> dict[str, int]:
        for method, limit in limits.items():
            if limit < 1:
                raise ValueError(f"limit of {method} is {limit}, expected 1 or more")
        return limits


class Ablation(_Section):
    """A named variant of a method: options that differ from its defaults. ``group``: what they are about, in tables."""

    method: str
    group: str = ""
    title: str = ""
    options: dict[str, Any]


class GateSettings(_Section):
    """``bench gate``: level of its one-sided tests, and metric -> how much worse a mean may be.

    A margin is a number in the metric's unit, or a share of the baseline's mean as in "0.5%"; ``default`` is for
    metrics that have none of their own.
    """

    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    margins: dict[str, float | str] = {}


class Params(_Section):
    """params.yaml. ``ablations``: name of a variant in ablations.yaml -> the method it belongs to.

    ``edits``, ``edit_ablations``: those of them whose edits are scored. ``video``: methods that are measured on clips.
    ``rate``, ``rate_ablations``, ``rate_codecs``: methods, variants and picture codecs whose rate is measured.
    """

    profile: str
    seed: int = 0
    methods: list[str] = []
    ablations: dict[str, str] = {}
    edits: list[str] = []
    edit_ablations: dict[str, str] = {}
    video: list[str] = []
    rate: list[str] = []
    rate_ablations: dict[str, str] = {}
    rate_codecs: list[str] = []
    gate: GateSettings = GateSettings()


class CalibrationSettings(BaseModel):
    """Pictures on which strengths are matched: the first so many of a dataset that is never scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    images: int = Field(default=24, ge=2)


class EditSettings(BaseModel):
    """``bench score-edits``.

    Args:
        policy: ``matched``: every method is brought to the same change of an attribute. ``fixed``: every method is
            moved by the same degree; that needs no judge, no calibration, no degrees and no metrics against targets,
            and says nothing about attributes.
        methods: ids whose edits are scored, where they are not those that params.yaml lists.
        images: the first so many of the dataset are edited.
        directions: name of a direction -> matched: changes of its attribute to reach, each a signed number in the
            attribute's own unit (years, radians, or the 0..1 of a factor); fixed: degrees.
        degrees: along a direction, ascending, above 0; curves are drawn through them, the last is the farthest that a
            strength may be matched at.
        judge: of attributes; it must not be the one that labelled the directions. "" takes the domain's first.
        metrics: ids of pair metrics, edit against exact target. identity: that of the source and the edit, "" for none.
        sets: ids of set metrics, all edits against all targets.
        round_trips: pictures that are inverted again, and how often (cycles) in a row.
        shown: pictures kept for figures; frames: of their sweeps.
        reference: method that paired differences are taken to, "" for none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: Literal["matched", "fixed"] = "matched"
    methods: list[str] = []
    images: int = Field(default=24, ge=1)
    directions: dict[str, list[float]] = Field(min_length=1)
    degrees: list[float] = Field(default=[1.5, 3.0, 4.5], min_length=1)
    judge: str = ""
    calibration: CalibrationSettings | None = None
    metrics: list[str] = ["mae", "ssim_gauss"]
    identity: str = ""
    sets: list[str] = []
    round_trips: int = Field(default=8, ge=0)
    cycles: int = Field(default=3, ge=1)
    shown: int = Field(default=10, ge=0)
    frames: int = Field(default=13, ge=2)
    reference: str = ""

    @field_validator("degrees")
    @classmethod
    def _ascending(cls, degrees: list[float]) -> list[float]:
        for before, degree in zip([0.0, *degrees], degrees, strict=False):
            if not before < degree < math.inf:
                raise ValueError(f"degree {degree} is not a number above {before:g}")
        return degrees

    @field_validator("directions")
    @classmethod
    def _changes(cls, directions: dict[str, list[float]]) -> dict[str, list[float]]:
        for name, changes in directions.items():
            for change in changes:
                if not math.isfinite(change) or not change:
                    raise ValueError(f"change {change} of {name} is not a number other than 0")
        return directions

    @model_validator(mode="after")
    def _calibrated(self) -> EditSettings:
        if self.policy == "matched" and self.calibration is None:
            raise ValueError("strengths are matched on pictures: name some under calibration, or take policy: fixed")
        idle = {"calibration", "judge", "degrees", "metrics"} & self.model_fields_set
        if self.policy == "fixed" and idle:
            raise ValueError(f"under policy fixed there is no use for: {', '.join(sorted(idle))}")
        return self


class VideoSettings(BaseModel):
    """``bench score-video``.

    Args:
        dataset: a rendered one with clips (ids ``03_0017``). clips: their numbers; [] for all.
        frames: the first so many of each clip, at least two.
        direction, change: the edit, brought to this change of its attribute (in the attribute's own unit) on the
            calibration pictures of ``edits``, as scored edits are.
        metrics: ids of pair metrics, frame by frame. identity: that of identity kept and its drift, "" for none.
        shown: clips whose frames are kept for the film; the first also for the GIF. fps: of films.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str = "annyfaces_video"
    clips: list[int] = []
    frames: int = Field(default=16, ge=2)
    direction: str = "smile"
    change: float = 0.3
    metrics: list[str] = ["mae"]
    identity: str = ""
    shown: list[int] = []
    fps: float = Field(default=12.0, gt=0, le=240)

    @field_validator("clips", "shown")
    @classmethod
    def _numbers(cls, clips: list[int]) -> list[int]:
        if len(set(clips)) < len(clips) or any(clip < 0 for clip in clips):
            raise ValueError(f"clips {clips} are not different numbers from 0 on")
        return clips

    @field_validator("change")
    @classmethod
    def _moves(cls, change: float) -> float:
        if not math.isfinite(change) or not change:
            raise ValueError(f"change {change} is not a number other than 0")
        return change
