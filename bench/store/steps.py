"""Scores after each step of a run, ``steps.parquet`` beside its set metrics: a row per image, step and metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import DataError
from bench.files import read_table, write_table
from bench.names import config_hash, parse_label

if TYPE_CHECKING:
    import pandas as pd

    from bench.store.paths import RunStore

COLUMNS = ["dataset", "method", "variant", "image_id", "step", "metric", "signature", "value"]
FIX = "run `bench score` again"


def steps_path(store: RunStore, scope: str, name: str, dataset: str) -> Path:
    """File of one method or variant (``method.variant``)."""
    return store.sets_dir(scope, name, dataset) / "steps.parquet"


def write_steps(path: Path, rows: pd.DataFrame, state: str) -> None:
    """Write rows (COLUMNS, ``step`` from 1) and the state of the run they are of; equal rows are equal files."""
    table = rows[COLUMNS].reset_index(drop=True)
    table.attrs = {"state": state}
    write_table(path, table)


def read_steps(store: RunStore, scope: str, names: Sequence[str], dataset: str) -> pd.DataFrame | None:
    """Rows of all of ``names`` that have any, in that order; None where nobody has.

    Raises:
        DataError: a file that cannot be read or belongs to another state of its run; a metric under two signatures.
    """
    import pandas as pd

    tables, signatures = [], {}
    for name in names:
        path = steps_path(store, scope, name, dataset)
        if not path.is_file():
            continue
        table = read_table(path, COLUMNS, "scores of steps", fix=FIX)
        method, variant = parse_label(name)
        if table.attrs.get("state") != config_hash(store.run(scope, method, dataset, variant).read()):
            raise DataError(f"scores of steps {path} belong to another state of the run", fix=FIX)
        _check_signatures(name, table, signatures)
        table.attrs = {}
        tables.append(table.assign(label=name))
    return pd.concat(tables, ignore_index=True) if tables else None


def _check_signatures(name: str, table: pd.DataFrame, seen: dict[str, tuple[str, str]]) -> None:
    for metric, signature in dict(zip(table["metric"], table["signature"], strict=True)).items():
        first = seen.setdefault(metric, (signature, name))
        if first[0] != signature:
            raise DataError(
                f"scores of {metric} after each step follow different protocols",
                got=f"{first[0]} of {first[1]}; {signature} of {name}",
                expected="one signature",
                fix="run `bench score` again for all methods",
            )
