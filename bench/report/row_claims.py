"""Write reports/claims.md: claims of results/reference/claims.yaml about rows of the tables (inversions, edits, times)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import model_validator

from bench.analysis.score_table import wide
from bench.analysis.statistics import CONFIDENCE
from bench.analysis.summary import MetricInfo
from bench.files import atomic_write, read_yaml
from bench.names import parse_label
from bench.report.claims import (
    Claim,
    ClaimsFile,
    Measured,
    check_claims,
    claims_table,
    compare,
    percentiles,
    quotient,
    verdict_counts,
)
from bench.report.edit_scores import PREFIX, edit_info, edit_pairs, edits_of, split_measure
from bench.report.layout import Table
from bench.report.pages import page
from bench.report.reference import RESTORE
from bench.report.report_data import ReportData
from bench.seeds import seed_for

CLAIMS_FILE = "claims.yaml"


class RowClaim(Claim):
    """A claim about rows of the tables; see the head of claims.yaml.

    Args:
        left, right: ``method`` or ``method.variant``.
        metrics: of inversions, or ``edit:[<direction>:]<measure>``; none where times are compared.
    """

    left: str
    right: list[str]

    @model_validator(mode="after")
    def _times_have_no_metric(self) -> RowClaim:
        if (self.kind == "time_ratio") == bool(self.metrics):
            raise ValueError("metrics belong to every kind but time_ratio")
        return self


def write_claims(report: ReportData, path: Path, reference: Path) -> Path:
    """Write the page with a table for every dataset of the report; ``reference`` is the folder of claims.yaml."""
    claims = read_claims(reference / CLAIMS_FILE)
    atomic_write(path, page("Claims, measured", [table_of(report, dataset, claims) for dataset in report.datasets]))
    return path


def read_claims(path: Path) -> ClaimsFile[RowClaim]:
    """Read claims.yaml.

    Raises:
        DataError: the file is missing or breaks a rule; the message names the key.
    """
    return read_yaml(path, ClaimsFile[RowClaim], fix=RESTORE)


def table_of(report: ReportData, dataset: str, claims: ClaimsFile[RowClaim]) -> Table:
    """Build the table of a dataset: a row per claim, right-hand side and metric, in the file's order."""
    tested = check_claims(RowValues(report, dataset), claims.claims)
    caption = (
        f"{claims.paper}. Dataset `{dataset}`, protocol `{report.protocol}`: other data and another generator than "
        f"the paper's, so what is tested is the statement, not its number. Verdicts: {verdict_counts(tested)}. A claim "
        f"holds when the whole {CONFIDENCE:.0%} interval of the measured value lies inside what is expected, does not "
        "hold when the whole interval lies outside, and is undecided otherwise."
    )
    notes = [
        "Differences are left minus right, image by image, on the images both have; their intervals are bootstrap "
        f"intervals of the mean (BCa, {report.config.bootstrap:,} resamples of these images). Intervals of ratios are "
        "percentiles of the ratio of both means, drawn together in as many resamples.",
        f"Time ratios: median seconds per image at batch 1{_timed_on(report)}; intervals are percentiles over resampled "
        "repetitions, so they speak for this machine alone; of three repetitions they are about the range.",
    ]
    return claims_table(tested, report.manifest(dataset).title or dataset, caption, notes)


