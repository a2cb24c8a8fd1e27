"""Figures of edits: curves of what an edit costs, and stored pictures laid out as Figs. 5 and 22 of the paper."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np

from bench.analysis.statistics import CONFIDENCE, bootstrap_means
from bench.edits.results import Edits
from bench.files import read_rgb
from bench.report.edit_tables import fixed, jump, methods_of
from bench.report.pictures import enlarge
from bench.report.report_data import ReportData
from bench.report.style import drawing, save

CURVES = {"identity": "Identity kept", "background_drift": "Background moved by the edit"}
GAP, HEAD, SIDE, WIDTH = 6, 64, 40, 2400
SWEPT = ("smile", "yaw", "age")  # first in the sweep figure, if they were shown; others follow


def write_edit_figures(report: ReportData, dataset: str, folder: Path) -> list[tuple[str, Path]]:
    """(caption, file) of each figure for which there is something to show."""
    edits = methods_of(report, dataset)
    if not edits:
        return []
    made = []
    with drawing():
        if not fixed(edits):
            caption = "Identity and background against the attribute's change, over degrees; bands: 95 % bootstrap."
            made.append((caption, save(_curves(report, edits), folder / "editing_curves.png", dpi=150)))
        if shown := _shown(edits):
            caption = "Inversions and edits at matched strength, with the exact target (laid out as Fig. 5)."
            if fixed(edits):
                caption = "Inversions and edits at the same degrees (laid out as Fig. 5)."
            made.append((caption, save(_grid(report, edits, shown), folder / "fig5.png")))
            caption = "Sweeps along a direction, degree by degree (laid out as Fig. 22)."
            made.append((caption, save(_sweeps(report, edits, shown), folder / "fig22.png")))
    return made


def _shown(edits: Mapping[str, Edits]) -> dict[str, str]:
    """Image id -> edit that every method has a picture of."""
    every = [one.record["shown"] for one in edits.values()]
    return {i: edit for i, edit in every[0].items() if all(other.get(i) == edit for other in every)}


def _curves(report: ReportData, edits: Mapping[str, Edits]):
    import matplotlib.pyplot as plt

    some = next(iter(edits.values()))
    names = list(some.matched)
    measures = [m for m in CURVES if m in set(some.rows.loc[some.rows["task"] == "curve", "metric"])]
    shape = (len(measures), len(names))
    figure, axes = plt.subplots(*shape, figsize=(2.5 * shape[1] + 0.6, 2.2 * shape[0] + 0.7), squeeze=False)
    counts: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for column, name in enumerate(names):
        direction = {e["name"]: e["direction"] for e in some.record["edits"]}[name]
        for row, measure in enumerate(measures):
            ax = axes[row, column]
            for n, (label, one) in enumerate(edits.items()):
                x, y, low, high, count = curve(report, one, direction, one.matched[name].change, measure)
                counts[row, column].add(count)
                if not count:
                    continue
                ax.plot(x, y, color=f"C{n}", marker="o", markersize=3, label=report.method(label).title)
                ax.fill_between(x, low, high, color=f"C{n}", alpha=0.15, linewidth=0)
            mark = abs(some.matched[name].judged)
            ax.axvline(mark, color="0.6", linewidth=0.8, linestyle=":")
            ax.grid(True)
            ax.set_ylabel(CURVES[measure] if not column else "")
            ax.set_title(f"{name if not row else ''} (n = {_span(counts[row, column])})".strip(), fontsize=9)
            if row == len(measures) - 1:
                ax.set_xlabel("change of the attribute")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper center", ncol=len(edits), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    return figure


def curve(
    report: ReportData, one: Edits, direction: str, change: float, measure: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Mean change (towards the one asked for), mean of a measure and its interval, at each degree from 0 on; and n.

    Over the pictures that have both at every degree: a picture without background has none to be measured in.
    """
    rows = one.rows[(one.rows["task"] == "curve") & (one.rows["direction"] == direction)]
    rows = rows[(rows["change"] == change) & rows["metric"].isin([measure, "change"])]
    table = rows.pivot(index="image_id", columns=["metric", "degree"], values="value").dropna()
    degrees = sorted(set(rows["degree"]), key=abs)
    if not len(table):
        return (np.empty(0),) * 4 + (0,)
    values = np.stack([table[measure, d].to_numpy() for d in degrees])
    x = np.array([float(table["change", d].mean()) for d in degrees]) * np.sign(change)
    drawn = bootstrap_means(values, report.config.bootstrap, report.config.seed)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return x, values.mean(1), low, high, len(table)


