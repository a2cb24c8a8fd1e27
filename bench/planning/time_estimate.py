"""Seconds a picture, for planning: this machine's own timing records first, stated reference numbers otherwise.

Reference numbers stand in ``results/reference/cost.yaml`` with their source. They are estimates and are called so
wherever they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.files import check_model, load_yaml, read_json
from bench.store import provenance

FILE = Path("results") / "reference" / "cost.yaml"
REHEARSAL = Path("tmp") / "rehearsal"  # where `bench rehearse` works by default; its networks have their full size
STEPS = "steps"  # option that a slow method's seconds are proportional to


class Reference(BaseModel):
    """One source of numbers.

    Args:
        seconds: method id -> seconds a picture. options: method id -> the options it was measured with, where they
            matter.
        score: seconds a picture for all metrics of ``metrics`` together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Literal["cpu", "cuda"]
    machine: str
    source: str
    resolution: int = Field(ge=4)
    seconds: dict[str, float]
    options: dict[str, dict[str, Any]] = {}
    score: float | None = None
    metrics: list[str] = []


@dataclass(frozen=True)
class Seconds:
    """Seconds a picture and where they come from. ``measured``: on this machine, of this method."""

    value: float
    source: str
    measured: bool


def references(root: Path) -> list[Reference]:
    """The stated numbers; none without the file.

    Raises:
        DataError: the file breaks a rule.
    """
    path = Path(root) / FILE
    if not path.is_file():
        return []
    return [check_model(entry, path, Reference) for entry in load_yaml(path) or []]


def seconds_of(root: Path, method: str, options: Mapping[str, Any], resolution: int, device: str) -> Seconds | None:
    """Seconds a picture of a method, or None where nothing is known.

    Args:
        options: resolved; where a record was made with another number of steps, its seconds are scaled.
        device: type, such as ``cpu``.
    """
    own = [r for r in _records(root, method) if r["resolution"] == resolution and r["device"] == device]
    if own:
        last = max(own, key=lambda r: r["started"])
        best = next(b for b in last["batches"] if b["size"] == last["best_batch"])
        scaled = best["total_s"] * _ratio(options, last.get("options", {}))
        return Seconds(scaled, f"timed on this machine, {last['started'][:10]}", True)
    for reference in references(root):
        fits = reference.device == device and reference.resolution == resolution
        if fits and method in reference.seconds:
            ratio = _ratio(options, reference.options.get(method, {}))
            return Seconds(reference.seconds[method] * ratio, f"{reference.source}; {reference.machine}", False)
    return None


def score_seconds(root: Path, metrics: Sequence[str], resolution: int, device: str) -> Seconds | None:
    """Seconds a picture of scoring with these metrics, by the number of metrics, or None where nothing is known."""
    for reference in references(root):
        if reference.score is not None and (reference.resolution, reference.device) == (resolution, device):
            share = len(metrics) / max(1, len(reference.metrics))
            return Seconds(reference.score * share, f"{reference.source}; {reference.machine}", False)
    return None


def _records(root: Path, method: str) -> list[dict[str, Any]]:
    """Timing records of this machine for a method without variant, those of a rehearsal included."""
    machine = provenance.machine_id()
    found = []
    for base in (Path(root), Path(root) / REHEARSAL):
        for path in base.glob(f"results/timing/*/{method}/{machine}*/{method}-*.json"):
            record = read_json(path)
            if record["method"] == method and not record["variant"]:
                found.append(record)
    return found


def _ratio(wanted: Mapping[str, Any], had: Mapping[str, Any]) -> float:
    steps = had.get(STEPS)
    return float(wanted.get(STEPS, steps)) / float(steps) if steps else 1.0
