"""tables/video.md and .tex, a figure over frames, and films side by side, from stored results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.statistics import CONFIDENCE, bootstrap_means, statistics
from bench.data.mosaic import board
from bench.data.video_files import write_gif, write_mp4
from bench.edits.strength import Matched
from bench.report.layout import Cell, Table, decimals, interval, number
from bench.report.pages import write_pages
from bench.report.report_data import ReportData
from bench.report.style import drawing, save
from bench.store.video import TITLES, Films, read_films

if TYPE_CHECKING:
    import pandas as pd

OVER_FRAMES = (("inversion", "mae"), ("inversion", "flicker"), ("inversion", "drift"), ("edit", "flicker"))
TASK_TITLES = {"inversion": "inversion", "edit": "edit"}
REFERENCE = {"inversion": ("source", "Source"), "edit": ("target", "Exact edit")}
CELL, SMALL = 192, 112  # px of a picture in the film and in the GIF


def films_of(report: ReportData) -> tuple[dict[str, Films], list[str]]:
    """Films in the order of the profile's rows; labels of those that are of other clips and cannot be compared."""
    found = read_films(report.store, report.scope)
    order = [label for label in report.config.labels if label in found]
    order += [label for label in found if label not in order]
    same = [label for label in order if _of(found[label]) == _of(found[order[0]])]
    return {label: found[label] for label in same}, [label for label in order if label not in same]


def _of(films: Films) -> tuple[str, str, str, float]:
    settings = films.record["settings"]
    return films.record["dataset"], films.record["ids_sha256"], settings["direction"], settings["change"]


def write_video(report: ReportData, folder: Path) -> tuple[list[Path], list[tuple[str, Path]]]:
    """Tables, films and figures, where clips were measured; otherwise nothing.

    Args:
        folder: of the report.
    Returns:
        Files to link to; (caption, file) of pictures to show.
    """
    films, others = films_of(report)
    (folder / "video").mkdir(parents=True, exist_ok=True)
    if not films:
        return [], []
    tables = [_table(report, films, task) for task in REFERENCE]
    tables[0].notes += [f"`{label}` is of other clips and was left out." for label in others]
    for task, table in zip(REFERENCE, tables, strict=True):
        table.label = f"tab:video-{task}"
    pages = write_pages(folder / "tables", "video", "Video", tables)
    with drawing():
        curves = save(_curves(report, films), folder / "figures" / "video_frames.png", dpi=150)
    count = len(next(iter(films.values())).record["ids"])
    bands = f"Measures over frames: means over {count} clips; bands: 95 % bootstrap over clips."
    written, shown = _films(report, films, folder / "video")
    return [*pages, *written], [(bands, curves), *shown]


def by_clip(films: Mapping[str, Films], task: str, metric: str) -> pd.DataFrame:
    """Clips x labels: means over the frames that all of these have a value for."""
    import pandas as pd

    series = {}
    for label, one in films.items():
        rows = one.rows[(one.rows["task"] == task) & (one.rows["metric"] == metric)]
        series[label] = rows.set_index(["clip", "image_id"])["value"]
    table = pd.DataFrame(series).dropna()
    return table.groupby(level="clip").mean() if len(table) else pd.DataFrame(columns=list(films), dtype=float)


def measures_of(films: Mapping[str, Films], task: str) -> list[str]:
    """Measures of a task that any row has: the profile's metrics, then the suite's own."""
    settings = next(iter(films.values())).record["settings"]
    have = {m for one in films.values() for m in one.rows.loc[one.rows["task"] == task, "metric"]}
    return [m for m in (*settings["metrics"], *TITLES) if m in have]


def head(report: ReportData, measure: str) -> str:
    """Title with the arrow of what is better."""
    info = None if measure in TITLES else report.metric(measure)
    title, higher = (info.title, info.higher_is_better) if info else TITLES[measure]
    return title if higher is None else f"{title} {'↑' if higher else '↓'}"


def _table(report: ReportData, films: Mapping[str, Films], task: str) -> Table:
    measures, labels = measures_of(films, task), list(films)
    columns = [_column(report, by_clip(films, task, m), labels, head(report, m)) for m in measures]
    rows = []
    for k, label in enumerate(labels):
        strength = [Cell(_strength(films[label]))] if task == "edit" else []
        rows.append([Cell(report.method(label).title), *strength, *(c[k] for c in columns)])
    some = next(iter(films.values()))
    kind, title = REFERENCE[task]
    reference = [_column(report, by_clip({"": some}, kind, m), [""], "")[0] for m in measures]
    rows.append([Cell(title), *([Cell("–")] if task == "edit" else []), *reference])
    heads = ["Method", *(["Degree"] if task == "edit" else []), *(head(report, m) for m in measures)]
    notes = _failed(films) if task == "inversion" else [_room(some)]
    name = "Inversions" if task == "inversion" else "Edits"
    return Table(name, _caption(report, some, task), heads, [("", rows)], notes)


def _strength(films: Films) -> str:
    return Matched.from_json(films.record["matched"]).told()


def _room(films: Films) -> str:
    left, total = len(films.record["no_room"]), sum(map(len, films.record["ids"].values()))
    return (
        f"{left} of {total} frames have no exact edit, as there is no room for the whole change or nothing of it is "
        "seen; they are left out of what is compared with it."
    )


def _failed(films: Mapping[str, Films]) -> list[str]:
    notes = []
    for label, one in films.items():
        if failed := one.record["failures"]:
            named = "; ".join(f"{i}: {why}" for i, why in list(failed.items())[:3])
            notes.append(f"`{label}` failed on {len(failed)} frames: {named}.")
    return notes


