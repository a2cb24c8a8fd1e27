"""The key ``video`` of a profile: which clips are measured, and the one edit that is made of them."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field, field_validator


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