def _span(counts: set[int]) -> str:
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def _grid(report: ReportData, edits: Mapping[str, Edits], shown: Mapping[str, str]):
    """Rows: pictures. Columns: source, then inversion and edit of each method, then the exact target."""
    some = next(iter(edits.values()))
    columns = [("Source", some, "source")]
    for label, one in edits.items():
        title = report.method(label).title
        columns += [(f"{title}\ninversion", one, "inversion"), (f"{title}\nedit", one, "edit")]
    if all(some.picture("target", i).is_file() for i in shown):
        columns.append(("Exact\ntarget", some, "target"))
    cells = [[read_rgb(one.picture(kind, i)) for _, one, kind in columns] for i in shown]
    return _pictures(cells, [f"{edit}\n{i}" for i, edit in shown.items()], [title for title, _, _ in columns])


def _sweeps(report: ReportData, edits: Mapping[str, Edits], shown: Mapping[str, str]):
    """Three pictures; for each a row per method, columns from one end of the direction to the other."""
    order = sorted(shown, key=lambda i: next((n for n, d in enumerate(SWEPT) if shown[i].startswith(d)), len(SWEPT)))
    settings = next(iter(edits.values())).record["settings"]
    limit, frames, unit = settings["degrees"][-1], settings["frames"], ""
    if fixed(edits):
        limit, unit = 1.0, "×"  # of the degree that each edit has
    cells, names = [], []
    for i in order[:3]:
        for label, one in edits.items():
            strip = read_rgb(one.picture("sweep", i))
            side = strip.shape[0]
            cells.append([strip[:, k * side : (k + 1) * side] for k in range(frames)])
            direction = {e["name"]: e["direction"] for e in one.record["edits"]}[shown[i]]
            names.append(f"{direction}\n{report.method(label).title}")
    note = "Largest mean absolute difference of neighbouring frames, over the sweeps that all have: " + "; ".join(
        f"{report.method(label).title} {largest} ({median})" for label, (largest, median) in jump(edits).items()
    )
    return _pictures(cells, names, [f"{d:+.1f}{unit}" if d else "0" for d in np.linspace(-limit, limit, frames)], note)


def _pictures(cells: Sequence[Sequence[np.ndarray]], names: Sequence[str], titles: Sequence[str], note: str = ""):
    """A grid in pixels at 100 dpi, so that every pixel of a picture is a whole number of the figure's."""
    import matplotlib.pyplot as plt

    side = cells[0][0].shape[0]
    factor = max(1, min(round(192 / side), WIDTH // (len(titles) * side)))
    step = side * factor + GAP
    width = SIDE + len(titles) * step
    lines = wrap(note, (width - SIDE) // 8)  # pixels of a letter at most
    height = HEAD + len(cells) * step + (14 + 18 * len(lines) if note else 0)
    figure = plt.figure(figsize=(width / 100, height / 100), dpi=100)
    for n, row in enumerate(cells):
        top = HEAD + n * step
        middle = 1 - (top + (step - GAP) / 2) / height
        figure.text((SIDE - 4) / width, middle, names[n], rotation=90, ha="right", va="center", fontsize=9, color="0.2")
        for k, picture in enumerate(row):
            place = ((SIDE + k * step) / width, 1 - (top + step - GAP) / height)
            axes = figure.add_axes((*place, (step - GAP) / width, (step - GAP) / height))
            axes.imshow(enlarge(picture, factor), interpolation="none")
            axes.set_axis_off()
    for k, title in enumerate(titles):
        at = (SIDE + k * step + (step - GAP) / 2) / width
        figure.text(at, 1 - (HEAD - 8) / height, title, ha="center", va="bottom", fontsize=11, weight="bold")
    if note:
        figure.text(SIDE / width, 8 / height, "\n".join(lines), ha="left", va="bottom", fontsize=10, color="0.3")
    return figure
