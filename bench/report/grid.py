"""The reconstruction grid: sources, every method's reconstruction, and where it differs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from bench.images import read_rgb
from bench.report.material import Material
from bench.report.pictures import choose_varied, difference, enlarge
from bench.report.style import drawing, save

IMAGES = 5
CELL = 256  # pixels on paper: pictures are enlarged by a whole factor to about this side
GAP, HEAD, SIDE, BAR = 8, 64, 44, 110


def write_grid(material: Material, dataset: str, path: Path, count: int = IMAGES) -> Path | None:
    """One block of two rows per picture: reconstructions above, absolute differences below, one colour scale for all.

    Methods that return every shown picture unchanged (a ceiling) have no column. Returns None where the
    methods share no image: then there is nothing to set side by side.
    """
    shared = material.shared_ids(dataset)
    if not shared:
        return None
    labels, prepared = material.labels(dataset), material.prepared(dataset)
    order = {image_id: n for n, image_id in enumerate(material.manifest(dataset).ids)}
    ids = choose_varied(sorted(shared, key=lambda i: order[i]), prepared.read, count)
    sources = [prepared.read(i) for i in ids]
    found = {(i, m): read_rgb(material.reconstruction(dataset, m, i), sources[0].shape[0]) for i in ids for m in labels}
    maps = {(i, m): difference(sources[n], found[i, m]) for n, i in enumerate(ids) for m in labels}
    exact = [m for m in labels if not any(maps[i, m].any() for i in ids)]  # a copy of the source needs no column
    labels = [m for m in labels if m not in exact] or labels
    titles = ["Source", *[material.method(m).title for m in labels]]
    shown = {key: value for key, value in maps.items() if key[1] in labels}
    with drawing():
        return save(_draw(ids, sources, labels, found, shown, titles), path)


def scale_of(maps: list[np.ndarray]) -> float:
    """Upper end of the colour scale: the 99.5th percentile over all maps, rounded up to 0.05; 0.05 at least."""
    top = float(np.quantile(np.concatenate([m.ravel() for m in maps]), 0.995))
    return min(1.0, max(0.05, math.ceil(top / 0.05 - 1e-9) * 0.05))


def _draw(ids, sources, labels, found, maps, titles):
    """The figure, laid out in pixels at 100 dpi so that every picture pixel is a whole number of figure pixels."""
    import matplotlib.pyplot as plt
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    factor = max(1, round(CELL / sources[0].shape[0]))
    cell = sources[0].shape[0] * factor
    block = 2 * cell + GAP // 2
    width = SIDE + len(titles) * (cell + GAP) + BAR
    height = HEAD + len(ids) * (block + 2 * GAP)
    figure = plt.figure(figsize=(width / 100, height / 100), dpi=100)
    norm = Normalize(0, scale_of(list(maps.values())))

    def place(column: int, top: int, array: np.ndarray, **how) -> None:
        left = SIDE + column * (cell + GAP)
        axes = figure.add_axes((left / width, 1 - (top + cell) / height, cell / width, cell / height))
        axes.imshow(array, interpolation="none", **how)
        axes.set_axis_off()

    for column, title in enumerate(titles):
        x = (SIDE + column * (cell + GAP) + cell / 2) / width
        figure.text(
            x, 1 - (HEAD - 12) / height, _wrap(title, cell), ha="center", va="bottom", fontsize=12, weight="bold"
        )
    for n, image_id in enumerate(ids):
        top = HEAD + n * (block + 2 * GAP)
        below = top + cell + GAP // 2
        place(0, top, enlarge(sources[n], factor))
        figure.text(
            14 / width, 1 - (top + cell / 2) / height, image_id, rotation=90, ha="left", va="center", color="0.3"
        )
        for column, label in enumerate(labels, start=1):
            place(column, top, enlarge(found[image_id, label], factor))
            place(column, below, np.kron(maps[image_id, label], np.ones((factor, factor))), cmap="magma", norm=norm)
        middle = (SIDE + cell / 2) / width
        note = "mean |difference|\n" + "\n".join(
            f"{t}: {maps[image_id, m].mean():.3f}" for m, t in zip(labels, titles[1:], strict=True)
        )
        figure.text(
            middle, 1 - (below + cell / 2) / height, note, ha="center", va="center", color="0.3", linespacing=1.6
        )
    tall = min(height - HEAD - 4 * GAP, 4 * cell)
    bar = figure.add_axes(((width - BAR + 16) / width, 1 - (HEAD + tall) / height, 18 / width, tall / height))
    colours = figure.colorbar(ScalarMappable(norm, "magma"), cax=bar, extend="max")
    colours.set_label("absolute difference, mean over channels (range 0 to 1)", fontsize=10)
    colours.outline.set_visible(False)
    return figure


def _wrap(title: str, width_px: int) -> str:
    """Break a title at spaces so that 12 pt bold letters (about 10 px) fit a column."""
    import textwrap

    return "\n".join(textwrap.wrap(title, max(8, width_px // 10)))
