"""Is anything worse than before? Paired non-inferiority tests of two sets of results on the same images.

A mean passes when the upper limit of its worsening lies within the margin. So noise cannot hide a loss behind too few
images: what is not shown to be within the margin is red. All tests must pass, hence none is corrected for the others.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd

from bench import registry
from bench.analysis.protocol import check_comparable
from bench.analysis.result_set import ResultSet
from bench.analysis.statistics import bootstrap_interval, bootstrap_means
from bench.analysis.summary import metric_info
from bench.errors import BenchError, UnknownName
from bench.names import parse_run_id

WORST = 5  # ids named per metric
DEFAULT = "default"
TIME = "time_ratio"  # seconds over those of the reference method on the same device; gated where it has a margin


@dataclass(frozen=True)
class Verdict:
    """One mean against its baseline.

    Args:
        n: images both have. before, after: means over these. worse: mean worsening, below 0 for a gain; upper: its
            one-sided upper limit; margin: what is allowed, in the metric's unit.
        lost: images the baseline has a value of and the new results have not. worst: (id, worsening), most first.
    """

    run_id: str
    metric: str
    n: int
    before: float
    after: float
    worse: float
    upper: float
    margin: float
    lost: Sequence[str] = ()
    worst: Sequence[tuple[str, float]] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether no image is lost and the upper bound of the loss is within the margin."""
        return not self.lost and self.upper <= self.margin

    @property
    def reason(self) -> str:
        """Why it is red, with the ids to look at; "" when it is not."""
        reasons = []
        if self.lost:
            more = f" and {len(self.lost) - WORST} more" if len(self.lost) > WORST else ""
            reasons.append(f"{len(self.lost)} images have no value any more: {', '.join(self.lost[:WORST])}{more}")
        if not self.upper <= self.margin:
            named = ", ".join(f"{i} by {value:.3g}" for i, value in self.worst)
            certain = "is worse" if self.worse > self.margin else "is not shown to be within the margin"
            reasons.append(f"{self.metric} {certain}: {self.worse:.3g}, upper limit {self.upper:.3g}; worst: {named}")
        return "; ".join(reasons)


def compare(
    baseline: ResultSet,
    current: ResultSet,
    margins: Mapping[str, float | str],
    *,
    alpha: float,
    resamples: int,
    seed: int,
    methods: Collection[str] = (),
    root: Path | None = None,
) -> list[Verdict]:
    """Every run and metric of the baseline against the current results.

    Args:
        margins: metric -> margin, as in params.yaml. methods: labels to compare; empty for all of the baseline.
    Raises:
        BenchError: the sets cannot be compared: another domain, dataset, manifest, protocol or signature; a run or
            metric that the current results have not; nothing in common.
    """
    wanted = [r for r in sorted(baseline.frames) if not methods or parse_run_id(r).label in methods]
    if not wanted:
        raise BenchError(f"baseline {baseline.name} has no such results", expected=", ".join(sorted(baseline.frames)))
    found: list[Verdict] = []
    for run_id in wanted:
        if run_id not in current.frames:
            _incomparable(f"run {run_id} is in the baseline and not in {current.name}")
        check_comparable(baseline.frames[run_id], current.frames[run_id])
        before, after = (_values(results, run_id) for results in (baseline, current))
        for metric, (signature, old) in before.items():
            if metric not in after:
                _incomparable(f"{metric} of run {run_id} is in the baseline and not in {current.name}")
            if after[metric][0] != signature:
                _incomparable(f"{metric} follows {signature} in the baseline and {after[metric][0]} now")
            info = metric_info(metric, root)
            margin = margin_of(metric, margins, float(old.mean()))
            new = after[metric][1]
            found.append(_verdict(run_id, metric, old, new, info.higher_is_better, margin, alpha, resamples, seed))
        found += _set_verdicts(baseline, current, run_id, margins, root)
        found += _time_verdicts(baseline, current, run_id, margins)
    return found


