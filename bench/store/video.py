"""Results of films on the disk: results/video/<scope>/<method[.variant]>/.

``video.json`` (written last) says how they were made: strength of the edit, failures, frames without room for it, clips
kept. ``rows.parquet`` is tidy: COLUMNS, one value a row; what compares two frames stands with the later one. Tasks:

- ``inversion``: against the source.
- ``edit``: fidelity against the exact edit; flicker of edit minus inversion.
- ``source``, ``target``: the same of the pictures themselves and of the exact edit, for comparison.

``strips/<clip>_<kind>.png`` holds the frames of clips that are shown, side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.files import read_rgb, read_table, replaced_folder, write_png, write_table
from bench.names import parse_label
from bench.store.paths import RunStore, read_json, write_json

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["dataset", "method", "variant", "clip", "image_id", "task", "metric", "value"]
TASKS = ("inversion", "edit", "source", "target")
KINDS = ("source", "inversion", "edit", "target")
ROWS, RECORD, STRIPS = "rows.parquet", "video.json", "strips"
TITLES: dict[str, tuple[str, bool | None]] = {  # measure -> (title, higher is better); others are metrics
    "identity": ("Identity kept (source)", True),
    "flicker": ("Flicker, true motion", False),
    "flicker_estimated": ("Flicker, estimated motion", False),
    "flicker_target": ("Flicker of the edit's error", False),
    "drift": ("Identity drift", None),  # neither: the mark is the source's own
}


@dataclass(frozen=True)
class Films:
    """All clips of one method or variant. Args: rows: tidy, COLUMNS. record: video.json. folder: where both lie."""

    label: str
    rows: pd.DataFrame
    record: Mapping[str, Any]
    folder: Path

    def frames(self, clip: str, kind: str) -> np.ndarray | None:
        """(N, H, W, 3) uint8 of a clip that is shown; None if this kind was not kept."""
        path = strip_path(self.folder, clip, kind)
        if not path.is_file():
            return None
        strip = read_rgb(path)
        count = len(self.record["ids"][clip])
        return np.stack(np.split(strip, count, axis=1))


def video_dir(store: RunStore, scope: str, label: str = "") -> Path:
    """The folder of one row, or of all."""
    return store.results / "video" / scope / label


def targets_path(store: RunStore, scope: str) -> Path:
    """What ``bench video-targets`` leaves for the pipeline."""
    return video_dir(store, scope) / "targets.json"


def strip_path(folder: Path, clip: str, kind: str) -> Path:
    """File of a clip's frames of one kind, side by side."""
    return folder / STRIPS / f"{clip}_{kind}.png"


def write_films(
    folder: Path,
    rows: Iterable[Mapping[str, Any]],
    record: Mapping[str, Any],
    strips: Mapping[tuple[str, str], np.ndarray],
) -> list[Path]:
    """Replace what a folder holds, once everything is written: a full disk leaves it as it was.

    Args:
        rows: tidy rows, COLUMNS.
        record: content of video.json.
        strips: (clip, kind) -> (H, N * W, 3) uint8.
    Raises:
        BenchError: full disk, no permission.
    """
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=COLUMNS).astype({"value": "float64"})
    table = table.sort_values(["task", "metric", "image_id"], kind="stable").reset_index(drop=True)
    with replaced_folder(folder) as fresh:
        (fresh / STRIPS).mkdir()
        for (clip, kind), strip in strips.items():
            write_png(strip_path(fresh, clip, kind), strip)
        write_table(fresh / ROWS, table)
        write_json(fresh / RECORD, record)
    return [folder / ROWS, folder / RECORD]


def write_nothing(folder: Path) -> Path:
    """The record of a profile that asks for no clips: empty."""
    write_json(folder / RECORD, {})
    return folder / RECORD


def read_films(store: RunStore, scope: str) -> dict[str, Films]:
    """label -> films of a scope, sorted.

    Raises:
        DataError: a file that cannot be what :func:`write_films` wrote.
    """
    found: dict[str, Films] = {}
    for path in sorted(video_dir(store, scope).glob(f"*/{RECORD}")):
        label, record = path.parent.name, read_json(path)
        if not record:
            continue  # {}: a profile that asks for no clips
        fix = f"run `bench score-video --method {parse_label(label)[0]}` again"
        rows = read_table(path.parent / ROWS, COLUMNS, "films", fix=fix)
        found[label] = Films(label, rows, record, path.parent)
    return found
