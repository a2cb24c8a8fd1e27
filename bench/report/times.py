"""tables/timing.md: seconds, ratios to a reference method on the same device, work, memory, and the paper's ratios.

Seconds of two machines say nothing about methods; ratios on one machine do, so only these stand beside published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.files import atomic_write
from bench.names import parse_label
from bench.report.layout import Cell, Table
from bench.report.pages import page
from bench.report.reconcile import read_rules
from bench.report.reference import PAPER_TABLE, read_reference
from bench.report.report_data import ReportData
from bench.report.tables import seconds, time_caption

CLOCK = "seconds"  # the published column


def write_times(report: ReportData, path: Path, reference: Path) -> Path:
    """One table per dataset. ``reference``: folder of published tables."""
    atomic_write(path, page("Time and work", [time_table(report, dataset, reference) for dataset in report.datasets]))
    return path


def time_table(report: ReportData, dataset: str, reference: Path) -> Table:
    """Every timed row of a dataset."""
    to = report.config.time.reference
    records = {n: report.timings.get(f"{n}-{dataset}") for n in report.labels(dataset)}
    base = records.get(to)
    printed = published_seconds(reference)
    rows = []
    for label, record in records.items():
        if record is None:
            continue
        one = _batch(record, 1)
        best = _batch(record, record["best_batch"])
        memory = best.get("memory", {}).get("bytes")
        rows.append(
            [
                Cell(report.method(label).title),
                Cell(seconds(one["embed_s"])),
                Cell(seconds(one["render_s"])),
                Cell(seconds(one["total_s"]), f"{one['repetitions']}×{'' if one['warmup_stable'] else ', not stable'}"),
                Cell(_ratio(one["total_s"], _batch(base, 1)["total_s"] if base else None)),
                Cell(_ratio(printed.get(parse_label(label)[0]), printed.get(to))),
                Cell(f"{best['images_per_s']:,.3g}", f"batch {best['size']}"),
                Cell(f"{memory / 2**20:,.0f}" if memory else "–"),
                Cell(_flops(record)),
                Cell(
                    f"{sum(record['parameters'].values()) / 1e6:,.1f}",
                    f"own {record['parameters']['method'] / 1e6:,.1f}",
                ),
            ]
        )
    named = f"`{to}`" if to else "a reference"
    heads = ["Method", "Embed (s)", "Render (s)", "Total (s)", f"Ratio to {to or 'reference'}", "Published ratio"]
    heads += ["Images/s", "Peak memory (MiB)", "Work (GFLOP)", "Parameters (M)"]
    notes = [
        f"Ratio: total seconds of a picture at batch 1 over those of {named} on the same device; "
        + ("the published ratios are of other hardware." if base else f"{named} is not timed here, so there is none."),
        "Work: convolutions and matrix products of embed and render of one picture, 2 per multiply-add.",
    ]
    fingerprints = sorted({str(r.get("fingerprint", "")) for r in records.values() if r})
    if len(fingerprints) > 1:
        notes.append(
            f"Rows differ in versions or driver of the device (fingerprints {', '.join(fingerprints)}): time again."
        )
    return Table(f"Dataset `{dataset}`", time_caption(report), heads, [("", rows)], notes)


def _batch(record: Mapping[str, Any], size: int) -> Mapping[str, Any]:
    return next(b for b in record["batches"] if b["size"] == size)


def _ratio(value: float | None, base: float | None) -> str:
    return f"{value / base:.2f}" if value is not None and base else "–"


def _flops(record: Mapping[str, Any]) -> str:
    work = record.get("flops", {})
    return f"{(work['embed'] + work['render']) / 1e9:,.3g}" if "embed" in work else "–"


def published_seconds(folder: Path) -> dict[str, float]:
    """Our method id -> seconds as the paper's own table prints them; {} without the file."""
    path = folder / PAPER_TABLE
    if not path.is_file():
        return {}
    names = read_rules(folder).methods
    rows = read_reference(path)
    rows = rows[rows["metric"] == CLOCK]
    return {names[m]: float(v) for m, v in zip(rows["method"], rows["value"], strict=True) if m in names}
