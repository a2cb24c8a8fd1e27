"""Figures of rates: distortion against bits per pixel, and error of edits against distortion, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.names import label
from bench.report.rate_points import Rates, rates_of, title_of
from bench.report.report_data import ReportData
from bench.report.style import drawing, save
from bench.report.tables import metric_head
from bench.store.rate import EDIT, KEPT, SERIES

if TYPE_CHECKING:
    import pandas as pd

RATE, EDITED = "rate_distortion.png", "rate_distortion_edit.png"
MARKERS = "os^DvPX<>*"
CAPTIONS = {
    RATE: "Distortion against rate: one point for each step of quantisation; open points and thin lines: what is kept "
    "pooled at the finest step. Ringed: no other inversion has both fewer bits and less distortion. Grey: picture "
    "codecs, which cannot be edited.",
    EDITED: "Error of edits against their exact targets over distortion, from the same points; large points: numbers "
    "as they are. On the dotted line an edit adds nothing to the distortion. Ringed: no other inversion is as good in "
    "rate, distortion and edits together.",
}


class Line(NamedTuple):
    """One series. Args: key: of SERIES. points: its part of the table."""

    key: tuple[str, ...]
    title: str
    points: pd.DataFrame


def write_rate_figures(report: ReportData, dataset: str, folder: Path) -> list[tuple[str, Path]]:
    """(caption, file) of each figure for which there is something to show."""
    rates = rates_of(report, dataset)
    if rates is None or not len(rates.inversions):
        return []
    made = []
    with drawing():
        columns = panels(report, rates)
        made.append((CAPTIONS[RATE], save(_draw(report, rates, columns, rates.metrics, ""), folder / RATE, dpi=150)))
        edited = [metric for metric in rates.metrics if rates.edited(metric)]
        if edited:
            figure = _draw(report, rates, columns, edited, EDIT)
            made.append((CAPTIONS[EDITED], save(figure, folder / EDITED, dpi=150)))
    return made


def panels(report: ReportData, rates: Rates) -> dict[str, list[Line]]:
    """Title of a column -> its lines: methods; then, of those that have variants, all forms and variants.

    Controls are left out: a mean code has no rate to speak of and would stretch both axes.
    """
    lines = []
    for key, part in rates.inversions.groupby(SERIES, sort=False):
        if not report.method(label(key[1], key[2])).control:
            lines.append(Line(key, title_of(report, *key[1:]), part))
    bases = {line.key[1] for line in lines if line.key[2]}
    methods = [line for line in lines if not line.key[2]]
    variants = [line for line in lines if line.key[1] in bases and (line.key[2] == "" or line.key[3] == KEPT)]
    return {"Methods": methods} | ({"Variants": variants} if bases else {})


def _draw(report: ReportData, rates: Rates, columns: dict[str, list[Line]], metrics: list[str], of: str):
    """Rows: metrics; columns: panels. ``of``: "" for distortion against rate, EDIT for edits against distortion."""
    import matplotlib.pyplot as plt

    shape = (len(metrics), len(columns))
    figure, axes = plt.subplots(
        *shape, figsize=(0.6 + 4.4 * shape[1], 1.3 + 3.0 * shape[0]), squeeze=False, sharex=not of, sharey="row"
    )
    looks = looks_of(columns)
    for n, metric in enumerate(metrics):
        for (title, lines), ax in zip(columns.items(), axes[n], strict=True):
            for line in lines:
                draw = _edits if of else _rate
                draw(ax, line, metric, *looks[line.key])
            if of:
                ax.axline((0, 0), slope=1, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
            else:
                _codecs(report, rates, ax, metric)
                ax.set_xscale("log")
                ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            ax.grid(True)
            ax.set_axisbelow(True)
            ax.set_title(title if not n else "", loc="left")
            _name_axes(report, ax, metric, of, ax is axes[n][0], n == len(metrics) - 1)
    for ax in axes[-1]:
        handles, names = ax.get_legend_handles_labels()
        ax.legend(handles, names, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=2, frameon=False, fontsize=8)
    figure.tight_layout()
    return figure


def looks_of(columns: dict[str, list[Line]]) -> dict[tuple[str, ...], tuple]:
    """Colour and marker of each series: a method looks the same in every column, and no two in one column do."""
    import seaborn as sns

    colours, taken = sns.color_palette("colorblind", len(MARKERS)), {}
    for lines in columns.values():
        here = {taken[line.key] for line in lines if line.key in taken}
        free = [n for n in range(len(MARKERS)) if n not in taken.values()]
        free += [n for n in range(len(MARKERS)) if n not in here and n not in free]
        for line in (line for line in lines if line.key not in taken):
            taken[line.key] = free.pop(0) if free else 0
    return {key: (colours[n], MARKERS[n]) for key, n in taken.items()}


def _rate(ax, line: Line, metric: str, colour, marker: str) -> None:
    quantised = line.points[(line.points["codes_step"] > 0)].sort_values("bpp")
    swept, pooled = quantised[quantised["pool"] == 1], quantised[quantised["pool"] > 1]
    ax.plot(swept["bpp"], swept[metric], color=colour, marker=marker, markersize=4.5, label=line.title)
    if len(pooled):
        chain = _with_finest(swept, pooled)
        ax.plot(chain["bpp"], chain[metric], color=colour, linewidth=0.7, linestyle="--", zorder=1)
        ax.plot(pooled["bpp"], pooled[metric], color=colour, marker=marker, markerfacecolor="white", linestyle="")
    _ring(ax, quantised[quantised["front_rate"]], "bpp", metric)


def _edits(ax, line: Line, metric: str, colour, marker: str) -> None:
    points = line.points.dropna(subset=[EDIT + metric]).sort_values("bpp")
    if not len(points):
        return
    x, y = metric, EDIT + metric
    swept, pooled = points[points["pool"] == 1], points[points["pool"] > 1]
    ax.plot(swept[x], swept[y], color=colour, marker=marker, markersize=4.5, label=line.title)
    exact = swept[swept["codes_step"] == 0]
    ax.plot(exact[x], exact[y], color=colour, marker=marker, markersize=8, linestyle="")
    ax.plot(pooled[x], pooled[y], color=colour, marker=marker, markerfacecolor="white", markersize=4.5, linestyle="")
    _ring(ax, points[points["front_all"]], x, y)


def _with_finest(swept: pd.DataFrame, pooled: pd.DataFrame) -> pd.DataFrame:
    """The pooled points with the one they were pooled from, in order of bits."""
    import pandas as pd

    step = pooled["memory_step"].iloc[0]
    return pd.concat([pooled, swept[swept["memory_step"] == step]]).sort_values("bpp")


def _ring(ax, points: pd.DataFrame, x: str, y: str) -> None:
    look = {"markersize": 9.5, "markerfacecolor": "none", "markeredgecolor": "0.1", "markeredgewidth": 0.9}
    ax.plot(points[x], points[y], "o", **look)


def _codecs(report: ReportData, rates: Rates, ax, metric: str) -> None:
    for n, (key, part) in enumerate(rates.codecs.groupby(SERIES, sort=False)):
        part = part.sort_values("bpp")
        look = {"color": "0.55", "marker": ".", "linewidth": 1, "linestyle": ("-", "--", ":")[n % 3]}
        ax.plot(part["bpp"], part[metric], label=title_of(report, *key[1:]), zorder=1, **look)


def _name_axes(report: ReportData, ax, metric: str, of: str, first: bool, last: bool) -> None:
    head = metric_head(report, metric)
    if of:
        ax.set_xlabel(f"Distortion of the inversion: {head}")
        ax.set_ylabel(f"Edits: {head}" if first else "")
    else:
        ax.set_xlabel("bits per pixel" if last else "")
        ax.set_ylabel(head if first else "")
