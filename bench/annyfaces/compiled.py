"""The one way this package compiles: numba with a disk cache that is keyed by all of the package's sources.

numba's own cache looks only at the file a function stands in, so it would keep machine code that holds an old version
of a function called from another file. Here the cache folder's name is a digest of every source file, so any change
recompiles and nothing stale is ever run.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from pathlib import Path

import numba
from numba.core import config

from bench.annyfaces import code_sha256


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME`` or ``~/.cache``, then ``hfgi-bench``: for compiled code and extracted arrays."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "hfgi-bench"


@functools.lru_cache(maxsize=1)
def _code_folder() -> str | None:
    """A writable folder for this state of the sources, or None (then every process compiles for itself)."""
    digest = hashlib.sha256(numba.__version__.encode())
    digest.update(code_sha256().encode())
    folder = cache_folder() / f"code-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:
        return None


def _compile(function, **options):
    folder, before = _code_folder(), config.CACHE_DIR
    try:
        config.CACHE_DIR = folder or before
        return numba.njit(cache=folder is not None, nogil=True, fastmath=False, error_model="numpy", **options)(
            function
        )
    finally:
        config.CACHE_DIR = before


def jit(function):
    """Compile without threads and without fastmath: the same bits in every process."""
    return _compile(function)


def jit_inline(function):
    """As :func:`jit`, always inlined into its callers."""
    return _compile(function, inline="always")
