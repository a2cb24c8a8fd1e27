"""tables/steps.md and .tex, figures/steps.png: results after each step of the methods that come to theirs in steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.statistics import Statistics, statistics
from bench.report.layout import Cell, Table, decimals, interval, number
from bench.report.pages import write_pages
from bench.report.report_data import ReportData
from bench.report.style import drawing, save
from bench.report.tables import metric_head
from bench.store.steps import read_steps

if TYPE_CHECKING:
    import pandas as pd

MARKERS = "os^DvPX<>*"
CAPTION = (
    "Each metric after each step; bands: 95 % bootstrap interval of the mean. Pictures differ more than steps do: what "
    "a step brings, picture by picture, stands in tables/steps.md."
)


@dataclass(frozen=True)
class Curves:
    """Steps of a dataset.

    Args:
        values: (label, metric) -> image ids x steps, the same images in all, every value finite. asked: images scored.
    """

    values: dict[tuple[str, str], pd.DataFrame]
    asked: int

    @property
    def labels(self) -> list[str]:
        """Labels of methods that have a curve, in the report's order."""
        return list(dict.fromkeys(label for label, _ in self.values))

    @property
    def metrics(self) -> list[str]:
        """Ids of the metrics that were scored after each refinement step."""
        return list(dict.fromkeys(metric for _, metric in self.values))


def curves_of(report: ReportData, dataset: str) -> Curves | None:
    """What was scored of the report's methods and variants; None for nothing."""
    rows = read_steps(report.store, report.scope, report.rows(dataset), dataset)
    if rows is None:
        return None
    parts = rows.groupby(["label", "metric"], sort=False)
    tables = {key: part.pivot(index="image_id", columns="step", values="value") for key, part in parts}
    shared = [set(table.index[np.isfinite(table).all(axis=1)]) for table in tables.values()]
    ids = sorted(set.intersection(*shared))
    return Curves({key: table.loc[ids] for key, table in tables.items()}, rows["image_id"].nunique())


def write_steps(report: ReportData, folder: Path) -> list[Path]:
    """steps.md and .tex where results after each step were scored; otherwise nothing."""
    found = {dataset: curves for dataset in report.datasets if (curves := curves_of(report, dataset))}
    if not found:
        return []
    tables = [table for dataset, curves in found.items() for table in tables_of(report, dataset, curves)]
    return write_pages(folder, "steps", "Step by step", tables)


def tables_of(report: ReportData, dataset: str, curves: Curves) -> list[Table]:
    """Means after each step; and what each step but the first brings."""
    where, known = report.manifest(dataset).title or dataset, f"tab:{dataset}-steps"
    heads = ["n", *(metric_head(report, metric) for metric in curves.metrics)]
    resampled = f"95 % bootstrap intervals (BCa, {report.config.bootstrap:,} resamples of pictures)"
    caption = (
        f"Dataset `{dataset}`. The codes after each step, rendered and scored as results are; the last step is the "
        f"method's result. Means with {resampled}, over the first pictures that have a value of every metric after "
        "every step of every method (n)."
    )
    change = (
        f"The value after a step less that after the step before, picture by picture; means with {resampled}, over the "
        "same pictures."
    )
    after, gained = _groups(report, curves), _groups(report, curves, differences=True)
    left = curves.asked - len(next(iter(curves.values.values())))
    notes = [f"Left out: {left} of {curves.asked:,} pictures, without a value in one of the cells."] if left else []
    return [
        Table(f"After each step on {where}", caption, ["After step", *heads], after, notes, known),
        Table(f"What each step changes on {where}", change, ["Step", *heads], gained, [], f"{known}-change"),
    ]


def _groups(report: ReportData, curves: Curves, differences: bool = False) -> list[tuple[str, list[list[Cell]]]]:
    """A group for each method, a row for each step."""
    found = {key: measured(report, table, differences) for key, table in curves.values.items()}
    places = {
        metric: decimals(s.mean for (_, m), steps in found.items() if m == metric for s in steps.values())
        for metric in curves.metrics
    }
    groups = []
    for label in curves.labels:
        rows = []
        for step, first in found[label, curves.metrics[0]].items():
            name = f"{step - 1} → {step}" if differences else str(step)
            cells = [_cell(found[label, metric][step], places[metric], differences) for metric in curves.metrics]
            rows.append([Cell(name), Cell(f"{first.n:,}"), *cells])
        groups.append((report.method(label).title, rows))
    return groups


def measured(report: ReportData, table: pd.DataFrame, differences: bool = False) -> dict[int, Statistics]:
    """step -> statistics of its values, or of their differences from those of the step before."""
    chosen = table.diff(axis=1).iloc[:, 1:] if differences else table
    series = [chosen[step].to_numpy() for step in chosen]
    return dict(zip(chosen, statistics(series, report.config.bootstrap, report.config.seed), strict=True))


def _cell(found: Statistics, places: int, signed: bool) -> Cell:
    sign = "+" if signed and found.mean > 0 else ""
    return Cell(sign + number(found.mean, places), interval(found.ci_low, found.ci_high, places))


def write_step_figure(report: ReportData, dataset: str, folder: Path) -> list[tuple[str, Path]]:
    """(caption, steps.png) where any method has more than one step."""
    curves = curves_of(report, dataset)
    if curves is None or max(len(table.columns) for table in curves.values.values()) < 2:
        return []
    with drawing():
        return [(CAPTION, save(_draw(report, dataset, curves), folder / "steps.png", dpi=150))]


def _draw(report: ReportData, dataset: str, curves: Curves):
    """A panel for each metric, a line for each method."""
    import matplotlib.pyplot as plt
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    labels, metrics = curves.labels, curves.metrics
    columns = min(4, len(metrics))
    shape = (-(-len(metrics) // columns), columns)
    figure, axes = plt.subplots(*shape, figsize=(2.7 * columns + 0.4, 2.6 * shape[0] + 0.9), squeeze=False)
    colours = sns.color_palette("colorblind", len(labels))
    for metric, ax in zip(metrics, axes.flat, strict=False):
        for n, label in enumerate(labels):
            steps = measured(report, curves.values[label, metric])
            x, every = list(steps), list(steps.values())
            look = {"color": colours[n], "marker": MARKERS[n % len(MARKERS)], "markersize": 4}
            ax.plot(x, [s.mean for s in every], label=report.method(label).title, **look)
            low, high = [s.ci_low for s in every], [s.ci_high for s in every]
            ax.fill_between(x, low, high, color=colours[n], alpha=0.15, linewidth=0)
        ax.set_title(metric_head(report, metric))
        ax.set_xlabel("step")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(True)
        ax.set_axisbelow(True)
    for ax in axes.flat[len(metrics) :]:
        ax.set_visible(False)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper center", ncol=min(4, len(labels)), frameon=False)
    count = len(next(iter(curves.values.values())))
    figure.text(0.995, 0.005, f"{dataset}, n = {count:,}", ha="right", va="bottom", fontsize=8, color="0.3")
    figure.tight_layout(rect=(0, 0.02, 1, 0.93))
    return figure
