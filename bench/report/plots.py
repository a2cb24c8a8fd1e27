"""How the values of each metric are spread over images; and the same as data for `dvc plots`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from bench.analysis.score_table import wide
from bench.report.report_data import ReportData
from bench.report.style import drawing, save
from bench.store.paths import write_json

QUANTILES = 101


def series(report: ReportData, dataset: str) -> tuple[pd.DataFrame, int]:
    """(rows label, metric, value on the images all methods have, their number); own images where none is shared."""
    shared = report.shared_ids(dataset)
    parts = []
    for metric in report.picture_metrics(dataset):
        table = wide(report.scores, dataset, metric)
        table = table.loc[shared] if shared else table
        for label in (name for name in report.labels(dataset) if name in table):
            values = table[label].dropna()
            parts.append(
                pd.DataFrame({"label": label, "metric": metric, "image_id": values.index, "value": values.values})
            )
    return pd.concat(parts, ignore_index=True), len(shared)


def write_plots(report: ReportData, dataset: str, stem: Path) -> list[Path]:
    """``stem``.png and .svg: one panel per metric, one violin with mean and interval per method."""
    rows, shared = series(report, dataset)
    spread = rows.groupby(["metric", "label"])["value"].agg(lambda v: float(v.max() - v.min()))
    drawn = [m for m in report.picture_metrics(dataset) if (spread[m] > 0).any()]
    if not drawn:
        return []
    written = []
    for suffix in (".png", ".svg"):
        with drawing():
            written.append(save(_draw(report, dataset, rows, spread, drawn, shared), stem.with_suffix(suffix), dpi=150))
    return written


def _draw(report, dataset, rows, spread, drawn, shared):
    import matplotlib.pyplot as plt
    import seaborn as sns

    labels = report.labels(dataset)
    columns = min(3, len(drawn))
    height = 0.9 + 0.42 * max(2, len(labels))
    shape = (math.ceil(len(drawn) / columns), columns)
    figure, axes = plt.subplots(
        *shape, figsize=(1.6 + 3.4 * columns, shape[0] * height + 0.5), squeeze=False, sharey=True
    )
    lines = report.lines(dataset, common=True) or report.lines(dataset)
    colours = dict(zip(labels, sns.color_palette("colorblind", len(labels)), strict=True))
    for metric, ax in zip(drawn, axes.flat, strict=False):
        varied = [name for name in labels if spread.get((metric, name), 0) > 0]
        part = rows[(rows["metric"] == metric) & rows["label"].isin(varied)]
        sns.violinplot(
            part,
            x="value",
            y="label",
            hue="label",
            order=labels,
            hue_order=labels,
            palette=colours,
            ax=ax,
            cut=0,
            inner=None,
            linewidth=0.6,
            density_norm="width",
            width=0.8,
            saturation=0.6,
            legend=False,
        )
        for place, name in enumerate(labels):
            line = lines.get((name, metric))
            if name in varied and line is not None:
                ax.errorbar(
                    line.mean,
                    place,
                    xerr=[[line.mean - line.ci_low], [line.ci_high - line.mean]],
                    fmt="D",
                    markersize=3.5,
                    color="black",
                    markerfacecolor="white",
                    markeredgewidth=0.8,
                    capsize=3,
                    linewidth=1,
                    zorder=5,
                )
            elif line is not None:
                ax.text(
                    0.02,
                    place,
                    f"always {line.mean:.4g}",
                    transform=ax.get_yaxis_transform(),
                    va="center",
                    color="0.4",
                    fontsize=8,
                )
        info = report.metric(metric)
        better = "higher is better" if info.higher_is_better else "lower is better"
        ax.set(title=f"{info.title}{f' ({info.unit})' if info.unit else ''}", xlabel=better, ylabel="")
        ax.set_yticks(range(len(labels)), [report.method(name).title for name in labels])
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.grid(axis="x")
        ax.set_axisbelow(True)
    for ax in axes.flat[len(drawn) :]:
        ax.set_visible(False)
    images = f"the {shared:,} images all methods have" if shared else "each method's own images"
    top = 1 - 0.35 / figure.get_figheight()  # the line keeps its room, however many rows of panels there are
    note = f"{dataset}: {images}. Diamond: mean with 95 % bootstrap interval"
    figure.suptitle(note, y=top, va="bottom", fontsize=9, color="0.3")
    figure.tight_layout(rect=(0, 0, 1, top))
    return figure


def write_plot_data(report: ReportData, folder: Path) -> list[Path]:
    """Small JSON files for ``dvc plots``.

    means.json: one record per dataset and method with a column per metric. per_image.json: the distribution of the
    profile's first metric over images, as QUANTILES points (value, fraction of images at or below it) per method.
    """
    means, spread = [], []
    for dataset in report.datasets:
        lines = report.lines(dataset)
        for label in report.labels(dataset):
            record = {"dataset": dataset, "method": label}
            found = {m: lines[label, m].mean for m in report.metrics(dataset) if (label, m) in lines}
            means.append(record | {m: value for m, value in found.items() if math.isfinite(value)})
        first = report.picture_metrics(dataset)[0]
        table = wide(report.scores, dataset, first)
        for label in (name for name in report.labels(dataset) if name in table):
            fractions = np.linspace(0, 1, QUANTILES)
            values = np.quantile(table[label].dropna(), fractions)
            spread += [
                {
                    "dataset": dataset,
                    "method": label,
                    "metric": first,
                    "value": float(f"{v:.6g}"),
                    "fraction": round(float(f), 4),
                }
                for v, f in zip(values, fractions, strict=True)
            ]
    write_json(folder / "means.json", means)
    write_json(folder / "per_image.json", spread)
    return [folder / "means.json", folder / "per_image.json"]