def _time_verdicts(
    baseline: ResultSet, current: ResultSet, run_id: str, margins: Mapping[str, float | str]
) -> list[Verdict]:
    """Ratios of seconds on machines that timed both sides; seconds themselves are never compared."""
    keys = [key for key in sorted(baseline.ratios) if key[1] == run_id and key in current.ratios]
    found = []
    for before, now in ((baseline.ratios[key], current.ratios[key]) for key in keys if TIME in margins):
        worse = now - before
        found.append(Verdict(run_id, TIME, 1, before, now, worse, worse, margin_of(TIME, margins, before)))
    return found


def _incomparable(reason: str) -> NoReturn:
    raise BenchError(
        "these results cannot be compared", got=reason, expected="the same runs and metrics", fix="score both alike"
    )


def _values(results: ResultSet, run_id: str) -> dict[str, tuple[str, pd.Series]]:
    """metric -> (signature, finite values by image id)."""
    rows = results.scores.rows
    rows = rows[(rows["run_id"] == run_id) & (rows["task"] == "inversion")]
    found = {}
    for metric, part in rows.groupby("metric", sort=True):
        values = part.set_index("image_id")["value"].sort_index()
        found[str(metric)] = str(part["signature"].iloc[0]), values[np.isfinite(values)]
    return found


def _verdict(
    run_id: str,
    metric: str,
    old: pd.Series,
    new: pd.Series,
    higher_is_better: bool,
    margin: float,
    alpha: float,
    resamples: int,
    seed: int,
) -> Verdict:
    lost = sorted(set(old.index) - set(new.index))
    both = old.index.intersection(new.index)
    if both.empty:
        return Verdict(run_id, metric, 0, float(old.mean()), math.nan, math.nan, math.nan, margin, lost)
    worse = (old[both] - new[both]) if higher_is_better else (new[both] - old[both])
    values = worse.to_numpy(dtype=np.float64)
    if len(values) == 1:
        upper = 0.0 if values[0] <= 0 else math.inf  # one image shows a gain, never how sure a loss is
    else:
        means = bootstrap_means(values[None], resamples, seed)[:, 0]
        upper = bootstrap_interval(values, means, 1 - alpha, "less")[1]
    worst = [(str(i), float(v)) for i, v in worse.sort_values(ascending=False).head(WORST).items() if v > 0]
    means_of = float(old[both].mean()), float(new[both].mean())
    return Verdict(run_id, metric, len(both), *means_of, float(values.mean()), upper, margin, lost, worst)


def _set_verdicts(
    baseline: ResultSet, current: ResultSet, run_id: str, margins: Mapping[str, float | str], root: Path | None
) -> list[Verdict]:
    """Metrics of whole sets: no image has a value of its own, so the estimates themselves are compared."""
    if run_id not in baseline.scores.sets:
        return []
    if run_id not in current.scores.sets:
        _incomparable(f"set metrics of run {run_id} are in the baseline and not in {current.name}")
    (_, before), (_, after) = baseline.scores.sets[run_id], current.scores.sets[run_id]
    now = {value.metric: value for value in after.values}
    found = []
    for old in before.values:
        new = now.get(old.metric)
        if new is None or new.signature != old.signature:
            _incomparable(f"{old.metric} of run {run_id} is not the same metric, or absent, in {current.name}")
        higher = metric_info(old.metric.partition(".")[0], root).higher_is_better
        worse = old.value - new.value if higher else new.value - old.value
        margin = margin_of(old.metric, margins, old.value)
        lost = sorted(set(before.ids) - set(after.ids))
        found.append(Verdict(run_id, old.metric, new.n, old.value, new.value, worse, worse, margin, lost))
    return found


