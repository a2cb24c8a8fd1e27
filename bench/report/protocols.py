"""tables/protocols.md: one set of stored pictures under every protocol preset, each column named as its source does."""

from __future__ import annotations

import math
from pathlib import Path

from bench import registry
from bench.analysis.protocol import CERTAINTIES, DISPERSIONS, Protocol, protocols
from bench.files import atomic_write
from bench.report.layout import Cell, Table, decimals, number
from bench.report.pages import page
from bench.report.report_data import ReportData
from bench.scoring.build import lacking

NEVER_COMPARED = (
    "Two tables of this page are never compared: their columns differ in definition, whatever their names.\n"
)


def write_protocols(report: ReportData, path: Path) -> Path:
    """All presets for all datasets of a scope."""
    presets = protocols(report.root).values()
    tables = [protocol_table(report, dataset, preset) for dataset in report.datasets for preset in presets]
    atomic_write(path, page("The same pictures under every protocol", tables, NEVER_COMPARED))
    return path


def protocol_table(report: ReportData, dataset: str, preset: Protocol) -> Table:
    """Means and the preset's own dispersion; columns without scores say what they need."""
    lines = report.lines(dataset)
    rows: list[list[Cell]] = [[Cell(report.method(n).title)] for n in report.labels(dataset)]
    for column in preset.columns:
        known = {n: lines[n, column.metric] for n in report.labels(dataset) if (n, column.metric) in lines}
        places = 0 if column.metric == "rate" else decimals(line.mean for line in known.values())
        need = "" if known else needed(report, column.metric)
        for row, name in zip(rows, report.labels(dataset), strict=True):
            row.append(_cell(preset, known[name], places) if name in known else Cell(need or "not scored"))
    caption = (
        f"Protocol `{preset.id}` ({CERTAINTIES[preset.certainty]}), domain {report.manifest(dataset).domain}, "
        f"dataset `{dataset}`. ±: {DISPERSIONS[preset.dispersion]}; n where it is not that of the run. "
        f"Source: {preset.source}."
    )
    notes = [
        f"{c.name}: `{c.metric}`; {c.note}{f'; not as published: {c.differs}' if c.differs else ''}."
        for c in preset.columns
    ]
    if preset.datasets and dataset not in preset.datasets:
        notes.append(f"Published values are of {', '.join(preset.datasets)}: not to be compared with these rows.")
    notes += [note.rstrip(".") + "." for note in preset.notes]
    heads = ["Method", *[c.name for c in preset.columns]]
    return Table(f"{preset.title} (`{preset.id}`)", caption, heads, [("", rows)], notes)


def _cell(preset: Protocol, line, places: int) -> Cell:
    dispersion = preset.dispersion_of(line.sd, line.n)
    small = f"± {dispersion:.2g}" if dispersion and not math.isnan(dispersion) else ""
    return Cell(number(line.mean, places), " ".join(filter(None, [small, f"n={line.n:,}" if line.n_failed else ""])))


def needed(report: ReportData, metric: str) -> str:
    """``needs: COMMAND`` that fills a column."""
    why = lacking(report.root, registry.metrics(report.root).load(metric))
    return f"needs: {why or f'bench score --metric {metric}'}"
