"""Figures of edits as data: rows and columns stand in results/reference/figures.yaml, stages kept the pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from bench.edits.results import Edits
from bench.files import read_rgb, read_yaml
from bench.report.edit_scores import edits_of
from bench.report.pictures import difference, enlarge
from bench.report.reference import RESTORE
from bench.report.report_data import ReportData
from bench.report.style import drawing, save

FIGURES_FILE = "figures.yaml"
CELL = 256  # pixels on paper, of pictures enlarged by a whole factor to about this side
GAP, HEAD, SIDE = 6, 62, 62
FOOT = 34


class Column(BaseModel):
    """What a column shows, of which row of the tables ("" where that makes no difference), under which title."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    show: Literal["source", "target", "inversion", "edit", "distortion"]
    of: str = ""
    title: str


class FigurePlan(BaseModel):
    """One figure; see the head of figures.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    caption: str
    rows: int = Field(default=6, ge=1)
    directions: list[str] = Field(min_length=1)
    columns: list[Column] = Field(min_length=1)


class FiguresFile(BaseModel):
    """The file: name of a figure -> its plan."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    figures: dict[str, FigurePlan]


@dataclass(frozen=True)
class GridCell:
    """A picture (R, R, 3) uint8 and, where there is something to be compared with, its mean absolute error."""

    picture: np.ndarray
    error: float | None = None


def write_planned_figures(report: ReportData, dataset: str, folder: Path, reference: Path) -> list[tuple[str, Path]]:
    """(caption, file) of every figure of figures.yaml whose columns were all measured on the dataset."""
    if not (reference / FIGURES_FILE).is_file():
        return []
    edits = edits_of(report, dataset)
    files = []
    for name, plan in read_yaml(reference / FIGURES_FILE, FiguresFile, fix=RESTORE).figures.items():
        if rows := rows_of(plan, edits):
            with drawing():
                path = save(
                    _draw(cells_of(plan, edits, rows), [_name(*row) for row in rows], plan), folder / f"{name}.png"
                )
            files.append((plan.caption, path))
    return files


def rows_of(plan: FigurePlan, edits: Mapping[str, Edits]) -> list[tuple[str, str]]:
    """(image id, edit) of the rows, directions in the plan's order, each as often as there is room; [] if a column's
    edits were not scored. Pictures that some column lacks, because its method does not reach the change, count too.
    """
    labels = {column.of for column in plan.columns if column.of}
    if not labels or labels - set(edits):
        return []
    shown = sorted({row for label in labels for row in edits[label].record["shown"].items()})
    of = {edit: re.split(r"(?=[+-][0-9.]+$)", edit)[0] for _, edit in shown}  # smile+0.3
    by = {name: [row for row in shown if of[row[1]] == name] for name in plan.directions}
    turns = [row for turn in zip_longest(*by.values()) for row in turn if row is not None]
    return sorted(turns[: plan.rows], key=lambda row: (plan.directions.index(of[row[1]]), row))


def cells_of(
    plan: FigurePlan, edits: Mapping[str, Edits], rows: Sequence[tuple[str, str]]
) -> list[list[GridCell | None]]:
    """The pictures of a figure, row by row."""
    labels = list(dict.fromkeys(column.of for column in plan.columns if column.of))
    return [[cell(column, edits, labels, *row) for column in plan.columns] for row in rows]


def _name(image_id: str, edit: str) -> str:
    """``mouth open +0.3`` above the picture's id."""
    direction, change = re.split(r"(?=[+-][0-9.]+$)", edit)
    return f"{direction.replace('_', ' ')} {change.replace('-', '−')}\n{image_id}"


def cell(
    column: Column, edits: Mapping[str, Edits], labels: Sequence[str], image_id: str, edit: str
) -> GridCell | None:
    """The picture of one column; inversions carry their error against the source, edits against the exact target.

    Args:
        labels: rows of the tables in the figure, any of which has a column's source and target.
    Returns:
        None where the method does not reach the edit.
    """
    having = [label for label in labels if edits[label].record["shown"].get(image_id) == edit]
    if column.of and column.of not in having:
        return None
    some = edits[column.of or having[0]]
    if column.show in ("source", "target"):
        return GridCell(read_rgb(some.picture(column.show, image_id)))
    if column.show == "edit":
        picture, meant = (read_rgb(some.picture(kind, image_id)) for kind in ("edit", "target"))
        return GridCell(picture, float(difference(meant, picture).mean()))
    picture, source = (read_rgb(some.picture(kind, image_id)) for kind in ("inversion", "source"))
    if column.show == "inversion":
        return GridCell(picture, float(difference(source, picture).mean()))
    signed = source.astype(np.int16) - picture + 128
    return GridCell(np.clip(signed, 0, 255).astype(np.uint8))


def _draw(rows: Sequence[Sequence[GridCell | None]], names: Sequence[str], plan: FigurePlan):
    """Laid out in pixels at 100 dpi, so that every pixel of a picture is a whole number of the figure's."""
    import textwrap

    import matplotlib.pyplot as plt

    side = next(one.picture.shape[0] for one in rows[0] if one is not None)
    factor = max(1, round(CELL / side))
    shown = side * factor
    width, height = SIDE + len(plan.columns) * (shown + GAP), HEAD + len(rows) * (shown + GAP) + FOOT
    figure = plt.figure(figsize=(width / 100, height / 100), dpi=100)

    def write(x: float, y: float, text: str, **how) -> None:
        figure.text(x / width, 1 - y / height, text, **how)

    for n, (name, cells) in enumerate(zip(names, rows, strict=True)):
        top = HEAD + n * (shown + GAP)
        write(SIDE / 2, top + shown / 2, name, rotation=90, ha="center", va="center", color="0.2", fontsize=11)
        for k, one in enumerate(cells):
            left = SIDE + k * (shown + GAP)
            if one is None:
                middle = (left + shown / 2, top + shown / 2)
                write(*middle, "change not reached", ha="center", va="center", color="0.45", fontsize=11)
                continue
            place = (left / width, 1 - (top + shown) / height, shown / width, shown / height)
            axes = figure.add_axes(place)
            axes.imshow(enlarge(one.picture, factor), interpolation="none")
            axes.set_axis_off()
            if one.error is not None:
                box = {"facecolor": "black", "edgecolor": "none", "alpha": 0.55, "pad": 1.5}
                write(left + 6, top + shown - 6, f"{one.error:.3f}", color="white", fontsize=9, va="bottom", bbox=box)
    for k, column in enumerate(plan.columns):
        title = "\n".join(textwrap.wrap(column.title, 18))
        middle = SIDE + k * (shown + GAP) + shown / 2
        write(middle, HEAD - 8, title, ha="center", va="bottom", fontsize=13, weight="bold")
    note = "In corners: mean absolute error (0 to 1), of inversions against the source, of edits against the target."
    write(SIDE, height - 10, note, ha="left", va="bottom", fontsize=10, color="0.3")
    return figure
