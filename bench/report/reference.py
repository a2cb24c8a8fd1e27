"""Read results/reference/: published numbers (*.csv), shown beside the measured ones and never mixed with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.errors import DataError, message_of
from bench.report.layout import Cell, Table

COLUMNS = ["source", "certainty", "dataset", "protocol", "method", "metric", "value", "dispersion", "n", "note"]
CERTAINTIES = ("read", "transcribed")  # in the source itself; or in later texts that copy it
HIGHER = {"SSIM", "MS-SSIM", "PSNR", "ID", "preference_for_hfgi"}
PAPER_TABLE = "hfgi_table1.csv"
RESTORE = "restore the file from the repository"


def read_reference(path: Path) -> pd.DataFrame:
    """One published table; ``value`` and ``dispersion`` stay text, as printed.

    Raises:
        DataError: missing, other columns, a value that is no number, an unknown certainty.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read", got=message_of(error), fix=RESTORE) from None
    if list(table.columns) != COLUMNS:
        raise DataError(
            f"{path} has other columns", got=", ".join(table.columns), expected=", ".join(COLUMNS), fix=RESTORE
        )
    bad = table[pd.to_numeric(table["value"], errors="coerce").isna() | ~table["certainty"].isin(CERTAINTIES)]
    if len(bad):
        raise DataError(
            f"{path}, line {int(bad.index[0]) + 2} is not valid",
            got=dict(bad.iloc[0][["certainty", "value"]]),
            expected=f"a number, and certainty {' or '.join(CERTAINTIES)}",
            fix=RESTORE,
        )
    return table


def references(folder: Path) -> list[Path]:
    """All published tables, the paper's own first."""
    paths = sorted(Path(folder).glob("*.csv"))
    return sorted(paths, key=lambda p: p.name != PAPER_TABLE)


def published_table(rows: pd.DataFrame, title: str, label: str, extra: Sequence[str] = ()) -> Table:
    """Methods x metrics as printed, with source, data, protocol and every note; ``extra`` lines stand before those."""
    methods, metrics = list(dict.fromkeys(rows["method"])), list(dict.fromkeys(rows["metric"]))
    cells = {
        (r.method, r.metric): Cell(r.value, f"± {r.dispersion}" if r.dispersion else "") for r in rows.itertuples()
    }
    body = [[Cell(m), *[cells.get((m, metric), Cell("–")) for metric in metrics]] for m in methods]
    first = rows.iloc[0]
    sizes = sorted({r.n for r in rows.itertuples() if r.n}, key=int, reverse=True)
    caption = f"{first['source']}. Data: {first['dataset']}" + (f", n = {' or '.join(sizes)}" if sizes else "")
    caption += f". Protocol: {first['protocol']}. {_certainty(first['certainty'])}"
    notes = [*extra, *_notes(rows)]
    return Table(title, caption, ["Method", *[_head(m) for m in metrics]], [("", body)], notes, label)


def _head(metric: str) -> str:
    return f"{metric} {'↑' if metric in HIGHER else '↓'}"


def _certainty(word: str) -> str:
    return "Read in the source." if word == "read" else "Transcribed from later texts that print it."


def _notes(rows: pd.DataFrame) -> list[str]:
    """Each note once, with the metric all of whose rows carry it, or with the cells that do."""
    lines = []
    split = [
        (r.method, r.metric, part.strip()) for r in rows.itertuples() for part in r.note.split(";") if part.strip()
    ]
    for note in dict.fromkeys(part for _, _, part in split):
        where = [(method, metric) for method, metric, part in split if part == note]
        metrics, methods = list(dict.fromkeys(m for _, m in where)), list(dict.fromkeys(m for m, _ in where))
        whole = all(len(rows[rows["metric"] == m]) == sum(1 for _, k in where if k == m) for m in metrics)
        lines.append(f"{', '.join(metrics) if whole else ', '.join(methods)}: {note}.")
    return lines
