"""Results of ``bench rate``: results/rate/<scope>/<method[.variant]>.parquet and codec-<name>.parquet, tidy rows.

A row is one value of one picture at one operating point. Tasks: ``rate`` (floats, bits, side_bits), ``inversion``
(against the source), ``edit`` (against the exact target of the edit that is named).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.files import read_table, write_table
from bench.store.paths import RunStore

if TYPE_CHECKING:
    import pandas as pd

CODEC = "codec-"  # file names: no method is called so, as ids hold no "-"
CODEC_TITLES = {"jpeg": "JPEG", "webp": "WebP"}
KEPT, MAPS, FILE = "kept", "latent maps", "file"  # forms: the method's own inversion; maps in place of its memory
SERIES = ["dataset", "method", "variant", "form"]
POINT = [*SERIES, "codes_step", "memory_step", "pool"]
COLUMNS = [*POINT, "image_id", "task", "edit", "metric", "value"]
EDIT, OVER = "edit:", "over:"  # before a metric: of edits against their targets; that less the inversion's own


def rate_dir(store: RunStore, scope: str) -> Path:
    """Folder of a scope's rate-distortion results."""
    return store.results / "rate" / scope


def rate_path(store: RunStore, scope: str, name: str) -> Path:
    """File of a method's label or of ``codec-NAME`` in a scope."""
    return rate_dir(store, scope) / f"{name}.parquet"


def write_rows(path: Path, tables: Sequence[pd.DataFrame], failures: Mapping[str, Mapping[str, str]]) -> None:
    """Parquet, with {dataset: {image_id: reason}} of failures in its metadata; equal tables are equal files."""
    import pandas as pd

    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
    table.attrs = {"failures": {name: dict(found) for name, found in failures.items()}}
    write_table(path, table)


def read_rows(folder: Path) -> pd.DataFrame | None:
    """All rows of a scope, None where nothing was measured.

    Raises:
        DataError: a file that cannot be read.
    """
    import pandas as pd

    fix = "delete it and run `bench rate` again"
    tables = [read_table(path, COLUMNS, "rate file", fix=fix) for path in sorted(folder.glob("*.parquet"))]
    for table in tables:
        table.attrs = {}
    tables = [table for table in tables if len(table)]  # empty: the profile asks for no rates
    return pd.concat(tables, ignore_index=True) if tables else None


def reached(rows: pd.DataFrame) -> list[str]:
    """Edits that every method and form has, of those that have any, in the order of the rows."""
    edited = rows[rows["task"] == "edit"]
    found = [set(part["edit"]) for _, part in edited.groupby(SERIES, sort=False)]
    return [name for name in dict.fromkeys(edited["edit"]) if all(name in one for one in found)]


def per_picture(rows: pd.DataFrame, edits: Sequence[str]) -> pd.DataFrame:
    """A line for each operating point and picture, in the order of the rows.

    Args:
        edits: a picture's error of edits is the mean over those of them that it has.
    Returns:
        index POINT and image_id; floats, bits, side_bits and each metric; ``edit:METRIC``, ``over:METRIC``.
    """
    rows = rows[rows["task"].ne("edit") | rows["edit"].isin(edits)]
    named = rows.assign(measure=rows["metric"].where(rows["task"] != "edit", EDIT + rows["metric"]))
    index = [*POINT, "image_id"]
    table = named.pivot_table(index=index, columns="measure", values="value", aggfunc="mean", sort=False)
    table.columns.name = None
    for name in [c for c in table if c.startswith(EDIT)]:
        metric = name.removeprefix(EDIT)
        table[OVER + metric] = table[name] - table[metric]
    return table


def points(rows: pd.DataFrame, pixels: Mapping[str, int]) -> pd.DataFrame:
    """Means over pictures: a line for each operating point, in the order of the files.

    Args:
        pixels: dataset -> pixels of a picture.
    Returns:
        POINT, n, bpp (bits per pixel), side (share of side information), and the columns of
        :func:`per_picture` for the edits that all reach.
    """
    grouped = per_picture(rows, reached(rows)).groupby(level=POINT, sort=False)
    table = grouped.mean().join(grouped.size().rename("n"))
    table = rows[POINT].drop_duplicates().merge(table.reset_index(), on=POINT)
    table["bpp"] = table["bits"] / table["dataset"].map(pixels)
    table["side"] = table["side_bits"] / table["bits"] if "side_bits" in table else np.nan
    return table


def pareto(*criteria: Sequence[float]) -> np.ndarray:
    """(N,) bool: no other point is as good in all criteria and better in one; less is better. NaN is on no front."""
    points = np.stack([np.asarray(one, float) for one in criteria], 1)
    front = np.isfinite(points).all(1)
    for n, point in enumerate(points):
        front[n] &= not ((points <= point).all(1) & (points < point).any(1)).any()
    return front
