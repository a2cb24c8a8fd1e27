"""reports/claims.md: each claim of results/reference/claims.yaml with what was measured, its interval and a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench.analysis.score_table import wide
from bench.analysis.statistics import CONFIDENCE, bootstrap_means, statistics
from bench.analysis.summary import MetricInfo
from bench.files import atomic_write, read_yaml
from bench.names import parse_label
from bench.report.edited import PREFIX, edit_info, edit_pairs, edits_of, split_measure
from bench.report.layout import Cell, Table, to_markdown
from bench.report.material import Material
from bench.seeds import seed_for

HOLDS, FAILS, UNDECIDED, MISSING = "holds", "does not hold", "undecided", "not measured yet"
CLAIMS_FILE = "claims.yaml"


class Claim(BaseModel):
    """One statement of a paper; see the head of claims.yaml. ``right`` and ``metrics`` may name several."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    source: str
    left: str
    right: list[str] = Field(min_length=1)
    metrics: list[str] = []
    kind: Literal["difference", "ratio", "time_ratio"]
    expect: Literal["better", "worse"] | tuple[float | None, float | None]

    @field_validator("right", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _sensible(self) -> Claim:
        if (self.kind == "time_ratio") == bool(self.metrics):
            raise ValueError("metrics belong to every kind but time_ratio")
        if isinstance(self.expect, str) and self.kind != "difference":
            raise ValueError(f"expect {self.expect!r} belongs to kind difference; give [low, high]")
        return self


class Claims(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paper: str
    claims: list[Claim] = Field(min_length=1)


@dataclass(frozen=True)
class Measured:
    """A value with its 95 % interval (NaN where there is none) over ``n``; or what is ``missing``, with its remedy."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: str = ""
    missing: str = ""


def read_claims(path: Path) -> Claims:
    """Raises DataError: missing, or breaks a rule; the message names the key."""
    return read_yaml(path, Claims, fix="restore the file from the repository")


def write_claims(material: Material, path: Path, reference: Path) -> Path:
    """Write the page for every dataset of the report; ``reference`` is the folder of claims.yaml."""
    claims = read_claims(reference / CLAIMS_FILE)
    tables = [claims_table(material, dataset, claims) for dataset in material.datasets]
    atomic_write(path, "# Claims, measured\n\n" + "\n".join(to_markdown(table) for table in tables))
    return path


def claims_table(material: Material, dataset: str, claims: Claims) -> Table:
    """A row per claim, right-hand side and metric, in the file's order."""
    groups: list[tuple[str, list[list[Cell]]]] = []
    counts: dict[str, int] = {}
    for claim in claims.claims:
        rows = []
        for right, metric in pairs(claim):
            found = measure(material, dataset, claim, right, metric)
            low, high = expected_range(material, claim, metric)
            word = verdict(found, low, high)
            counts[word] = counts.get(word, 0) + 1
            rows.append([Cell(text) for text in row(material, claim, right, metric, found, (low, high), word)])
        groups.append((f"{claim.text}. {claim.source}.", rows))
    total = ", ".join(f"{counts[word]} {word}" for word in (HOLDS, FAILS, UNDECIDED, MISSING) if word in counts)
    caption = (
        f"{claims.paper}. Dataset `{dataset}`, protocol `{material.protocol}`: other data and another generator than "
        f"the paper's, so what is tested is the statement, not its number. Verdicts: {total}. A claim holds when the "
        f"whole {CONFIDENCE:.0%} interval of the measured value lies inside what is expected, does not hold when the "
        "whole interval lies outside, and is undecided otherwise."
    )
    notes = [
        "Differences are left minus right, image by image, on the images both have; their intervals are bootstrap "
        f"intervals of the mean (BCa, {material.config.bootstrap:,} resamples of these images). Intervals of ratios are "
        "percentiles of the ratio of both means, drawn together in as many resamples.",
        f"Time ratios: median seconds per image at batch 1{_timed_on(material)}; intervals are percentiles over resampled "
        "repetitions, so they speak for this machine alone; of three repetitions they are about the range.",
    ]
    heads = ["Comparison", "Measure", "Measured", "95 % interval", "Expected", "n", "Verdict"]
    return Table(f"{material.manifest(dataset).title or dataset}", caption, heads, groups, notes)


def pairs(claim: Claim) -> Iterator[tuple[str, str]]:
    """(right, metric) of each line; the metric of times is ""."""
    for metric in claim.metrics or [""]:
        for right in claim.right:
            yield right, metric


def expected_range(material: Material, claim: Claim, metric: str) -> tuple[float, float]:
    """What the claim says of the measured value: open interval (low, high)."""
    if isinstance(claim.expect, str):
        above = (claim.expect == "better") == info_of(material, metric).higher_is_better
        return (0.0, math.inf) if above else (-math.inf, 0.0)
    low, high = claim.expect
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def verdict(found: Measured, low: float, high: float) -> str:
    """One of the four words. No interval (a single image) decides nothing."""
    if found.missing:
        return MISSING
    if low < found.low and found.high < high:
        return HOLDS
    if found.high < low or high < found.low:
        return FAILS
    return UNDECIDED


def measure(material: Material, dataset: str, claim: Claim, right: str, metric: str) -> Measured:
    """The value behind one line."""
    if claim.kind == "time_ratio":
        return time_ratio(material, dataset, claim.left, right)
    table = per_picture(material, dataset, metric, [claim.left, right])
    lacking = [name for name in (claim.left, right) if name not in table]
    if lacking:
        return Measured(missing="; ".join(remedy(material, dataset, name, metric) for name in lacking))
    both = table[[claim.left, right]].dropna().to_numpy()
    if not len(both):
        return Measured(missing=f"`{claim.left}` and `{right}` share no image: run both on the same ids")
    return compared(material, both[:, 0], both[:, 1], claim.kind)


def compared(material: Material, left: np.ndarray, right: np.ndarray, kind: str) -> Measured:
    """``difference`` of two measures of the same pictures, image by image, or the ``ratio`` of their means.

    Args:
        left, right: (N,), N from 1 on.
    """
    resamples, seed, n = material.config.bootstrap, material.config.seed, f"{len(left):,} images"
    if kind == "difference":
        found = statistics([left - right], resamples, seed)[0]
        return Measured(found.mean, found.ci_low, found.ci_high, n)
    value = _ratio(left.mean(), right.mean())
    if len(left) < 2:
        return Measured(value, n=n)
    drawn = bootstrap_means(np.stack([left, right]), resamples, seed)
    return Measured(value, *_interval(_ratio(drawn[:, 0], drawn[:, 1])), n)


def per_picture(material: Material, dataset: str, metric: str, labels: Sequence[str]) -> pd.DataFrame:
    """Image ids x labels of a metric, or of ``edit:[<direction>:]<measure>``; labels without scores are absent."""
    if not metric.startswith(PREFIX):
        return wide(material.scores, dataset, metric)
    direction, measure_name = split_measure(metric)
    edited = edits_of(material, dataset, direction)
    return edit_pairs(edited)(measure_name, [label for label in labels if label in edited])


def info_of(material: Material, metric: str) -> MetricInfo:
    """Title and direction of a metric of inversions or edits."""
    if not metric.startswith(PREFIX):
        return material.metric(metric)
    return edit_info(material, split_measure(metric)[1])


def time_ratio(material: Material, dataset: str, left: str, right: str) -> Measured:
    """Median seconds per image of left over right, both at batch 1 on the machine of the report's times."""
    records = [material.timings.get(f"{name}-{dataset}") for name in (left, right)]
    lacking = [name for name, record in zip((left, right), records, strict=True) if record is None]
    if lacking:
        return Measured(missing="; ".join(time_remedy(material, name) for name in lacking))
    samples = [_seconds(record) for record in records if record is not None]
    medians = [float(np.median(s)) for s in samples]
    rng = np.random.default_rng(seed_for(material.config.seed, "time_ratio", left, right))
    drawn = [np.median(rng.choice(s, (material.config.bootstrap, len(s))), axis=1) for s in samples]
    n = " and ".join(f"{len(s)}×" for s in samples)
    if min(len(s) for s in samples) < 2:
        return Measured(_ratio(*medians), n=n)
    return Measured(_ratio(*medians), *_interval(_ratio(drawn[0], drawn[1])), n)


def remedy(material: Material, dataset: str, name: str, metric: str) -> str:
    """What is missing, and the command that makes it."""
    method, variant = parse_label(name)
    if metric.startswith(PREFIX) and name in material.rows(dataset):
        return f"edits of `{name}`: `bench score-edits {f'--ablation {variant}' if variant else f'--method {method}'}`"
    if name in set(material.scores.rows["run_id"].str.partition("-")[0]):
        return f"`{metric}` of `{name}`: `bench score --method {method} --metric {metric}`"
    if name not in material.config.labels:
        entry = f"`{variant}: {method}` to `ablations`" if variant else f"`{method}` to `methods`"
        return f"`{name}`: add {entry} in params.yaml, then `bench repro`"
    what = f"--ablation {variant}" if variant else f"--method {method}"
    return f"`{name}`: `bench run {what} --dataset {dataset}`, then `bench score --method {method}`"


def time_remedy(material: Material, name: str) -> str:
    """The command that times a row."""
    method, variant = parse_label(name)
    return f"time of `{name}`: `bench time --method {method}{f' --ablation {variant}' * bool(variant)}`"


def row(
    material: Material,
    claim: Claim,
    right: str,
    metric: str,
    found: Measured,
    expected: tuple[float, float],
    word: str,
) -> list[str]:
    """The texts of a line."""
    left_title, right_title = (material.method(name).title for name in (claim.left, right))
    sign = {"difference": "−", "ratio": "/", "time_ratio": "/"}[claim.kind]
    measure_name = "time" if claim.kind == "time_ratio" else info_of(material, metric).title
    if metric.startswith(PREFIX):
        measure_name += f", edits {split_measure(metric)[0]}".rstrip()
    head = [f"{left_title} {sign} {right_title}", measure_name]
    return [*head, *told(found, expected, word)]


def told(found: Measured, expected: tuple[float, float], word: str) -> list[str]:
    """Value, interval, what is expected, n and verdict, as a line ends."""
    text = f"**{word}**" if word in (HOLDS, FAILS) else word
    if found.missing:
        return ["–", "–", bounds(*expected), "–", f"{text}: {found.missing}"]
    both = "–" if math.isnan(found.low) else f"[{_number(found.low)}, {_number(found.high)}]"
    return [_number(found.value), both, bounds(*expected), found.n, text]


def bounds(low: float, high: float) -> str:
    """``> 0``, ``< 0.75``, ``1 to 3``."""
    if math.isinf(low):
        return f"< {high:g}"
    return f"> {low:g}" if math.isinf(high) else f"{low:g} to {high:g}".replace("-", "−")


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.3g}".replace("-", "−")


def _ratio(above: Any, below: Any) -> Any:
    """Quotient without a warning: nothing by nothing is undefined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(above, below)


def _interval(values: np.ndarray) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _seconds(record: Any) -> np.ndarray:
    """Seconds per image of every repetition at batch 1; the median alone where an older record kept no samples."""
    one = next(batch for batch in record["batches"] if batch["size"] == 1)
    return np.array([sample["total_s"] for sample in one.get("samples", [])] or [one["total_s"]])


def _timed_on(material: Material) -> str:
    return f" on {next(iter(material.timings.values()))['device_name']}" if material.timings else ""
