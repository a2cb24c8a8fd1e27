"""MTCNN's weights: ``.npy`` files that hold a pickled dict of arrays, read without running what a pickle may ask for.

numpy's own ``allow_pickle=True`` runs any code named in the file. The reader here knows only what building plain
arrays takes; every other name ends the reading with an error.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from bench.errors import WeightsError, message_of

MAGIC = b"\x93NUMPY"
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")


def _empty_array(subtype: Any, shape: Any, dtype: Any) -> np.ndarray:
    """What pickled arrays start from; their state follows. The arguments are ignored: they could ask for any size."""
    return np.empty(0, np.int8)


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 wrote bytes into old pickles."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


class _ArraysOnly(pickle.Unpickler):
    """Builds dicts, numbers, text and plain arrays."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _MULTIARRAY and name == "_reconstruct":
            return _empty_array
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("the file refers to objects outside itself")


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Name -> numeric array.

    Raises:
        WeightsError: no such file layout, names other than numpy's array builders, values that are not numbers.
    """
    try:
        with open(path, "rb") as stream:
            return _checked(_content(stream), path)
    except OSError as error:
        raise WeightsError(f"cannot read {path}", got=error.strerror or str(error)) from None
    except WeightsError:
        raise
    except Exception as error:  # a damaged or hostile pickle can fail in any way; none may reach the user as a trace
        reason = message_of(error, 200)
        raise WeightsError(
            f"{path} is not read",
            got=reason,
            expected="a dict of numeric arrays and nothing else",
            fix="take the file from its published address; nothing in it was run",
        ) from None


def _content(stream: IO[bytes]) -> Any:
    version = npy_format.read_magic(stream)
    header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, _, dtype = header(stream)
    if not dtype.hasobject or shape != ():
        raise pickle.UnpicklingError(f"an array of {dtype} with shape {shape}, no pickled dict")
    content = _ArraysOnly(stream, encoding="latin1").load()
    return content.item() if isinstance(content, np.ndarray) and content.shape == () else content


def _checked(content: Any, path: str | Path) -> dict[str, np.ndarray]:
    if not isinstance(content, dict) or not content:
        raise pickle.UnpicklingError(f"{type(content).__name__} instead of a dict")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
            raise pickle.UnpicklingError(f"entry {str(name)[:50]!r} is no numeric array")
    return content
