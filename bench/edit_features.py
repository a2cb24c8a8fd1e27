"""Features of all edits (``features.npz``), so that sets of them can be compared over any choice of edits and pictures."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import DataError
from bench.images import atomic_write

if TYPE_CHECKING:
    from bench.edit_work import Part

FILE = "features.npz"
Key = tuple[str, str]  # edit, image id


@dataclass(frozen=True, eq=False)
class Features:
    """Features of edits and of what they are compared with.

    Args:
        keys: (edit, image id) of the rows. of: extractor -> two arrays (N, D) float32, edits first.
    """

    keys: list[Key]
    of: Mapping[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of_part(cls, done: Part) -> Features:
        """From what workers found, each extractor with the same edits in the same order."""
        columns = {name: list(zip(*rows, strict=True)) for name, rows in done.features.items() if rows}
        keys = next((list(zip(c[0], c[1], strict=True)) for c in columns.values()), [])
        return cls(keys, {name: (np.stack(c[2]), np.stack(c[3])) for name, c in columns.items()})

    def only(self, keys: Collection[Key]) -> Features:
        """The rows of some edits of some pictures."""
        rows = [n for n, key in enumerate(self.keys) if key in keys]
        return Features([self.keys[n] for n in rows], {k: (a[rows], b[rows]) for k, (a, b) in self.of.items()})

    def write(self, folder: Path) -> None:
        """``features.npz``; raises BenchError on a full disk."""
        arrays = {f"{name}.{k}": array for name, pair in self.of.items() for k, array in enumerate(pair)}
        buffer = io.BytesIO()
        np.savez(buffer, keys=np.array(self.keys, dtype=str).reshape(-1, 2), **arrays)
        atomic_write(folder / FILE, buffer.getvalue())

    @classmethod
    def read(cls, folder: Path) -> Features:
        """What :meth:`write` wrote; nothing where there is no such file.

        Raises:
            DataError: a damaged one.
        """
        if not (folder / FILE).is_file():
            return cls([], {})
        try:
            with np.load(folder / FILE, allow_pickle=False) as held:
                names = sorted({name.rpartition(".")[0] for name in held.files} - {""})
                keys = [(str(edit), str(i)) for edit, i in held["keys"]]
                return cls(keys, {name: (held[f"{name}.0"], held[f"{name}.1"]) for name in names})
        except (OSError, ValueError, KeyError) as error:
            got = " ".join(str(error).split())[:200]
            raise DataError(f"{folder / FILE} cannot be read", got=got, fix="run `bench score-edits` again") from None