@dataclass(frozen=True)
class RowValues:
    """Values of rows of the tables on one dataset: metrics of inversions and edits, and times."""

    report: ReportData
    dataset: str

    def measured(self, claim: RowClaim, right: str, metric: str) -> Measured:
        """Compare two rows on the images both have, or say what to run first."""
        if claim.kind == "time_ratio":
            return self._time_ratio(claim.left, right)
        table = self._per_image(metric, [claim.left, right])
        lacking = [name for name in (claim.left, right) if name not in table]
        if lacking:
            return Measured(missing="; ".join(self._remedy(name, metric) for name in lacking))
        both = table[[claim.left, right]].dropna().to_numpy()
        if not len(both):
            return Measured(missing=f"`{claim.left}` and `{right}` share no image: run both on the same ids")
        return compare(self.report, both[:, 0], both[:, 1], claim.kind)

    def title(self, side: str) -> str:
        """Return the title of a row."""
        return self.report.method(side).title

    def metric_title(self, claim: RowClaim, metric: str) -> str:
        """Return ``MAE``, ``MAE, edits yaw`` or ``time``."""
        if claim.kind == "time_ratio":
            return "time"
        title = self._info(metric).title
        return f"{title}, edits {split_measure(metric)[0]}".rstrip() if metric.startswith(PREFIX) else title

    def higher_is_better(self, metric: str) -> bool:
        """Return the direction of a metric of inversions or edits."""
        return self._info(metric).higher_is_better

    def _info(self, metric: str) -> MetricInfo:
        if not metric.startswith(PREFIX):
            return self.report.metric(metric)
        return edit_info(self.report, split_measure(metric)[1])

    def _per_image(self, metric: str, labels: list[str]) -> pd.DataFrame:
        """Image ids x labels; labels without scores are absent."""
        if not metric.startswith(PREFIX):
            return wide(self.report.scores, self.dataset, metric)
        direction, measure = split_measure(metric)
        edited = edits_of(self.report, self.dataset, direction)
        return edit_pairs(edited)(measure, [label for label in labels if label in edited])

    def _time_ratio(self, left: str, right: str) -> Measured:
        """Median seconds per image of left over right, both at batch 1 on the machine of the report's times."""
        report = self.report
        records = [report.timings.get(f"{name}-{self.dataset}") for name in (left, right)]
        lacking = [name for name, record in zip((left, right), records, strict=True) if record is None]
        if lacking:
            return Measured(missing="; ".join(_time_remedy(name) for name in lacking))
        samples = [_seconds(record) for record in records if record is not None]
        medians = [float(np.median(s)) for s in samples]
        rng = np.random.default_rng(seed_for(report.config.seed, "time_ratio", left, right))
        drawn = [np.median(rng.choice(s, (report.config.bootstrap, len(s))), axis=1) for s in samples]
        n = " and ".join(f"{len(s)}×" for s in samples)
        if min(len(s) for s in samples) < 2:
            return Measured(quotient(*medians), n=n)
        return Measured(quotient(*medians), *percentiles(quotient(drawn[0], drawn[1])), n)

    def _remedy(self, name: str, metric: str) -> str:
        """Say what is missing of a row, and the command that makes it."""
        method, variant = parse_label(name)
        options = f"--ablation {variant}" if variant else f"--method {method}"
        if metric.startswith(PREFIX) and name in self.report.rows(self.dataset):
            return f"edits of `{name}`: `bench score-edits {options}`"
        if name in set(self.report.scores.rows["run_id"].str.partition("-")[0]):
            return f"`{metric}` of `{name}`: `bench score --method {method} --metric {metric}`"
        if name not in self.report.config.labels:
            entry = f"`{variant}: {method}` to `ablations`" if variant else f"`{method}` to `methods`"
            return f"`{name}`: add {entry} in params.yaml, then `bench repro`"
        return f"`{name}`: `bench run {options} --dataset {self.dataset}`, then `bench score --method {method}`"


def _time_remedy(name: str) -> str:
    method, variant = parse_label(name)
    return f"time of `{name}`: `bench time --method {method}{f' --ablation {variant}' if variant else ''}`"


def _seconds(record: Mapping[str, Any]) -> np.ndarray:
    """Seconds per image of every repetition at batch 1; the median alone where an older record kept no samples."""
    one = next(batch for batch in record["batches"] if batch["size"] == 1)
    return np.array([sample["total_s"] for sample in one.get("samples", [])] or [one["total_s"]])


def _timed_on(report: ReportData) -> str:
    return f" on {next(iter(report.timings.values()))['device_name']}" if report.timings else ""
