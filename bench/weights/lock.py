"""weights/lock.yaml: which bytes were taken for each published set of weights, and what became of them.

Written by ``bench fetch``. Where a source states no hash, the first file is trusted and its SHA-256 recorded here;
any other file under the same name is an error from then on. Commit the lock to hold others to the same bytes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, RootModel

from bench.errors import WeightsError
from bench.files import atomic_write, read_yaml
from bench.names import canonical_json
from bench.weights.listing import FOLDER

FILE = "lock.yaml"
CONVERTED = "published"  # folder under weights/ that holds converted parts
_HEAD = (
    "# Written by `bench fetch`: published files as taken here, trusted on first use where no hash is published.\n"
    "# files: what was downloaded; parts: what it became; compared: copies against shared ones.\n"
)


class Stamp(BaseModel):
    """Size and SHA-256 of a file's bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class LockedPart(Stamp):
    """A converted part; ``file`` is relative to weights/."""

    file: str


class Compared(BaseModel):
    """Outcome of comparing a part with the one it should equal. ``sha256``: of the two files compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: str
    sha256: list[str]
    tensors: int
    differing: list[str] = []
    max_abs: float | None = None


class Locked(BaseModel):
    """One published set of weights as it was taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: dict[str, Stamp]
    parts: dict[str, LockedPart]
    notes: list[str] = []
    compared: dict[str, Compared] = {}

    @property
    def sha256(self) -> str:
        """One hash for all parts: the part's own if there is one only."""
        hashes = {name: part.sha256 for name, part in self.parts.items()}
        if len(hashes) == 1:
            return next(iter(hashes.values()))
        return hashlib.sha256(canonical_json(hashes).encode()).hexdigest()


class Lock(RootModel[dict[str, Locked]]):
    """Contents of weights/lock.yaml: id -> what was taken."""


def lock_path(root: str | Path) -> Path:
    """Where the lock is."""
    return Path(root) / FOLDER / FILE


def read_lock(root: str | Path) -> dict[str, Locked]:
    """Id -> what was taken; empty if nothing was fetched yet.

    Raises:
        WeightsError: the file is damaged. It is not rebuilt silently: it holds the hashes that later files must have.
    """
    path = lock_path(root)
    if not path.is_file():
        return {}
    fix = "restore it (`git checkout -- weights/lock.yaml`), or remove it to trust the next files anew"
    return read_yaml(path, Lock, fix=fix, raises=WeightsError).root


def write_lock(root: str | Path, weights_id: str, locked: Locked) -> None:
    """Enter or replace one id; the file is written whole or not at all."""
    lock = {**read_lock(root), weights_id: locked}
    data = {key: value.model_dump(exclude_defaults=True) for key, value in sorted(lock.items())}
    atomic_write(lock_path(root), _HEAD + yaml.safe_dump(data, sort_keys=False, width=110))


def present(root: str | Path, locked: Locked | None) -> bool:
    """Whether all converted parts lie here in their full size (hashes are checked when they are loaded)."""
    if locked is None:
        return False
    paths = [(Path(root) / FOLDER / part.file, part.size_bytes) for part in locked.parts.values()]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)
