"""The key ``edits`` of a profile: which edits are scored, on how many pictures, and how strong they are."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


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
