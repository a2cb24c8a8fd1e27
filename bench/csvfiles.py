"""The one way CSV files are written and read here: whole or not at all, quoted where needed, ``\\n`` at line ends."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.errors import DataError
from bench.images import atomic_write


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a head line and rows, atomically; None becomes an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    atomic_write(path, text.getvalue())


def read_rows(path: Path, needed: Sequence[str], what: str, fix: str) -> list[dict[str, str]]:
    """The rows as mappings, without empty fields and without fields that have no column.

    Args:
        needed: columns that must be there. what, fix: for messages.
    Raises:
        DataError: the file cannot be read, is no CSV in UTF-8, or lacks a column.
    """
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = list(reader.fieldnames or [])
            rows = [{k: v for k, v in row.items() if k is not None and v not in (None, "")} for row in reader]
    except (OSError, ValueError, csv.Error) as error:  # ValueError: not UTF-8
        raise DataError(
            f"{what} {path} cannot be read", got=str(error), expected=f"CSV with columns {','.join(needed)}", fix=fix
        ) from None
    if not set(needed) <= set(columns):
        got = ",".join(columns)[:200] or "nothing"
        raise DataError(f"{what} {path} lacks columns", got=got, expected=",".join(needed), fix=fix)
    return rows