def margin_of(metric: str, margins: Mapping[str, float | str], baseline_mean: float) -> float:
    """The margin in the metric's unit; ``<metric>``, then ``<metric>`` without its part, then ``default``, then 0."""
    given = next((margins[name] for name in (metric, metric.partition(".")[0], DEFAULT) if name in margins), 0.0)
    text = str(given).strip()
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise BenchError(
            f"margin of {metric} is not valid",
            got=repr(given),
            expected="a number of 0 or more, or a share as in 0.5%",
            fix="correct --margin, or gate.margins in params.yaml",
        )
    return value / 100 * abs(baseline_mean) if text.endswith("%") else value


def parse_margins(pairs: Sequence[str]) -> dict[str, float | str]:
    """``["mae=0.001", "psnr=1%"]`` -> mapping."""
    found: dict[str, float | str] = {}
    for pair in pairs:
        metric, equals, value = pair.partition("=")
        if not equals or not metric.strip():
            raise BenchError("--margin cannot be read", got=repr(pair), expected="metric=value, e.g. mae=0.001")
        margin_of(metric, {metric: value}, 1.0)
        found[metric.strip()] = value.strip()
    return found


def check_names(margins: Mapping[str, float | str], root: Path | None) -> None:
    """UnknownName if one of them is no metric (``prc_efflite0.recall`` is part of one): it would allow nothing."""
    known = [*registry.metrics(root).names(), DEFAULT, TIME]
    for name in margins:
        if name.partition(".")[0] not in known:
            raise UnknownName.of("metric of a margin", name, known)


def markdown_text(verdicts: Sequence[Verdict], baseline: str, current: str) -> str:
    """Verdict in one line, then a table, red rows first."""
    red = [v for v in verdicts if not v.ok]
    head = (
        f"**Gate: green.** {len(verdicts)} means are within their margins."
        if not red
        else f"**Gate: RED.** {len(red)} of {len(verdicts)} means regress: "
        + ", ".join(dict.fromkeys(f"{v.metric} of {v.run_id}" for v in red))
        + "."
    )
    lines = ["## Comparison with the baseline", "", head, "", f"Baseline: `{baseline}`. Now: `{current}`.", ""]
    lines += ["| | Run | Metric | n | Before | Now | Worse by (upper limit) | Margin | What |", "|" + " :-- |" * 9]
    for v in [*red, *(v for v in verdicts if v.ok)]:
        cells = [
            "ok" if v.ok else "**RED**",
            f"`{v.run_id}`",
            v.metric,
            f"{v.n:,}",
            _number(v.before),
            _number(v.after),
        ]
        cells += [f"{_number(v.worse)} ({_number(v.upper)})", _number(v.margin), v.reason or "–"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    notes = (
        "Paired differences on the images both have. A mean passes when the one-sided upper limit (BCa bootstrap) "
        "of its worsening is within the margin. Metrics of whole sets (FID and its kin) and ratios of seconds have no "
        "pairs: their estimates are compared with the margin as they are."
    )
    return "\n".join([*lines, "", notes, ""])


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"


def junit_xml(verdicts: Sequence[Verdict]) -> str:
    """One suite per run, one case per metric."""
    top = ET.Element("testsuites", name="bench gate", tests=str(len(verdicts)))
    top.set("failures", str(sum(not v.ok for v in verdicts)))
    for run_id, group in groupby(verdicts, key=lambda v: v.run_id):
        cases = list(group)
        suite = ET.SubElement(top, "testsuite", name=run_id, tests=str(len(cases)))
        suite.set("failures", str(sum(not v.ok for v in cases)))
        for v in cases:
            case = ET.SubElement(suite, "testcase", classname=run_id, name=v.metric)
            if not v.ok:
                ET.SubElement(case, "failure", message=v.reason).text = (
                    f"before {v.before:.6g}, now {v.after:.6g}, worse by {v.worse:.6g}, upper limit {v.upper:.6g}, "
                    f"margin {v.margin:.6g}, n {v.n}"
                )
    ET.indent(top)
    return ET.tostring(top, encoding="unicode", xml_declaration=True) + "\n"
