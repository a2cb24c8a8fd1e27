"""Figures of directions: what each does to each attribute, and strips of one picture moved along them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.report.style import drawing, save


def draw_entanglement(table: Mapping[str, Mapping[str, float]], path: Path, title: str) -> Path:
    """Heat map of direction (row) -> attribute (column) -> change in standard deviations for one degree."""
    with drawing():
        import matplotlib.pyplot as plt
        import seaborn as sns

        columns = list(next(iter(table.values())))
        values = np.array([[row[c] for c in columns] for row in table.values()])
        limit = float(np.abs(values).max())
        figure, ax = plt.subplots(figsize=(2.2 + 0.62 * len(columns), 1.6 + 0.4 * len(table)))
        sns.heatmap(
            values,
            ax=ax,
            cmap="vlag",
            vmin=-limit,
            vmax=limit,
            annot=True,
            fmt="+.2f",
            annot_kws={"size": 7},
            linewidths=0.5,
            xticklabels=columns,
            yticklabels=list(table),
            cbar_kws={"label": "change for one degree, s.d. of the attribute"},
        )
        ax.set(xlabel="attribute that changes", ylabel="direction moved along", title=title)
        ax.tick_params(length=0)
        plt.setp(ax.get_xticklabels(), rotation=40, ha="right")
        plt.setp(ax.get_yticklabels(), rotation=0)
        figure.tight_layout()
        return save(figure, path, dpi=130)


def draw_strips(rows: Mapping[str, np.ndarray], degrees: Sequence[float], path: Path, title: str) -> Path:
    """A row a direction, a column a degree.

    Args:
        rows: name -> (len(degrees), R, R, 3) uint8.
    """
    with drawing():
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(
            len(rows), len(degrees), figsize=(1.0 + 1.05 * len(degrees), 0.5 + 1.05 * len(rows)), squeeze=False
        )
        for line, (name, images) in zip(axes, rows.items(), strict=True):
            for ax, image in zip(line, images, strict=True):
                ax.imshow(image, interpolation="nearest")
                ax.set(xticks=[], yticks=[])
                for spine in ax.spines.values():
                    spine.set_visible(False)
            line[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for ax, degree in zip(axes[0], degrees, strict=True):
            ax.set_title(f"{degree:+g}" if degree else "0", fontsize=8)
        figure.suptitle(title, fontsize=9)
        figure.subplots_adjust(left=0.16, right=0.99, bottom=0.01, top=0.93, wspace=0.03, hspace=0.03)
        return save(figure, path, dpi=130)
