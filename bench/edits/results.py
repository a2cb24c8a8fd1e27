"""Results of edits on the disk: results/edits/<scope>/<method[.variant]>/.

``edits.json`` (written last) says how they were made: matched strengths, failures, pictures without room for a change,
distances of sets, pictures kept. ``features.npz``: bench/edits/set_metrics.py. ``rows.parquet`` is tidy: COLUMNS, one
value a row. Tasks:

- ``edit``: at the matched strength, against the exact target where there is one.
- ``curve``: at the profile's degrees; 0 is the inversion.
- ``round_trip``: invert, edit, invert again, edit back.
- ``cycle``: inverted again and again; ``degree`` is how often.
- ``sweep``: mean absolute difference of neighbouring frames; ``degree`` is the later one's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.edits.set_metrics import Features
from bench.edits.strength import Matched
from bench.files import read_table, replaced_folder, write_error, write_png, write_table
from bench.names import parse_label
from bench.scoring.set_metrics import SetValue
from bench.store.paths import RunStore, read_json, write_json

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "dataset",
    "method",
    "variant",
    "image_id",
    "task",
    "direction",
    "change",
    "degree",
    "metric",
    "value",
]
TASKS = ("edit", "curve", "round_trip", "cycle", "sweep")
ROWS, RECORD, PICTURES = "rows.parquet", "edits.json", "pictures"
TITLES: dict[str, tuple[str, bool]] = {  # measure -> (title, higher is better); others are metrics of the registry
    "mae_face": ("MAE in the face", False),
    "mae_rest": ("MAE outside the face", False),
    "ssim_face": ("SSIM in the face", True),
    "ssim_rest": ("SSIM outside the face", True),
    "identity": ("Identity kept (source)", True),
    "attribute_error": ("Attribute error (sd)", False),
    "change": ("Attribute change", True),
    "change_due": ("Attribute change of the target", True),
    "leakage": ("Leakage (sd)", False),
    "background": ("Background distance", False),
    "background_drift": ("Background moved by the edit", False),
    "code": ("Round trip, codes", False),
    "image": ("Round trip, picture", False),
    "drift": ("Drift from the first inversion", False),
    "step": ("Step between frames", False),
}


@dataclass(frozen=True)
class Edits:
    """All edits of one method or variant.

    Args:
        label: ``method`` or ``method.variant``. rows: tidy, COLUMNS. record: edits.json. folder: where both lie.
    """

    label: str
    rows: pd.DataFrame
    record: Mapping[str, Any]
    folder: Path

    @property
    def matched(self) -> dict[str, Matched]:
        """edit (``smile+0.3``) -> its strength."""
        return {name: Matched.from_json(one) for name, one in self.record["matched"].items()}

    @property
    def sets(self) -> list[SetValue]:
        """Edit -> values of the distribution metrics."""
        held: list[dict[str, Any]] = self.record["sets"]
        return [SetValue(**{**one, **{k: np.nan for k, v in one.items() if v is None}}) for one in held]

    @property
    def features(self) -> Features:
        """Of all edits; what sets of them are compared by."""
        return Features.read(self.folder)

    def picture(self, kind: str, image_id: str) -> Path:
        """``source``, ``inversion``, ``edit``, ``target`` or ``sweep`` (frames side by side) of a picture shown."""
        return self.folder / PICTURES / kind / f"{image_id}.png"


def edits_dir(store: RunStore, scope: str, label: str = "") -> Path:
    """The folder of one row, or of all."""
    return store.results / "edits" / scope / label


def targets_path(store: RunStore, scope: str) -> Path:
    """What ``bench edit-targets`` leaves for the pipeline."""
    return edits_dir(store, scope) / "targets.json"


def write_edits(
    folder: Path,
    rows: Iterable[Mapping[str, Any]],
    record: Mapping[str, Any],
    pictures: Mapping[tuple[str, str], np.ndarray],
    features: Features | None = None,
) -> list[Path]:
    """Replace what a folder holds, once everything is written: a full disk leaves it as it was.

    Args:
        pictures: (kind, image id) -> (H, W, 3) uint8.
    Raises:
        BenchError: full disk, no permission.
    """
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=COLUMNS).astype({"change": "float64", "value": "float64"})
    table = table.sort_values(["task", "direction", "change", "degree", "metric", "image_id"], kind="stable")
    with replaced_folder(folder) as fresh:
        for kind in {kind for kind, _ in pictures} | {""}:
            (fresh / PICTURES / kind).mkdir(parents=True, exist_ok=True)
        for (kind, image_id), picture in pictures.items():
            write_png(fresh / PICTURES / kind / f"{image_id}.png", picture)
        write_table(fresh / ROWS, table.reset_index(drop=True))
        if features is not None:
            features.write(fresh)
        write_json(fresh / RECORD, record)
    return [folder / ROWS, folder / RECORD]


def write_nothing(folder: Path) -> Path:
    """The record of a profile that asks for no edits: empty."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from None
    write_json(folder / RECORD, {})
    return folder / RECORD


def read_edits(store: RunStore, scope: str, labels: Iterable[str] | None = None) -> dict[str, Edits]:
    """label -> edits of a scope, sorted; those of ``labels`` that are there, or all.

    Raises:
        DataError: a file that cannot be what :func:`write_edits` wrote.
    """
    wanted = None if labels is None else set(labels)
    found: dict[str, Edits] = {}
    for path in sorted(edits_dir(store, scope).glob(f"*/{RECORD}")):
        label, record = path.parent.name, read_json(path)
        if (wanted is not None and label not in wanted) or not record:
            continue  # {}: a profile that asks for no edits
        fix = f"run `bench score-edits --method {parse_label(label)[0]}` again"
        rows = read_table(path.parent / ROWS, COLUMNS, "edits", fix=fix)
        found[label] = Edits(label, rows, record, path.parent)
    return found


def per_image(edits: Mapping[str, Edits], metric: str, task: str = "edit") -> pd.DataFrame:
    """Image ids x labels: the mean over edits that all of these methods reach on that picture.

    A picture's mean covers the same edits for every method, so columns may be compared row by row.

    Args:
        metric: a measure of ``task``.
    """
    import pandas as pd

    series = {}
    for label, one in edits.items():
        rows = one.rows[(one.rows["task"] == task) & (one.rows["metric"] == metric)]
        rows = rows[np.isfinite(rows["value"])]
        series[label] = rows.set_index(["image_id", "direction", "change"])["value"]
    table = pd.DataFrame(series).dropna()
    return table.groupby(level="image_id").mean() if len(table) else pd.DataFrame(columns=list(edits), dtype=float)
