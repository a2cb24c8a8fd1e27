"""Table 1: measured numbers with their intervals, and the paper's beside them.

The main table has the few columns that the protocol gives a role; further tables have the rest, in parts that fit a page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.analysis.protocol import find_protocol
from bench.files import atomic_write
from bench.report.layout import Cell, Table, decimals, interval, number
from bench.report.pages import page, write_pages
from bench.report.reference import PAPER_TABLE, published_table, read_reference, references
from bench.report.report_data import ReportData
from bench.report.significance import winner

PUBLISHED = "As printed in their sources; protocols differ from table to table.\n"
CONTROLS = "Controls"  # heading of the group of controls
SHOWN_FAILURES = 5
MAIN = 5  # metrics in the main table where no preset gives them roles
FURTHER = 6  # and in each further one


def write_tables(report: ReportData, folder: Path, reference: Path) -> list[Path]:
    """Write table1.md, table1.tex and published.md into ``folder``; ``reference`` holds the published CSV files."""
    tables = [table for dataset in report.datasets for table in dataset_tables(report, dataset)]
    files = references(reference)
    paper = [p for p in files if p.name == PAPER_TABLE]
    other = "Other data, another resolution, generator and metric definitions: not to be ranked with the rows above."
    beside = [
        published_table(read_reference(p), "Published: Table 1 of the paper", "tab:published", [other]) for p in paper
    ]
    written = write_pages(folder, "table1", "Table 1", [*tables, *beside])
    everything = [published_table(read_reference(p), p.stem, f"tab:{p.stem}") for p in files]
    atomic_write(folder / "published.md", page("Published numbers", everything, PUBLISHED))
    return [*written, folder / "published.md"]


def dataset_tables(report: ReportData, dataset: str) -> list[Table]:
    """Build all tables of a dataset: main metrics over each method's images and over common images; then the rest."""
    own, common = report.lines(dataset), report.lines(dataset, common=True)
    main, *further = split_columns(report, dataset)
    tables = [main_table(report, dataset, main, last=not further)]
    if common:
        tables.append(common_table(report, dataset, main, common))
    elif len({line.n for line in own.values()}) > 1:
        tables[0].notes.append("The methods have no image in common: no two rows of different n can be compared.")
    of = f" of {len(further)}" * (len(further) > 1)
    for n, metrics in enumerate(further, start=1):
        part = f"Further metrics, {n}{of}" if of else "Further metrics"
        tables.append(further_table(report, dataset, metrics, part, last=n == len(further)))
        here = [m for m in metrics if m in report.metrics(dataset)]
        if common and here:
            tables.append(common_table(report, dataset, here, common, f"{part}: "))
    for n, table in enumerate(tables):
        table.label = f"tab:{dataset}" + (f"-{n}" if n else "")
    return tables


def split_columns(report: ReportData, dataset: str) -> list[list[str]]:
    """Split the profile's metrics, scored or not: those of the main table, then those of each further table."""
    scored, absent = report.metrics(dataset), list(report.absent_metrics(dataset))
    preset = find_protocol(report.root, report.protocol)
    main = preset.main(scored, absent) if preset else []
    main = main or [*scored, *absent][:MAIN]
    rest = [m for m in (*scored, *absent) if m not in main]
    count = math.ceil(len(rest) / FURTHER)
    size = math.ceil(len(rest) / count) if count else 1
    return [main, *(rest[start : start + size] for start in range(0, len(rest), size))]


def main_table(report: ReportData, dataset: str, metrics: Sequence[str], last: bool) -> Table:
    """Build the table of the main metrics and the time of one image; ``last``: no table of further metrics follows."""
    table = own_table(report, dataset, metrics, [time_one, time_best] if last else [time_one])
    manifest, full = report.manifest(dataset), full_size(report, dataset)
    table.title = f"Inversion on {manifest.title or dataset}"
    table.caption = (
        f"Domain {manifest.domain}, dataset `{dataset}` ({full:,} images, {manifest.resolution} px), "
        f"protocol `{report.protocol}`. Mean over images with its 95 % bootstrap interval (BCa) "
        f"({report.config.bootstrap:,} resamples of images); n counts the images in the mean. "
        f"Bold: best mean among the methods that have all {full:,} images; asterisk: better than each of the others "
        "among them (paired permutation tests, Holm over all pairs of methods, 5 %; significance.md). "
        f"{time_caption(report)}"
    )
    if any(heading.endswith("†") and rows for heading, rows in table.groups):
        table.notes.insert(0, "† Another set of images: compare these rows in the next table, not here.")
    if absent := report.unscored(dataset):
        table.notes.append(f"Without scores, so without a row: {', '.join(f'`{m}`' for m in absent)}.")
    table.notes += failure_notes(report, dataset)
    return table


def further_table(report: ReportData, dataset: str, metrics: Sequence[str], part: str, last: bool) -> Table:
    """Build a table of the remaining metrics."""
    table = own_table(report, dataset, metrics, [time_best] if last else [])
    table.title = f"{part}: {report.manifest(dataset).title or dataset}"
    table.caption = f"Rows, images and marks as in the first table of `{dataset}`."
    return table


