"""Distances of sets of edits from sets of what they should be.

Features of all edits are kept, so methods that do not reach the same edits can be compared over those that all reach.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import registry
from bench.errors import DataError, message_of
from bench.files import atomic_write
from bench.scoring.build import signature
from bench.scoring.set_metrics import GROUPS, SetValue, groups, interval

if TYPE_CHECKING:
    from bench.edits.editor import Part


def set_values(root: Path, names: Iterable[str], features: Features, ids: Sequence[str], seed: int) -> list[SetValue]:
    """Distances of edits from what they are compared with.

    Args:
        names: ids of set metrics. ids: of all pictures scored: intervals leave out groups of them, each picture with
            all its edits; below 20 pictures there are none.
    """
    known = registry.metrics(root)
    found = []
    dealt = dict(zip(ids, groups(ids, seed), strict=True))
    group = np.array([dealt[i] for _, i in features.keys])
    everything = np.arange(len(features.keys))
    subsets = [everything[group != g] for g in range(GROUPS)] if len(ids) >= 2 * GROUPS else []
    subsets = [rows for rows in subsets if 2 <= len(rows) < len(everything)]
    for name in names:
        cls = known.load(name)
        if cls.extractor not in features.of or len(everything) < 2:
            continue
        edited, meant = features.of[cls.extractor]
        whole, *others = cls.values(meant, edited, [everything, *subsets])
        for part in cls.parts:
            spread = interval(whole[part], [one[part] for one in others])
            full = f"{name}.{part}" if part else name
            found.append(SetValue(full, signature(root, name, cls), len(everything), whole[part], *spread))
    return found


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
            got = message_of(error, 200)
            raise DataError(f"{folder / FILE} cannot be read", got=got, fix="run `bench score-edits` again") from None