def _caption(report: ReportData, films: Films, task: str) -> str:
    settings, ids = films.record["settings"], films.record["ids"]
    frames = sorted({len(one) for one in ids.values()})
    clips = (
        f"{len(ids)} clips of `{films.record['dataset']}`, {' or '.join(str(n) for n in frames)} frames each. Means "
        "over clips of their means over frames, with 95 % intervals (BCa, "
        f"{report.config.bootstrap:,} resamples of whole clips: frames of one are not independent). "
    )
    if task == "inversion":
        return clips + (
            "Flicker: mean absolute change of the error (inversion minus source, range 0 to 1) from a frame to the "
            "next after motion; true motion is the renderer's, estimated is optical flow of the sources. Identity "
            "drift: 1 − cosine of each frame to the clip's first. Last row: the same of the sources themselves; their "
            "drift is the mark, their flicker is what a picture of one colour would have."
        )
    return clips + (
        f"{settings['direction']} {settings['change']:+g} at matched strength (as in editing.md), the same degree for "
        "all frames. Fidelity is to the exact edit of each frame, identity kept to the source. Flicker is that of edit "
        "minus inversion: what the edit itself adds; flicker of the edit's error is that of edit minus exact edit. "
        "Last row: exact edit minus source, which changes with pose and light and is the mark rather than 0."
    )


def _column(report: ReportData, table: pd.DataFrame, labels: list[str], title: str) -> list[Cell]:
    if not len(table):
        return [Cell("–") for _ in labels]
    config = report.config
    found = statistics([table[label].to_numpy() for label in labels], config.bootstrap, config.seed)
    places = decimals(one.mean for one in found)
    best = {"↑": max, "↓": min}.get(title[-1:], lambda means: None)([one.mean for one in found])
    return [
        Cell(number(one.mean, places), interval(one.ci_low, one.ci_high, places), len(found) > 1 and one.mean == best)
        for one in found
    ]


def over_frames(
    report: ReportData, films: Films, task: str, metric: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(frame numbers, mean over clips, low, high); frames that some clip has no value for are left out."""
    rows = films.rows[(films.rows["task"] == task) & (films.rows["metric"] == metric)]
    number_of = {i: n for ids in films.record["ids"].values() for n, i in enumerate(ids)}
    table = rows.assign(frame=rows["image_id"].map(number_of)).pivot(index="frame", columns="clip", values="value")
    table = table.dropna().sort_index()
    values = table.to_numpy()
    if not len(values):
        return (np.zeros(0),) * 4
    drawn = bootstrap_means(values, report.config.bootstrap, report.config.seed)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return table.index.to_numpy(), values.mean(1), low, high


def _curves(report: ReportData, films: Mapping[str, Films]):
    import matplotlib.pyplot as plt

    have = [(task, metric) for task, metric in OVER_FRAMES if metric in measures_of(films, task)]
    figure, axes = plt.subplots(1, len(have), figsize=(3.0 * len(have) + 0.4, 2.9), squeeze=False)
    for ax, (task, metric) in zip(axes[0], have, strict=True):
        for n, (label, one) in enumerate(films.items()):
            x, y, low, high = over_frames(report, one, task, metric)
            ax.plot(x, y, color=f"C{n}", linewidth=1.4, label=report.method(label).title)
            ax.fill_between(x, low, high, color=f"C{n}", alpha=0.12, linewidth=0)
        kind, title = REFERENCE[task]
        x, y, _, _ = over_frames(report, next(iter(films.values())), kind, metric)
        if len(x):
            ax.plot(x, y, color="0.3", linewidth=1.2, linestyle=":", label=title)
        ax.set_title(f"{head(report, metric)}: {TASK_TITLES[task]}", fontsize=9)
        ax.set_xlabel("frame")
        ax.set_ylim(bottom=0)
        ax.grid(True)
    handles = {name: h for ax in axes[0] for h, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="upper center", ncol=len(handles), frameon=False, fontsize=8)
    figure.tight_layout(rect=(0, 0, 1, 0.91))
    return figure


def _films(report: ReportData, films: Mapping[str, Films], folder: Path) -> tuple[list[Path], list[tuple[str, Path]]]:
    """An MP4 of each clip that all methods keep, and a GIF of the first."""
    some = next(iter(films.values()))
    shown = [clip for clip in some.record["shown"] if all(clip in one.record["shown"] for one in films.values())]
    written: list[Path] = []
    figures: list[tuple[str, Path]] = []
    for clip in shown:
        draw, fps = _drawer(report, films, clip), some.record["settings"]["fps"]
        count = len(some.record["ids"][clip])
        path = folder / f"{some.record['dataset']}_{clip}.mp4"
        write_mp4(path, (draw(n, CELL) for n in range(count)), fps)
        written.append(path)
        if not figures:
            gif = path.with_suffix(".gif")
            write_gif(gif, (draw(n, SMALL) for n in range(count)), fps)
            caption = f"Clip {clip}: source and exact edit, every method's inversion and edit (film: {path.name})."
            figures.append((caption, gif))
    return written, figures


def _drawer(report: ReportData, films: Mapping[str, Films], clip: str) -> Callable[[int, int], np.ndarray]:
    """(frame, side of a cell) -> board: source above its exact edit, then each method's inversion above its edit."""
    some = next(iter(films.values()))
    settings = some.record["settings"]
    upper = [some.frames(clip, "source"), *(one.frames(clip, "inversion") for one in films.values())]
    lower = [some.frames(clip, "target"), *(one.frames(clip, "edit") for one in films.values())]
    columns = ["Source, exact edit", *(report.method(label).title for label in films)]
    rows = ["inversion", f"{settings['direction']} {settings['change']:+g}"]

    def draw(n: int, side: int) -> np.ndarray:
        cells = [[None if frames is None else frames[n] for frames in line] for line in (upper, lower)]
        return board(cells, columns, rows, side)

    return draw
