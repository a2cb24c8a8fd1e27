"""Table 1: measured numbers with their intervals, and the paper's beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.images import atomic_write
from bench.report.layout import Cell, Table, decimals, interval, number, to_latex, to_markdown
from bench.report.material import Material
from bench.report.reference import PAPER_TABLE, published_table, read_reference, references
from bench.report.significance import winner

SHOWN_FAILURES = 5


def write_tables(material: Material, folder: Path, reference: Path) -> list[Path]:
    """table1.md, table1.tex and published.md in ``folder``; ``reference`` holds the published CSV files."""
    tables = [table for dataset in material.datasets for table in dataset_tables(material, dataset)]
    files = references(reference)
    paper = [p for p in files if p.name == PAPER_TABLE]
    other = "Other data, another resolution, generator and metric definitions: not to be ranked with the rows above."
    beside = [
        published_table(read_reference(p), "Published: Table 1 of the paper", "tab:published", [other]) for p in paper
    ]
    written = {
        "table1.md": "# Table 1\n\n" + "\n".join(to_markdown(t) for t in [*tables, *beside]),
        "table1.tex": "% needs: booktabs, graphicx\n" + "\n".join(to_latex(t) for t in [*tables, *beside]),
        "published.md": "# Published numbers\n\nAs printed in their sources; protocols differ from table to table.\n\n"
        + "\n".join(to_markdown(published_table(read_reference(p), p.stem, f"tab:{p.stem}")) for p in files),
    }
    for name, text in written.items():
        atomic_write(folder / name, text)
    return [folder / name for name in written]


def dataset_tables(material: Material, dataset: str) -> list[Table]:
    """The table over each method's own images and, where these differ, the one over the images all have."""
    own = material.lines(dataset)
    tables = [main_table(material, dataset)]
    common = material.lines(dataset, common=True)
    if common:
        tables.append(common_table(material, dataset, common))
    elif len({line.n for line in own.values()}) > 1:
        tables[0].notes.append("The methods have no image in common: no two rows of different n can be compared.")
    return tables


def main_table(material: Material, dataset: str) -> Table:
    """Every method on all images it was run on; those that have fewer than others stand apart."""
    manifest, lines = material.manifest(dataset), material.lines(dataset)
    metrics = [*material.metrics(dataset), *material.absent_metrics(dataset)]
    full = max((run_size(material, dataset, name) for name in material.labels(dataset)), default=0)
    methods = [m for m in material.labels(dataset) if not material.method(m).control]
    controls = [m for m in material.labels(dataset) if material.method(m).control]
    subset = [m for m in methods if run_size(material, dataset, m) < full]
    whole = [m for m in methods if m not in subset]
    comparable = not material.lines(dataset, common=True)
    rows = metric_rows(material, dataset, metrics, lines, whole + subset + controls, bold=methods if comparable else [])
    for name in rows:
        rows[name] += time_cells(material, dataset, name)
    sizes = sorted({run_size(material, dataset, m) for m in subset})
    first = " and ".join(f"the first {n:,}" for n in sizes)
    groups = [
        ("", [rows[m] for m in whole]),
        (f"On {first} of {full:,} images only †", [rows[m] for m in subset]),
        ("Controls", [rows[m] for m in controls]),
    ]
    caption = (
        f"Domain {manifest.domain}, dataset `{dataset}` ({full:,} images, {manifest.resolution} px), "
        f"protocol `{material.protocol}`. Mean over images with its 95 % bootstrap interval (BCa) "
        f"({material.config.bootstrap:,} resamples of images); n counts the images in the mean. "
        "Bold: best mean; *: better than every other method (paired permutation tests, Holm, 5 %; significance.md). "
        f"{time_caption(material)}"
    )
    heads = ["Method", "n", *[metric_head(material, m) for m in metrics], "Time, batch 1 (s)", "Time, best batch (s)"]
    table = Table(f"Inversion on {manifest.title or dataset}", caption, heads, groups, label=f"tab:{dataset}")
    if subset:
        table.notes.append("† Another set of images: compare these rows in the next table, not here.")
    if absent := material.unscored(dataset):
        table.notes.append(f"Without scores, so without a row: {', '.join(f'`{m}`' for m in absent)}.")
    table.notes += [
        *cap_notes(material, dataset),
        *set_notes(material, dataset),
        *failure_notes(material, dataset),
        *signature_notes(material, dataset),
    ]
    return table


def common_table(material: Material, dataset: str, lines: dict[tuple[str, str], Any]) -> Table:
    """All methods on the images that every one of them has."""
    names = [n for n in material.labels(dataset) if any(key[0] == n for key in lines)]
    methods = [n for n in names if not material.method(n).control]
    controls = [n for n in names if material.method(n).control]
    n = next(iter(lines.values())).n
    rows = metric_rows(material, dataset, material.metrics(dataset), lines, names, bold=methods)
    caption = f"The {n:,} images of `{dataset}` that every method has a result for; otherwise as above."
    heads = ["Method", "n", *[metric_head(material, m) for m in material.metrics(dataset)]]
    groups = [("", [rows[m] for m in methods]), ("Controls", [rows[m] for m in controls])]
    return Table(f"The same {n:,} images for every method", caption, heads, groups, label=f"tab:{dataset}-common")


def run_size(material: Material, dataset: str, label: str) -> int:
    """Images the method was asked to invert, failures included."""
    return len(material.run_record(dataset, label)["ids"])


