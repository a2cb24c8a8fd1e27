"""Test claims of a paper on measured values: what is expected, the measured value with its interval, and a verdict.

This is the engine. Where the values come from is said by a :class:`ValueSource`: rows of the tables
(bench/report/row_claims.py) or operating points of ``bench rate`` (bench/report/rate_claims.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench.analysis.statistics import CONFIDENCE, bootstrap_means, statistics
from bench.report.layout import Cell, Table
from bench.report.report_data import ReportData

HOLDS, FAILS, UNDECIDED, MISSING = "holds", "does not hold", "undecided", "not measured yet"
HEADS = ["Comparison", "Measure", "Measured", "95 % interval", "Expected", "n", "Verdict"]
SIGNS = {"difference": " − ", "ratio": " / ", "time_ratio": " / "}
AnyClaim = TypeVar("AnyClaim", bound="Claim")


class Claim(BaseModel):
    """One statement of a paper, tested on every pair of a right-hand side and a metric.

    Args:
        text: the statement.
        source: where the paper makes it.
        left: what the statement is about.
        right: what ``left`` is compared with, one or several.
        metrics: what is measured on both sides.
        kind: of the measured value: ``left - right``, or ``left / right`` of means or of times.
        expect: ``better`` or ``worse`` than the right-hand side; or the open interval (low, high), None for no limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    source: str
    left: Any
    right: list[Any] = Field(min_length=1)
    metrics: list[str] = []
    kind: Literal["difference", "ratio", "time_ratio"]
    expect: Literal["better", "worse"] | tuple[float | None, float | None]

    @field_validator("right", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return value if isinstance(value, list) else [value]

    @model_validator(mode="after")
    def _words_belong_to_differences(self) -> Claim:
        if isinstance(self.expect, str) and self.kind != "difference":
            raise ValueError(f"expect {self.expect!r} belongs to kind difference; give [low, high]")
        return self


class ClaimsFile(BaseModel, Generic[AnyClaim]):
    """A YAML file of claims, all of one paper."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paper: str
    claims: list[AnyClaim] = Field(min_length=1)


@dataclass(frozen=True)
class Measured:
    """A measured value, or why there is none.

    Args:
        value: difference or ratio; NaN where it is missing.
        low, high: its 95 % interval; NaN where a single image gives none.
        n: what the value is over, as text: ``240 images``.
        missing: what was not measured, with the command that measures it; "" for nothing.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: str = ""
    missing: str = ""


class ValueSource(Protocol):
    """Measured values behind claims, and the titles of what is compared."""

    def measured(self, claim: Any, right: Any, metric: str) -> Measured:
        """Return the value of one line: ``claim.left`` against ``right`` in ``metric``."""

    def title(self, side: Any) -> str:
        """Return the title of one side of a comparison."""

    def metric_title(self, claim: Any, metric: str) -> str:
        """Return the title of what is measured."""

    def higher_is_better(self, metric: str) -> bool:
        """Return the direction of a metric."""


@dataclass(frozen=True)
class Tested:
    """A claim with the verdict of each of its lines, and these lines as rows of a table."""

    claim: Claim
    verdicts: list[str]
    rows: list[list[Cell]]


def check_claims(values: ValueSource, claims: Sequence[Claim]) -> list[Tested]:
    """Measure every line of every claim, in the file's order, and say whether it holds."""
    tested = []
    for claim in claims:
        verdicts, rows = [], []
        for right, metric in pairs(claim):
            found = values.measured(claim, right, metric)
            expected = expected_range(values, claim, metric)
            verdicts.append(verdict(found, *expected))
            comparison = values.title(claim.left) + SIGNS[claim.kind] + values.title(right)
            texts = [comparison, values.metric_title(claim, metric), *value_texts(found, expected, verdicts[-1])]
            rows.append([Cell(text) for text in texts])
        tested.append(Tested(claim, verdicts, rows))
    return tested


def claims_table(tested: Sequence[Tested], title: str, caption: str, notes: list[str], label: str = "tab:1") -> Table:
    """Build the table of all lines: a group for each claim."""
    groups = [(f"{one.claim.text}. {one.claim.source}.", one.rows) for one in tested]
    return Table(title, caption, HEADS, groups, notes, label=label)


def pairs(claim: Claim) -> Iterator[tuple[Any, str]]:
    """Yield (right-hand side, metric) of each line; the metric of times is ""."""
    for metric in claim.metrics or [""]:
        for right in claim.right:
            yield right, metric


def expected_range(values: ValueSource, claim: Claim, metric: str) -> tuple[float, float]:
    """Return the open interval (low, high) in which the claim expects the measured value."""
    if isinstance(claim.expect, str):
        above = (claim.expect == "better") == values.higher_is_better(metric)
        return (0.0, math.inf) if above else (-math.inf, 0.0)
    low, high = claim.expect
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def verdict(found: Measured, low: float, high: float) -> str:
    """Return one of the four verdicts. A value without an interval (a single image) decides nothing."""
    if found.missing:
        return MISSING
    if low < found.low and found.high < high:
        return HOLDS
    if found.high < low or high < found.low:
        return FAILS
    return UNDECIDED


def verdict_counts(tested: Sequence[Tested]) -> str:
    """Count the verdicts of all lines: ``3 holds, 1 undecided``."""
    return _counted([word for one in tested for word in one.verdicts])


def in_short(verdicts: Sequence[str]) -> str:
    """Sum up the lines of one claim: a single word where all measured lines agree, otherwise the counts."""
    found = [word for word in verdicts if word != MISSING] or [MISSING]
    return f"**{found[0]}**" if len(set(found)) == 1 else f"mixed ({_counted(found)})"


def compare(report: ReportData, left: np.ndarray, right: np.ndarray, kind: str) -> Measured:
    """Compare the values of two sides on the same images.

    Args:
        left, right: (N,) values, N from 1 on; the same image at the same place.
        kind: ``difference`` image by image, or ``ratio`` of both means.
    Returns:
        The value with its 95 % interval: BCa for differences, percentiles for ratios.
    """
    resamples, seed, n = report.config.bootstrap, report.config.seed, f"{len(left):,} images"
    if kind == "difference":
        found = statistics([left - right], resamples, seed)[0]
        return Measured(found.mean, found.ci_low, found.ci_high, n)
    value = quotient(left.mean(), right.mean())
    if len(left) < 2:
        return Measured(value, n=n)
    drawn = bootstrap_means(np.stack([left, right]), resamples, seed)
    return Measured(value, *percentiles(quotient(drawn[:, 0], drawn[:, 1])), n)


def quotient(above: Any, below: Any) -> Any:
    """Divide without a warning: 0 / 0 is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(above, below)


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of resampled values, (N,)."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def value_texts(found: Measured, expected: tuple[float, float], word: str) -> list[str]:
    """Return the last five cells of a line: value, interval, expected range, n, verdict."""
    text = f"**{word}**" if word in (HOLDS, FAILS) else word
    if found.missing:
        return ["–", "–", bounds(*expected), "–", f"{text}: {found.missing}"]
    both = "–" if math.isnan(found.low) else f"[{_number(found.low)}, {_number(found.high)}]"
    return [_number(found.value), both, bounds(*expected), found.n, text]


def bounds(low: float, high: float) -> str:
    """Write an expected range: ``> 0``, ``< 0.75``, ``1 to 3``."""
    if math.isinf(low):
        return f"< {high:g}"
    return f"> {low:g}" if math.isinf(high) else f"{low:g} to {high:g}".replace("-", "−")


def _counted(verdicts: Sequence[str]) -> str:
    counts = {word: verdicts.count(word) for word in (HOLDS, FAILS, UNDECIDED, MISSING)}
    return ", ".join(f"{n} {word}" for word, n in counts.items() if n)


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.3g}".replace("-", "−")
