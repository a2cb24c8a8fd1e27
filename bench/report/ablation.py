"""Tables of ablations: each variant beside the method it varies, with paired differences on the images both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bench.analysis.score_table import wide
from bench.analysis.statistics import Statistics, statistics
from bench.edits.results import Edits
from bench.names import parse_label
from bench.report.edit_scores import Pairs, columns, edit_head, edit_pairs, edits_of
from bench.report.layout import Cell, Table, decimals, interval, number
from bench.report.pages import write_pages
from bench.report.report_data import ReportData
from bench.report.tables import metric_head

SEEDS = "seeds"  # group of variants that differ in nothing but the seed of their training
OF_EDITS = ("mae_face", "mae_rest", "leakage")  # measures of edits that stand behind the profile's metrics


def write_ablations(report: ReportData, folder: Path) -> list[Path]:
    """ablation.md and .tex in ``folder`` when there are ablations, measured or listed; otherwise nothing."""
    found = [tables_of(report, dataset) for dataset in report.datasets]
    tables = [table for some in found for table in some]
    if not tables:
        return []
    return write_pages(folder, "ablation", "Ablations", tables)


def tables_of(report: ReportData, dataset: str) -> list[Table]:
    """Inversion, edits and seeds of a dataset, as far as they were measured."""
    order = report.config.labels
    measured = sorted(report.ablations(dataset), key=lambda name: order.index(name) if name in order else len(order))
    absent = [name for name in report.unscored(dataset) if parse_label(name)[1]]
    if not measured and not absent:
        return []
    inverted, edited = inversions(report, dataset), edits_of(report, dataset)
    heads = {m: metric_head(report, m) for m in _scored(report, dataset, measured)}
    where = report.manifest(dataset).title or dataset
    tables = [_table(report, f"Ablations on {where}", _caption(report, dataset), heads, inverted, measured)]
    if absent:
        names = ", ".join(f"`{name}`" for name in absent)
        tables[0].notes.append(f"Listed in params.yaml, but without scores: {names}.")
    known = _edit_heads(report, edited)
    with_edits = [name for name in measured if name in edited and parse_label(name)[0] in edited]
    if with_edits:
        pairs = edit_pairs(edited)
        tables.append(_table(report, f"Edits on {where}", _edit_caption(report, dataset), known, pairs, with_edits))
    tables += _seed_tables(report, where, [(heads, inverted, measured), (known, edit_pairs(edited), with_edits)])
    for n, table in enumerate(tables):
        table.label = f"tab:{dataset}-ablation" + (f"-{n}" if n else "")
    return tables


def inversions(report: ReportData, dataset: str) -> Pairs:
    """Scores of reconstructions."""
    return lambda metric, labels: columns(wide(report.scores, dataset, metric), labels)


def _scored(report: ReportData, dataset: str, labels: Sequence[str]) -> list[str]:
    """Metrics of pictures that any of the variants has; the rate is a number of the method, not of a picture."""
    names = [m for m in report.picture_metrics(dataset) if not m.endswith("rate")]
    return [m for m in names if not labels or set(labels) & set(wide(report.scores, dataset, m))]


def _edit_heads(report: ReportData, edited: Mapping[str, Edits]) -> dict[str, str]:
    found = {m for one in edited.values() for m in one.rows.loc[one.rows["task"] == "edit", "metric"]}
    return {m: edit_head(report, m) for m in (*report.config.metrics, *OF_EDITS) if m in found}


def _caption(report: ReportData, dataset: str) -> str:
    return (
        f"Dataset `{dataset}`, protocol `{report.protocol}`. Means over the images a variant and its method both "
        f"have (n), that of the method over those all its variants have; behind them the mean difference "
        f"variant − method, image by image, with its {_interval(report)}."
    )


def _edit_caption(report: ReportData, dataset: str) -> str:
    return (
        f"Edited pictures of `{dataset}` against the exact target. The strength of each edit is matched for each "
        "variant to the same change of the attribute, on other pictures. A picture's value is the mean over the edits "
        f"that variant and method both reach; n pictures; differences variant − method with their "
        f"{_interval(report)}."
    )


def _interval(report: ReportData) -> str:
    return f"95 % bootstrap interval (BCa, {report.config.bootstrap:,} resamples of images)"


def _table(
    report: ReportData, title: str, caption: str, heads: Mapping[str, str], pairs: Pairs, variants: Sequence[str]
) -> Table:
    """A group for each method as it is, then one for each kind of variant, in the order of params.yaml."""
    groups: list[tuple[str, list[list[Cell]]]] = []
    for base in dict.fromkeys(parse_label(name)[0] for name in variants):
        own = [name for name in variants if parse_label(name)[0] == base]
        rows = dict(zip([base, *own], compared(report, base, own, list(heads), pairs), strict=True))
        method = report.method(base).title
        groups.append((method, [rows[base]]))
        kinds = {name: report.config.ablations[parse_label(name)[1]].group for name in own}
        for kind in dict.fromkeys(kinds.values()):
            groups.append((f"{method}: {kind}" * bool(kind), [rows[name] for name in own if kinds[name] == kind]))
    return Table(title, caption, ["Variant", "n", *heads.values()], groups)


def compared(
    report: ReportData, base: str, variants: Sequence[str], measures: Sequence[str], pairs: Pairs
) -> list[list[Cell]]:
    """Rows of one method: itself, then its variants."""
    rows = [[Cell("as it is"), Cell("")], *[[Cell(report.method(v).title), Cell("")] for v in variants]]
    for measure in measures:
        known = {name: found for name in variants if len(found := pairs(measure, [base, name]))}
        shared = pairs(measure, [base, *known])
        known = {base: shared if len(shared) else pairs(measure, [base]), **known}
        places = decimals(float(table[name].mean()) for name, table in known.items())
        for row, name in zip(rows, [base, *variants], strict=True):
            if name not in known or not len(known[name]):
                row.append(Cell("not scored"))
                continue
            row[1] = Cell(f"{len(known[name]):,}")
            text = number(float(known[name][name].mean()), places)
            row.append(Cell(text, "" if name == base else gain(difference(report, known[name], name, base), places)))
    return rows


def difference(report: ReportData, pairs: pd.DataFrame, name: str, base: str) -> Statistics:
    """Of ``name - base`` over images; ``pairs`` has a column of each."""
    values = (pairs[name] - pairs[base]).to_numpy()
    return statistics([values], report.config.bootstrap, report.config.seed)[0]


def gain(found: Statistics, places: int) -> str:
    """``+0.0031 [0.0028, 0.0034]``, one decimal more than the means have."""
    sign = "+" if found.mean > 0 else ""
    return f"{sign}{number(found.mean, places + 1)} {interval(found.ci_low, found.ci_high, places + 1)}".strip()


def _seed_tables(
    report: ReportData, where: str, parts: Sequence[tuple[Mapping[str, str], Pairs, Sequence[str]]]
) -> list[Table]:
    """How far trainings of one method that differ in their seed alone lie apart, in inversions and in edits."""
    groups: list[tuple[str, list[list[Cell]]]] = []
    for what, (heads, pairs, measured) in zip(("inversion", "edits"), parts, strict=True):
        seeds = [n for n in measured if report.config.ablations[parse_label(n)[1]].group == SEEDS]
        for base in dict.fromkeys(parse_label(name)[0] for name in seeds):
            labels = [base, *(name for name in seeds if parse_label(name)[0] == base)]
            rows = [row for m, head in heads.items() if (row := _spread(head, pairs, m, labels))]
            groups.append((f"{report.method(base).title}, {what}", rows))
    if not groups:
        return []
    caption = (
        "The same preset trained from other start values and orders of pictures. Means over the images all of them "
        "have; the spread is over trainings, so it bounds what a difference between two trainings can mean."
    )
    head = ["Measure", "Trainings", "n", "Values, the method's own first", "Mean", "Standard deviation", "Range"]
    return [Table(f"Seeds on {where}", caption, head, groups)]


def _spread(head: str, pairs: Pairs, measure: str, labels: Sequence[str]) -> list[Cell] | None:
    """A row over the trainings that have the measure, the method's own first; None with fewer than two."""
    labels = [label for label in labels if len(pairs(measure, [label]))]
    table = pairs(measure, labels)
    if len(labels) < 2 or not len(table):
        return None
    means = np.array([float(table[label].mean()) for label in labels])
    places = decimals(means) + 1
    values = ", ".join(number(v, places) for v in means)
    numbers = [float(means.mean()), float(means.std(ddof=1)), float(np.ptp(means))]
    texts = [number(numbers[0], places), *(number(v, places + 1) for v in numbers[1:])]
    return [Cell(t) for t in (head, str(len(labels)), f"{len(table):,}", values, *texts)]