def own_table(report: ReportData, dataset: str, metrics: Sequence[str], times: Sequence[TimeCell]) -> Table:
    """Build a table of every method on all images it was run on; methods with fewer images than others get no marks."""
    lines, full = report.lines(dataset), full_size(report, dataset)
    methods, controls = methods_and_controls(report, dataset)
    subset = [m for m in methods if report.run_size(dataset, m) < full]
    whole = [m for m in methods if m not in subset]
    ranked = {m: [n for n in whole if (n, m) in lines and lines[n, m].n == full] for m in metrics}
    firsts = {m: winner(report, dataset, m, ranked[m]) for m in metrics if len(ranked[m]) > 1}
    rows = metric_rows(report, dataset, metrics, lines, methods + controls, ranked, firsts)
    for name in rows:
        rows[name] += [time(report, dataset, name) for time in times]
    first = " and ".join(f"the first {n:,}" for n in sorted({report.run_size(dataset, m) for m in subset}))
    groups = [
        ("", [rows[m] for m in whole]),
        (f"On {first} of {full:,} images only †", [rows[m] for m in subset]),
        (CONTROLS, [rows[m] for m in controls]),
    ]
    heads = ["Method", "n", *[metric_head(report, m) for m in metrics], *[TIME_HEADS[time] for time in times]]
    return Table("", "", heads, groups, column_notes(report, dataset, metrics))


def common_table(
    report: ReportData, dataset: str, metrics: Sequence[str], lines: dict[tuple[str, str], Any], part: str = ""
) -> Table:
    """Build a table of all methods on the images that every method has."""
    methods, controls = methods_and_controls(report, dataset)
    methods, controls = ([n for n in names if any(key[0] == n for key in lines)] for names in (methods, controls))
    n, ids = next(iter(lines.values())).n, report.shared_ids(dataset)
    metrics = [m for m in metrics if m in report.metrics(dataset)]
    ranked = {m: [name for name in methods if (name, m) in lines] for m in metrics}
    firsts = {m: winner(report, dataset, m, ranked[m], ids) for m in metrics if len(ranked[m]) > 1}
    rows = metric_rows(report, dataset, metrics, lines, methods + controls, ranked, firsts)
    caption = (
        f"The {n:,} images of `{dataset}` that every method has a result for. Bold: best mean of all methods; asterisk: "
        f"better than each of the others, tested on these {n:,} images alone; otherwise as above."
    )
    heads = ["Method", "n", *[metric_head(report, m) for m in metrics]]
    groups = [("", [rows[m] for m in methods]), (CONTROLS, [rows[m] for m in controls])]
    title = f"{part}the same {n:,} images for every method" if part else f"The same {n:,} images for every method"
    return Table(title, caption, heads, groups)


def full_size(report: ReportData, dataset: str) -> int:
    """Count the images of the methods that were run on the most."""
    return max((report.run_size(dataset, name) for name in report.labels(dataset)), default=0)


def methods_and_controls(report: ReportData, dataset: str) -> tuple[list[str], list[str]]:
    """Return the labels of Table 1 in its order: methods, then controls."""
    labels = report.labels(dataset)
    controls = [m for m in labels if report.method(m).control]
    return [m for m in labels if m not in controls], controls


def metric_rows(
    report: ReportData,
    dataset: str,
    metrics: Sequence[str],
    lines: dict[tuple[str, str], Any],
    names: Sequence[str],
    ranked: Mapping[str, Sequence[str]],
    firsts: Mapping[str, str | None],
) -> dict[str, list[Cell]]:
    """label -> cells (title, n, one per metric).

    Args:
        ranked: metric -> methods whose means are over the same images; the best is bold, if there are two or more.
        firsts: metric -> the one that is significantly better than these.
    """
    absent = report.absent_metrics(dataset)
    rows = {name: [Cell(report.method(name).title), _n_cell(lines, name, metrics)] for name in names}
    for metric in metrics:
        known = {name: lines[name, metric] for name in names if (name, metric) in lines}
        places = 0 if metric.endswith("rate") else decimals(line.mean for line in known.values())
        best = _best(report, metric, {k: line.mean for k, line in known.items() if k in ranked[metric]}, places)
        for name in names:
            line = known.get(name)
            if line is None:
                rows[name].append(Cell(absent.get(metric, "not scored")))
                continue
            text = number(line.mean, places)
            bold = text in best and name in ranked[metric]
            mark = "*" * (name == firsts.get(metric))
            rows[name].append(Cell(text, interval(line.ci_low, line.ci_high, places), bold, mark))
    return rows


def _n_cell(lines: dict[tuple[str, str], Any], name: str, metrics: Sequence[str]) -> Cell:
    """n, with failures; a range where metrics differ."""
    mine = [line for (label, metric), line in lines.items() if label == name and metric in metrics]
    sizes, failed = sorted({line.n for line in mine}), max((line.n_failed for line in mine), default=0)
    text = "–".join(f"{n:,}" for n in dict.fromkeys([sizes[0], sizes[-1]])) if sizes else "0"
    return Cell(text, f"{failed} failed" if failed else "")


