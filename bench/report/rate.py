"""tables/rate.md and .tex: every operating point with its rate, distortion and edit error, and the paper's argument."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.analysis.statistics import statistics
from bench.names import label
from bench.report.layout import Cell, Table, decimals, interval, number
from bench.report.pages import write_pages
from bench.report.rate_claims import CLAIMS_FILE, argument
from bench.report.rate_points import Rates, describe_point, rates_of, title_of, values_at
from bench.report.report_data import ReportData
from bench.report.tables import metric_head
from bench.store.rate import EDIT, SERIES

MARKS = (("front_rate", "D"), ("front_edit", "E"), ("front_all", "A"))


def write_rate(report: ReportData, folder: Path, reference: Path) -> list[Path]:
    """rate.md and .tex where rates were measured; otherwise nothing. ``reference``: folder of rate_claims.yaml."""
    found = {dataset: rates for dataset in report.datasets if (rates := rates_of(report, dataset))}
    if not found:
        return []
    tables = [rate_table(report, dataset, rates) for dataset, rates in found.items()]
    claims = reference / CLAIMS_FILE
    said = [argument(report, d, r, claims) for d, r in found.items()] if claims.is_file() else []
    lines = [table for _, table in said]
    short = "\n".join("\n".join(["## Where the argument holds", "", *texts, ""]) for texts, _ in said)
    return write_pages(
        folder, "rate", "Rate, distortion and edit error", [*lines, *tables], short, latex_tables=[*tables, *lines]
    )


def rate_table(report: ReportData, dataset: str, rates: Rates) -> Table:
    """A group for each method, variant, form and codec; a row for each point."""
    measures = [m for metric in rates.metrics for m in (metric, EDIT + metric) if m in rates.table]
    places = {m: decimals(rates.table[m].dropna()) for m in measures}
    groups = []
    for key, part in rates.table.groupby(SERIES, sort=False):
        rows = [
            [
                Cell(describe_point(line)),
                Cell(f"{line['n']:,}"),
                Cell(number(line.get("floats", np.nan), 0)),
                Cell(_bits(line["bpp"])),
                Cell("–" if np.isnan(line["side"]) else f"{line['side']:.0%}"),
                *_measured(report, rates, line, measures, places),
                Cell(" ".join(mark for front, mark in MARKS if line[front]) or "–"),
            ]
            for _, line in part.iterrows()
        ]
        groups.append((title_of(report, *key[1:]), rows))
    return Table(
        f"Operating points on {report.manifest(dataset).title or dataset}",
        _caption(report, dataset, rates),
        ["Point", "n", "Floats", "Bits per pixel", "Side", *(_head(report, m) for m in measures), "Pareto"],
        groups,
        _notes(rates),
        f"tab:{dataset}-rate",
    )


def _measured(report: ReportData, rates: Rates, line, measures: list[str], places: dict[str, int]) -> list[Cell]:
    values = values_at(rates, line, measures)
    have = [m for m in measures if values.get(m)]
    found = statistics([np.array(values[m]) for m in have], report.config.bootstrap, report.config.seed)
    cells = {
        m: Cell(number(one.mean, places[m]), interval(one.ci_low, one.ci_high, places[m]))
        for m, one in zip(have, found, strict=True)
    }
    return [cells.get(m, Cell("–")) for m in measures]


def _head(report: ReportData, measure: str) -> str:
    head = metric_head(report, measure.removeprefix(EDIT))
    return f"Edits: {head}" if measure.startswith(EDIT) else head


def _bits(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _caption(report: ReportData, dataset: str, rates: Rates) -> str:
    side = report.manifest(dataset).resolution
    edits = ", ".join(f"`{name}`" for name in rates.edits)
    edited = (
        f"Edits ({edits}) are made from the quantised inversion, at the strength calibrated without quantisation, and "
        "compared with their exact targets; a picture's value is the mean over the edits that its factors allow and that "
        "all methods reach. "
        if edits
        else "No edits were made. "
    )
    return (
        f"Dataset `{dataset}`, the first pictures (n); {side} × {side} pixels. Bits of each picture's self-contained "
        "code: measured entropy of the quantised numbers and side information (its share: Side); `as it is` counts 32 "
        f"bits a number. {edited}Means with 95 % bootstrap intervals (BCa, {report.config.bootstrap:,} resamples of "
        "pictures). Units of steps and the coder: docs/rate.md."
    )


def _notes(rates: Rates) -> list[str]:
    first = rates.metrics[0]
    notes = [
        f"Pareto, among all inversions, in `{first}`: D, no other has both fewer bits and less distortion; E, the same "
        "for the error of edits; A, in bits, distortion and edit error together. Picture codecs are anchors: they "
        "cannot be edited, and are not ranked.",
    ]
    lacking = [
        key
        for key, part in rates.inversions.groupby(["method", "variant"], sort=False)
        if rates.edited(first) and part[EDIT + first].isna().all()
    ]
    if lacking:
        names = ", ".join(f"`{label(*key)}`" for key in lacking)
        notes.append(f"Without edits: {names}.")
    if some := partly_reached(rates):
        told_of = "; ".join(f"`{edit}`, not {who}" for edit, who in some)
        notes.append(f"Edits left out, as not all reach them: {told_of}.")
    return notes


def partly_reached(rates: Rates) -> list[tuple[str, str]]:
    """Edits that some reach and some do not, with the rows that do not."""
    edited = rates.rows[rates.rows["task"] == "edit"]
    have = {key: set(part["edit"]) for key, part in edited.groupby(["method", "variant"], sort=False)}
    found = []
    for name in dict.fromkeys(edited["edit"]):
        lacking = [label(*key) for key, names in have.items() if name not in names]
        found += [(name, ", ".join(f"`{row}`" for row in lacking))] if lacking else []
    return found
