"""Results of ``bench rate``: where they lie, how they are read, and means per operating point."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.config import LOCAL, Config
from bench.errors import DataError
from bench.images import atomic_write
from bench.rate import COLUMNS
from bench.store import RunStore

if TYPE_CHECKING:
    import pandas as pd

CODEC = "codec-"  # file names: no method is called so, as ids hold no "-"
POINT = ["dataset", "method", "variant", "form", "codes_step", "memory_step"]


def rate_dir(store: RunStore, scope: str) -> Path:
    return store.results / "rate" / scope


def rate_path(store: RunStore, config: Config, name: str, limit: int | None) -> Path:
    """File of a method's label or of ``codec-NAME``; any other number of pictures than the profile's is local."""
    return rate_dir(store, config.profile if limit is None else LOCAL) / f"{name}.parquet"


def write_rows(path: Path, table: pd.DataFrame, failures: Mapping[str, Mapping[str, str]]) -> None:
    """Parquet, with {dataset: {image_id: reason}} of failures in its metadata; equal tables are equal files."""
    table.attrs = {"failures": {name: dict(found) for name, found in failures.items()}}
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    atomic_write(path, buffer.getvalue())


def read_rows(folder: Path) -> pd.DataFrame | None:
    """All rows of a scope, None where nothing was measured.

    Raises:
        DataError: a file that cannot be read.
    """
    import pandas as pd

    tables = []
    for path in sorted(folder.glob("*.parquet")):
        try:
            tables.append(pd.read_parquet(path)[COLUMNS])
        except (OSError, ValueError, KeyError) as error:
            got = " ".join(str(error).split())[:200]
            fix = "delete it and run `bench rate` again"
            raise DataError(f"rate file {path} cannot be read", got=got, fix=fix) from None
    for table in tables:
        table.attrs = {}
    return pd.concat(tables, ignore_index=True) if tables else None


def points(rows: pd.DataFrame, pixels: Mapping[str, int]) -> pd.DataFrame:
    """Means over pictures: a line for each operating point, in the order of the files.

    Args:
        pixels: dataset -> pixels of a picture.
    Returns:
        POINT, n, bpp (bits per pixel), side (share of side information), floats, and a column for each measure, those
        of edits called ``task:metric``.
    """
    inverted = rows["task"].isin(["rate", "inversion"])
    named = rows.assign(measure=rows["metric"].where(inverted, rows["task"] + ":" + rows["metric"]))
    table = named.pivot_table(index=POINT, columns="measure", values="value", aggfunc="mean", sort=False)
    table["n"] = rows.groupby(POINT, sort=False)["image_id"].nunique()
    table = table.reset_index()
    table.columns.name = None
    table["bpp"] = table["bits"] / table["dataset"].map(pixels)
    table["side"] = table["side_bits"] / table["bits"] if "side_bits" in table else np.nan
    return table


def pareto(costs: Sequence[float], losses: Sequence[float]) -> np.ndarray:
    """(N,) bool: no other point is as good in both and better in one. NaN is on no front."""
    pairs = np.stack([np.asarray(costs, float), np.asarray(losses, float)], 1)
    front = np.isfinite(pairs).all(1)
    for n, pair in enumerate(pairs):
        other = pairs[(pairs <= pair).all(1) & (pairs < pair).any(1)]
        front[n] &= not len(other)
    return front
