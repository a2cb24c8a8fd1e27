"""Protocol presets: which definition stands behind each column, as data; and what may be compared with what.

A preset never computes anything of its own: its columns name metrics, so all presets are read off one set of stored
pictures. Presets lie in ``bench/analysis/protocols/``; a project may add its own in ``protocols/``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.errors import BenchError, UnknownName
from bench.files import read_yaml

DISPERSIONS = {
    "sd": "standard deviation over images",
    "sem": "standard error of the mean",
    "variance": "variance over images",
}
CERTAINTIES = {
    "stated": "as the source states it",
    "inferred": "inferred, not confirmed by the authors",
    "own": "defined by this suite",
}


class Column(BaseModel):
    """One column.

    Args:
        name: what a paper prints. metric: what stands behind it; ``differs``: how the source's own differs from it.
        role: its place in the main table, which has the first column of each role that was scored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    metric: str
    note: str = ""
    differs: str = ""
    role: str = ""


class Protocol(BaseModel):
    """A preset.

    Args:
        datasets: ids of data on which values stand beside the source's; empty: on any.
        dispersion: what ``+-`` is in its tables. also: other names of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    title: str
    certainty: Literal["stated", "inferred", "own"]
    source: str
    also: list[str] = []
    datasets: list[str] = []
    dispersion: Literal["sd", "sem", "variance"] = "sd"
    columns: list[Column] = Field(min_length=1)
    notes: list[str] = []

    @property
    def metrics(self) -> list[str]:
        """Metric ids of all columns, each once, in the protocol's order."""
        return list(dict.fromkeys(column.metric for column in self.columns))

    def main(self, scored: Sequence[str], metric_ids: Sequence[str] = ()) -> list[str]:
        """Metrics of the main table: of each role the first that is scored, or else the first of ``metric_ids``."""
        by_role: dict[str, str] = {}
        for metrics in (scored, metric_ids):
            for column in self.columns:
                here = [m for m in metrics if m.partition(".")[0] == column.metric]
                if column.role and here:
                    by_role.setdefault(column.role, here[0])
        roles = dict.fromkeys(column.role for column in self.columns)
        return [by_role[role] for role in roles if role in by_role]

    def dispersion_of(self, sd: float, n: int) -> float:
        """Compute the number behind ``+-``: a standard deviation over ``n`` images, its standard error, or the variance."""
        return {"sd": sd, "sem": sd / math.sqrt(n) if n else math.nan, "variance": sd * sd}[self.dispersion]


def protocols(root: Path | None = None) -> dict[str, Protocol]:
    """id -> preset, the suite's and the project's.

    Raises:
        BenchError: a file is damaged, or a name is used twice.
    """
    folders = [Path(__file__).parent / "protocols"] + ([Path(root) / "protocols"] if root else [])
    by_name: dict[str, Protocol] = {}
    for path in (p for folder in folders for p in sorted(folder.glob("*.yaml"))):
        preset = read_yaml(path, Protocol, "protocol", raises=BenchError)
        taken = {name for p in by_name.values() for name in (p.id, *p.also)}
        if preset.id != path.stem or taken & {preset.id, *preset.also}:
            raise BenchError(
                f"protocol {path} has the wrong name",
                got=preset.id,
                expected=f"{path.stem!r}, used nowhere else",
                fix="correct `id` or `also`",
            )
        by_name[preset.id] = preset
    return by_name


def find_protocol(root: Path | None, name: str) -> Protocol | None:
    """The preset of that name, or None: a profile may have a list of metrics of its own."""
    return next((p for p in protocols(root).values() if name in (p.id, *p.also)), None)


def protocol(root: Path | None, name: str) -> Protocol:
    """The preset of that name; UnknownName with the nearest ones."""
    loaded = find_protocol(root, name)
    if loaded is None:
        raise UnknownName.of("protocol", name, [n for p in protocols(root).values() for n in (p.id, *p.also)])
    return loaded


@dataclass(frozen=True)
class Frame:
    """What a number was measured in; two numbers may be compared when all of it is equal."""

    protocol: str
    domain: str
    dataset: str
    manifest_sha256: str


def why_not(a: Frame, b: Frame) -> str | None:
    """None, or the first reason why numbers of two frames cannot be compared."""
    reasons: dict[str, Any] = {
        "domain": "are of different domains",
        "dataset": "are of different datasets",
        "manifest_sha256": "are of different states of the dataset's manifest",
        "protocol": "follow different protocols",
    }
    for field, words in reasons.items():
        mine, other = getattr(a, field), getattr(b, field)
        if mine != other:
            return f"they {words}: {mine[:16]} and {other[:16]}"
    return None


def check_comparable(a: Frame, b: Frame) -> None:
    """Raise BenchError, with the reason, for numbers that must not be compared."""
    if reason := why_not(a, b):
        raise BenchError(
            "these results cannot be compared",
            got=reason,
            expected="one protocol, one manifest, one domain",
            fix="score both sides with the same preset on the same dataset",
        )
