"""Operating points of ``bench rate`` as a report needs them: under their titles, with Pareto marks, per picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.names import label
from bench.report.report_data import ReportData
from bench.store.rate import (
    CODEC_TITLES,
    EDIT,
    FILE,
    MAPS,
    POINT,
    pareto,
    per_picture,
    points,
    rate_dir,
    reached,
    read_rows,
)

if TYPE_CHECKING:
    import pandas as pd

FRONTS = ("front_rate", "front_edit", "front_all")


@dataclass(frozen=True)
class Rates:
    """Everything measured of one dataset.

    Args:
        rows: tidy. table: a line for each point (bench.store.rate.points), with FRONTS: rate against distortion, rate
            against edit error, all three; picture codecs are on none. pictures: a line for each point and picture.
        metrics: of distortion, the first is that of the fronts. edits: those that all methods reach.
    """

    rows: pd.DataFrame
    table: pd.DataFrame
    pictures: pd.DataFrame
    metrics: list[str]
    edits: list[str]

    @property
    def inversions(self) -> pd.DataFrame:
        """Rows of methods."""
        return self.table[self.table["form"] != FILE]

    @property
    def codecs(self) -> pd.DataFrame:
        """Rows of image codecs."""
        return self.table[self.table["form"] == FILE]

    def edited(self, metric: str) -> bool:
        """Whether any method has errors of edits."""
        return EDIT + metric in self.table and bool(self.table[EDIT + metric].notna().any())


def rates_of(report: ReportData, dataset: str) -> Rates | None:
    """What was measured in the report's scope; None for nothing."""
    rows = read_rows(rate_dir(report.store, report.scope))
    rows = None if rows is None else rows[rows["dataset"] == dataset]
    if rows is None or not len(rows):
        return None
    order = {name: n for n, name in enumerate([*report.config.labels, *CODEC_TITLES])}
    names = [label(m, v) for m, v in zip(rows["method"], rows["variant"], strict=True)]
    rows = rows.assign(place=[order.get(name, len(order)) for name in names])
    rows = rows.sort_values("place", kind="stable").drop(columns="place")
    table = points(rows, {dataset: report.manifest(dataset).resolution ** 2})
    metrics = list(dict.fromkeys(rows.loc[rows["task"] == "inversion", "metric"]))
    for name in FRONTS:
        table[name] = False
    own = table["form"] != FILE
    bits, loss = table.loc[own, "bpp"], _loss(report, table[own], metrics[0])
    table.loc[own, "front_rate"] = pareto(bits, loss)
    if EDIT + metrics[0] in table:
        edit = _loss(report, table[own], EDIT + metrics[0])
        table.loc[own, "front_edit"], table.loc[own, "front_all"] = pareto(bits, edit), pareto(bits, loss, edit)
    edits = reached(rows)
    return Rates(rows, table, per_picture(rows, edits), metrics, edits)


def _loss(report: ReportData, table: pd.DataFrame, measure: str) -> pd.Series:
    sign = -1 if report.metric(measure.removeprefix(EDIT)).higher_is_better else 1
    return sign * table[measure]


def title_of(report: ReportData, method: str, variant: str, form: str) -> str:
    """``HFGI``, ``HFGI, latent maps kept``, ``consulted at 32 px``, ``JPEG``."""
    if form == FILE:
        return CODEC_TITLES.get(method, method)
    title = report.method(label(method, variant)).title
    return f"{title}, {MAPS} kept" if form == MAPS else title


def describe_point(point: dict | pd.Series) -> str:
    """``as it is``, ``codes 0.5``, ``codes 0.5, memory 2``, ``codes 0.5, memory 1, pooled 2 × 2``, ``quality 20``."""
    if point["form"] == FILE:
        return f"quality {point['codes_step']:g}"
    steps = [f"codes {point['codes_step']:g}"] if point["codes_step"] else []
    steps += [f"memory {point['memory_step']:g}"] if point["memory_step"] else []
    steps += [f"pooled {point['pool']:g} × {point['pool']:g}"] if point["pool"] > 1 else []
    return ", ".join(steps) or "as it is"


def values_at(rates: Rates, line: pd.Series, measures: Sequence[str]) -> dict[str, list[float]]:
    """measure -> values of the point's pictures, those that have one."""
    part = rates.pictures.loc[tuple(line[name] for name in POINT)]
    return {m: part[m].dropna().tolist() for m in measures if m in part}
