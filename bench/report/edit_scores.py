"""Read scored edits for the report: values per image, paired over methods, and titles of measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from bench.analysis.summary import MetricInfo
from bench.edits.results import TITLES, Edits, per_image, read_edits
from bench.report.report_data import ReportData

PREFIX = "edit:"  # of a measure of edits, where those of inversions stand beside it: edit:mae, edit:yaw:mae
Pairs = Callable[[str, Sequence[str]], pd.DataFrame]  # (measure, labels) -> image ids x labels that all have a value


def edits_of(report: ReportData, dataset: str, direction: str = "") -> dict[str, Edits]:
    """Return the scored edits of the report's methods and variants on a dataset, along one direction or all."""
    if (edits_of, dataset) not in report.memo:
        read = read_edits(report.store, report.scope, report.rows(dataset))
        report.memo[edits_of, dataset] = {n: one for n, one in read.items() if set(one.rows["dataset"]) == {dataset}}
    found = report.memo[edits_of, dataset]
    if not direction:
        return dict(found)
    return {label: replace(one, rows=one.rows[one.rows["direction"] == direction]) for label, one in found.items()}


def split_measure(measure: str) -> tuple[str, str]:
    """Split a measure: ``yaw:mae`` -> ("yaw", "mae"); ``mae`` -> ("", "mae"), which means all directions."""
    direction, _, name = measure.removeprefix(PREFIX).rpartition(":")
    return direction, name


def edit_pairs(edited: Mapping[str, Edits]) -> Pairs:
    """Return a function that pairs edit scores: per image, the mean over the edits that all labels reach on it."""

    def pairs(measure: str, labels: Sequence[str]) -> pd.DataFrame:
        return columns(per_image({label: edited[label] for label in labels if label in edited}, measure), labels)

    return pairs


def columns(table: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """The columns of ``labels``, rows that all of them have; none where a column is lacking."""
    lacking = [label for label in labels if label not in table]
    return pd.DataFrame(columns=list(labels), dtype=float) if lacking else table[list(labels)].dropna()


def edit_info(report: ReportData, measure: str) -> MetricInfo:
    """Title and direction of a measure of edits."""
    if measure not in TITLES:
        return report.metric(measure)
    title, higher = TITLES[measure]
    return MetricInfo(measure, title, "", higher, 0.0)


def edit_head(report: ReportData, measure: str) -> str:
    """``MAE in the face ↓``."""
    info = edit_info(report, measure)
    return f"{info.title} {'↑' if info.higher_is_better else '↓'}"