def metric_rows(
    material: Material,
    dataset: str,
    metrics: Sequence[str],
    lines: dict[tuple[str, str], Any],
    names: Sequence[str],
    bold: Sequence[str],
) -> dict[str, list[Cell]]:
    """label -> cells (title, n, one per metric). Among ``bold``, if two or more, the best mean is bold."""
    absent = material.absent_metrics(dataset)
    rows = {name: [Cell(material.method(name).title), _n_cell(lines, name)] for name in names}
    for metric in metrics:
        known = {name: lines[name, metric] for name in names if (name, metric) in lines}
        places = 0 if metric.endswith("rate") else decimals(line.mean for line in known.values())
        best = _best(material, metric, {k: line.mean for k, line in known.items() if k in bold}, places)
        first = winner(material, dataset, metric) if best else None
        for name in names:
            line = known.get(name)
            if line is None:
                rows[name].append(Cell(absent.get(metric, "not scored")))
            else:
                text = number(line.mean, places)
                rows[name].append(
                    Cell(
                        text + " *" * (name == first),
                        interval(line.ci_low, line.ci_high, places),
                        text in best and name in bold,
                    )
                )
    return rows


def _n_cell(lines: dict[tuple[str, str], Any], name: str) -> Cell:
    """n, with failures; a range where metrics differ."""
    mine = [line for (label, _), line in lines.items() if label == name]
    sizes, failed = sorted({line.n for line in mine}), max((line.n_failed for line in mine), default=0)
    text = "–".join(f"{n:,}" for n in dict.fromkeys([sizes[0], sizes[-1]])) if sizes else "0"
    return Cell(text, f"{failed} failed" if failed else "")


def _best(material: Material, metric: str, means: dict[str, float], places: int) -> set[str]:
    """The text of the best mean (equal texts are ties); nothing to choose among fewer than two."""
    finite = [v for v in means.values() if math.isfinite(v)]
    if len(finite) < 2 or metric.endswith("rate"):
        return set()
    return {number(max(finite) if material.metric(metric).higher_is_better else min(finite), places)}


def metric_head(material: Material, metric: str) -> str:
    """``SSIM ↑``, ``PSNR (dB) ↑``."""
    info = material.metric(metric)
    return f"{info.title}{f' ({info.unit})' if info.unit else ''} {'↑' if info.higher_is_better else '↓'}"


def time_cells(material: Material, dataset: str, label: str) -> list[Cell]:
    """Seconds per image at batch 1 and at the best batch, with what each rests on."""
    record = material.timings.get(f"{label}-{dataset}")
    if record is None:
        return [Cell("not timed"), Cell("not timed")]
    batches = {b["size"]: b for b in record["batches"]}
    one, best = batches[1], batches[record["best_batch"]]
    return [
        Cell(seconds(one["total_s"]), f"{one['repetitions']}×"),
        Cell(seconds(best["total_s"]), f"batch {best['size']}, {best['repetitions']}×"),
    ]


def seconds(value: float) -> str:
    """Three significant digits; what is below a tenth of a millisecond is not worth more."""
    return f"{value:.3g}" if value >= 1e-4 else "< 0.0001"


def time_caption(material: Material) -> str:
    if not material.timings:
        return "Not timed (`bench time`)."
    record = next(iter(material.timings.values()))
    count = record["threads"]
    threads = f", {count} thread{'s' * (count != 1)}" if record["device"] == "cpu" else ""
    return (
        f"Time: median seconds per image of {record['clock']}; {record['device_name']}{threads}, "
        f"{record['precision']}; k× is the number of repetitions."
    )


def cap_notes(material: Material, dataset: str) -> list[str]:
    """How many pictures of each method sit on a metric's cap."""
    notes = []
    rows = material.scores.rows
    for metric, signature in material.signatures(dataset).items():
        if "cap=" not in signature:
            continue
        ideal = material.metric(metric).ideal
        part = rows[(rows["dataset"] == dataset) & (rows["metric"] == metric) & (rows["value"] >= ideal)]
        counts = part.groupby(["method", "variant"]).size()
        who = [f"{material.method(f'{m}.{v}' if v else m).title} {n:,}" for (m, v), n in counts.items()]
        title = material.metric(metric).title
        notes.append(
            f"{title} is capped at {ideal:g} for identical pictures; pictures at the cap: {', '.join(who) or 'none'}."
        )
    return notes


def set_notes(material: Material, dataset: str) -> list[str]:
    """What the intervals of set metrics are: not those of means."""
    of_sets = [m for m in material.metrics(dataset) if m not in material.picture_metrics(dataset)]
    names = ", ".join(material.metric(m).title for m in of_sets)
    return [f"{names}: of all n pictures as a set; 95 % jackknife interval over ten groups of pictures."] * bool(names)


def failure_notes(material: Material, dataset: str) -> list[str]:
    """Every run with failures, the first few by name."""
    notes = []
    for run_id, reasons in material.scores.failed().items():
        if run_id.endswith(f"-{dataset}"):
            named = "; ".join(f"{i}: {reason}" for i, reason in list(reasons.items())[:SHOWN_FAILURES])
            more = f"; and {len(reasons) - SHOWN_FAILURES} more" if len(reasons) > SHOWN_FAILURES else ""
            notes.append(f"{len(reasons)} failed in `{run_id}`: {named}{more}.")
    return notes


def signature_notes(material: Material, dataset: str) -> list[str]:
    """What each column is, to the letter."""
    return [f"{material.metric(m).title}: `{signature}`." for m, signature in material.signatures(dataset).items()]