def _best(report: ReportData, metric: str, means: dict[str, float], places: int) -> set[str]:
    """The text of the best mean (equal texts are ties); nothing to choose among fewer than two."""
    finite = [v for v in means.values() if math.isfinite(v)]
    if len(finite) < 2 or metric.endswith("rate"):
        return set()
    return {number(max(finite) if report.metric(metric).higher_is_better else min(finite), places)}


def metric_head(report: ReportData, metric: str) -> str:
    """``SSIM ↑``, ``PSNR (dB) ↑``."""
    info = report.metric(metric)
    return f"{info.title}{f' ({info.unit})' if info.unit else ''} {'↑' if info.higher_is_better else '↓'}"


def time_one(report: ReportData, dataset: str, label: str) -> Cell:
    """Seconds per image at batch 1, with the number of repetitions."""
    record = report.timings.get(f"{label}-{dataset}")
    if record is None:
        return Cell("not timed")
    one = next(batch for batch in record["batches"] if batch["size"] == 1)
    return Cell(seconds(one["total_s"]), f"{one['repetitions']}×")


def time_best(report: ReportData, dataset: str, label: str) -> Cell:
    """Seconds per image at the best batch, which is named."""
    record = report.timings.get(f"{label}-{dataset}")
    if record is None:
        return Cell("not timed")
    best = next(batch for batch in record["batches"] if batch["size"] == record["best_batch"])
    return Cell(seconds(best["total_s"]), f"batch {best['size']}, {best['repetitions']}×")


TimeCell = Callable[[ReportData, str, str], Cell]
TIME_HEADS: dict[TimeCell, str] = {time_one: "Time, batch 1 (s)", time_best: "Time, best batch (s)"}


def seconds(value: float) -> str:
    """Three significant digits; what is below a tenth of a millisecond is not worth more."""
    return f"{value:.3g}" if value >= 1e-4 else "< 0.0001"


def time_caption(report: ReportData) -> str:
    """Say on which machine, device and number of threads methods were timed."""
    if not report.timings:
        return "Not timed (`bench time`)."
    record = next(iter(report.timings.values()))
    count = record["threads"]
    threads = f", {count} thread{'s' * (count != 1)}" if record["device"] == "cpu" else ""
    return (
        f"Time: median seconds per image of {record['clock']}; {record['device_name']}{threads}, "
        f"{record['precision']}; k× is the number of repetitions."
    )


def column_notes(report: ReportData, dataset: str, metrics: Sequence[str]) -> list[str]:
    """Write the signature of each metric: its exact definition."""
    signatures = {m: s for m, s in report.signatures(dataset).items() if m in metrics}
    return [
        *cap_notes(report, dataset, signatures),
        *set_notes(report, dataset, metrics),
        *(f"{report.metric(m).title}: `{signature}`." for m, signature in signatures.items()),
    ]


def cap_notes(report: ReportData, dataset: str, signatures: Mapping[str, str]) -> list[str]:
    """Count the images of each method whose value is a metric's cap."""
    notes = []
    rows = report.scores.rows
    for metric, signature in signatures.items():
        if "cap=" not in signature:
            continue
        ideal = report.metric(metric).ideal
        part = rows[(rows["dataset"] == dataset) & (rows["metric"] == metric) & (rows["value"] >= ideal)]
        counts = part.groupby(["method", "variant"]).size()
        who = [f"{report.method(f'{m}.{v}' if v else m).title} {n:,}" for (m, v), n in counts.items()]
        title = report.metric(metric).title
        notes.append(
            f"{title} is capped at {ideal:g} for identical pictures; pictures at the cap: {', '.join(who) or 'none'}."
        )
    return notes


def set_notes(report: ReportData, dataset: str, metrics: Sequence[str]) -> list[str]:
    """Say what the intervals of set metrics are: jackknife, not bootstrap intervals of means."""
    known, of_pictures = report.metrics(dataset), report.picture_metrics(dataset)
    of_sets = [m for m in metrics if m in known and m not in of_pictures]
    names = ", ".join(report.metric(m).title for m in of_sets)
    return [f"{names}: of all n pictures as a set; 95 % jackknife interval over ten groups of pictures."] * bool(names)


def failure_notes(report: ReportData, dataset: str) -> list[str]:
    """List every run with failures, the first few images by name."""
    notes = []
    for run_id, reasons in report.scores.failed().items():
        if run_id.endswith(f"-{dataset}"):
            named = "; ".join(f"{i}: {reason}" for i, reason in list(reasons.items())[:SHOWN_FAILURES])
            more = f"; and {len(reasons) - SHOWN_FAILURES} more (ledger.csv)" if len(reasons) > SHOWN_FAILURES else ""
            notes.append(f"{len(reasons)} failed in `{run_id}`: {named}{more}.")
    return notes
