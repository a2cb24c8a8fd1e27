"""The one way the suite compiles: numba with a disk cache that is keyed by all sources of the function's folder.

numba's own cache looks only at the file a function stands in, so it would keep machine code that holds an old version
of a function called from another file. Here the cache folder's name is a digest of every source file beside the
function's own, so any change there recompiles and nothing stale is ever run. A compiled function may call compiled
functions of its own folder only.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from pathlib import Path

import numba
from numba.core import config


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME`` or ``~/.cache``, then ``hfgi-bench``: for compiled code and extracted arrays."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "hfgi-bench"


@functools.lru_cache(maxsize=8)
def _code_folder(sources: Path) -> str | None:
    """Make a folder for this state of the sources; None where it cannot be written: every process compiles then."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(sources.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    folder = cache_folder() / f"code-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:
        return None


def _compile(function, **options):
    folder, before = _code_folder(Path(function.__code__.co_filename).parent), config.CACHE_DIR
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
