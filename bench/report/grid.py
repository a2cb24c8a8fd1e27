"""The reconstruction grid: sources, every method's reconstruction, and where it differs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.files import read_rgb
from bench.report.pictures import choose_varied, difference, enlarge
from bench.report.report_data import ReportData
from bench.report.style import drawing, save

IMAGES = 8
CELL = 256  # pixels on paper: pictures are enlarged by a whole factor to about this side
ACROSS = 10  # pictures side by side: several blocks where methods are few
WIDTH = 2000  # and no enlargement beyond this width
GAP, HEAD, SIDE, BAR = 6, 68, 30, 110


@dataclass(frozen=True)
class Layout:
    """Where things stand, in pixels from the top left corner. A block is one source picture: two rows of cells.

    Args:
        images: number of blocks. columns: cells in a row of a block, the source's included. resolution: of a picture.
    """

    images: int
    columns: int
    resolution: int

    @property
    def across(self) -> int:
        """Blocks side by side: a divisor of their number, so that no place stays empty."""
        most = max(1, ACROSS // self.columns)
        return max(n for n in range(1, most + 1) if self.images % n == 0)

    @property
    def factor(self) -> int:
        """Of enlargement, a whole number."""
        fits = WIDTH // (self.across * self.columns * self.resolution)
        return max(1, min(round(CELL / self.resolution), fits))

    @property
    def cell(self) -> int:
        """Side of an image in the figure, in pixels."""
        return self.resolution * self.factor

    @property
    def block(self) -> tuple[int, int]:
        """(width, height) with the margins: image id on the left, gap below."""
        return SIDE + self.columns * (self.cell + GAP), 2 * self.cell + GAP // 2 + 3 * GAP

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the figure in pixels."""
        width, height = self.block
        return self.across * width + BAR, HEAD + self.images // self.across * height

    def place(self, image: int, column: int, below: bool = False) -> tuple[int, int]:
        """(left, top) of a cell."""
        width, height = self.block
        left = image % self.across * width + SIDE + column * (self.cell + GAP)
        return left, HEAD + image // self.across * height + below * (self.cell + GAP // 2)


def write_grid(report: ReportData, dataset: str, path: Path, count: int = IMAGES) -> Path | None:
    """Per picture: source and reconstructions, absolute differences below, one colour scale for all.

    Methods stand in the order of the table; controls have columns only where there is nothing else. Returns None where
    the methods share no image: then there is nothing to set side by side.
    """
    shared = report.shared_ids(dataset)
    if not shared:
        return None
    prepared = report.prepared(dataset)
    labels = [m for m in report.labels(dataset) if not report.method(m).control] or report.labels(dataset)
    order = {image_id: n for n, image_id in enumerate(report.manifest(dataset).ids)}
    ids = choose_varied(sorted(shared, key=lambda i: order[i]), prepared.read, count)
    sources = [prepared.read(i) for i in ids]
    found = {(i, m): read_rgb(report.reconstruction(dataset, m, i), sources[0].shape[0]) for i in ids for m in labels}
    maps = {(i, m): difference(sources[n], found[i, m]) for n, i in enumerate(ids) for m in labels}
    titles = ["Source", *[report.method(m).title for m in labels]]
    with drawing():
        return save(_draw(ids, sources, labels, found, maps, titles), path)


def scale_of(maps: list[np.ndarray]) -> float:
    """Upper end of the colour scale: the 99.5th percentile over all maps, rounded up to 0.05; 0.05 at least."""
    top = float(np.quantile(np.concatenate([m.ravel() for m in maps]), 0.995))
    return min(1.0, max(0.05, math.ceil(top / 0.05 - 1e-9) * 0.05))


def _draw(ids, sources, labels, found, maps, titles):
    """The figure, laid out in pixels at 100 dpi so that every picture pixel is a whole number of figure pixels."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import Normalize

    layout = Layout(len(ids), len(titles), sources[0].shape[0])
    width, height = layout.size
    figure = plt.figure(figsize=(width / 100, height / 100), dpi=100)
    norm = Normalize(0, scale_of(list(maps.values())))
    cell, factor = layout.cell, layout.factor

    def show(left: int, top: int, array: np.ndarray, **how) -> None:
        axes = figure.add_axes((left / width, 1 - (top + cell) / height, cell / width, cell / height))
        axes.imshow(array, interpolation="none", **how)
        axes.set_axis_off()

    def write(x: float, y: float, text: str, **how) -> None:
        figure.text(x / width, 1 - y / height, text, **how)

    size = 12 if cell >= 200 else 10
    for n, image_id in enumerate(ids):
        left, top = layout.place(n, 0)
        show(left, top, enlarge(sources[n], factor))
        write(left - 6, top + cell / 2, image_id, rotation=90, ha="right", va="center", color="0.3")
        note = "absolute\ndifference,\nits mean\nin the corner"
        write(left + cell - 4, top + 1.5 * cell, note, ha="right", va="center", color="0.3", fontsize=9)
        for column, label in enumerate(labels, start=1):
            show(*layout.place(n, column), enlarge(found[image_id, label], factor))
            left, below = layout.place(n, column, below=True)
            heat = maps[image_id, label]
            show(left, below, np.kron(heat, np.ones((factor, factor))), cmap="magma", norm=norm)
            box = {"facecolor": "black", "edgecolor": "none", "alpha": 0.6, "pad": 1.5}
            write(left + 6, below + cell - 6, f"{heat.mean():.3f}", color="white", fontsize=9, va="bottom", bbox=box)
        for column, title in enumerate(titles if n < layout.across else []):
            middle = layout.place(n, column)[0] + cell / 2
            write(middle, HEAD - 8, _wrap(title, cell, size), ha="center", va="bottom", fontsize=size, weight="bold")
    _colour_bar(figure, layout, norm)
    return figure


def _colour_bar(figure, layout: Layout, norm) -> None:
    """One scale for all maps, on the right of the first rows."""
    from matplotlib.cm import ScalarMappable

    width, height = layout.size
    tall = min(height - HEAD - 4 * GAP, 4 * layout.cell)
    bar = figure.add_axes(((width - BAR + 16) / width, 1 - (HEAD + tall) / height, 18 / width, tall / height))
    colours = figure.colorbar(ScalarMappable(norm, "magma"), cax=bar, extend="max")
    colours.set_label("absolute difference,\nmean over channels (range 0 to 1)", fontsize=10)
    colours.outline.set_visible(False)


def _wrap(title: str, width_px: int, size: int) -> str:
    """Break a title at spaces so that bold letters (about 0.85 px per point at 100 dpi) fit a column."""
    import textwrap

    return "\n".join(textwrap.wrap(title, max(8, int(width_px / (0.95 * size)))))
