"""Latent codes on disk: a safetensors file of float32 codes with one row per image, image ids in its metadata.

Its key is ``w_plus`` (N, L, D), or ``steps`` (N, S, L, D) for codes after each step of a method.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bench.errors import DataError, ShapeError, message_of
from bench.files import atomic_write

AXES = {"w_plus": "L, D", "steps": "S, L, D"}  # key -> axes of one image


def write_codes(path: Path, ids: Sequence[str], codes: np.ndarray, key: str = "w_plus") -> None:
    """Write codes atomically.

    Args:
        ids: N image ids, the order of the rows.
        codes: (N, L, D), or (N, S, L, D) under the key ``steps``; stored as float32.
    """
    if codes.ndim != 2 + AXES[key].count(",") or len(codes) != len(ids):
        expected = f"({len(ids)}, {AXES[key]})"
        raise ShapeError(f"codes for {path} have the wrong shape", got=codes.shape, expected=expected)
    array = np.ascontiguousarray(codes, dtype=np.float32)
    atomic_write(path, save({key: array}, metadata={"ids": json.dumps(list(ids))}))


def read_codes(path: Path, key: str = "w_plus") -> tuple[list[str], np.ndarray]:
    """(ids, codes float32 as :func:`write_codes` takes them); DataError if the file is missing or damaged."""
    try:
        with safe_open(os.fspath(path), framework="numpy") as stored:
            return json.loads((stored.metadata() or {})["ids"]), stored.get_tensor(key)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            f"codes {path} cannot be read",
            got=message_of(error),
            expected=f"safetensors with {key} and ids",
            fix="run the method again with --fresh",
        ) from None


def join_codes(parts: Sequence[Path], target: Path, key: str = "w_plus") -> list[str]:
    """Concatenate code files in order and return their ids. Parts without rows (every image failed) add nothing.

    Raises:
        ShapeError: codes of one image have another shape than those of another.
    """
    read = [read_codes(part, key) for part in parts]
    filled = [(ids, codes) for ids, codes in read if ids] or read[:1]
    ids = [i for part, _ in filled for i in part]
    write_codes(target, ids, joined([codes for _, codes in filled], np.concatenate, f"codes of {target}"), key)
    return ids


def joined(parts: Sequence[np.ndarray], join: Callable[..., np.ndarray], what: str) -> np.ndarray:
    """``join`` (np.stack, np.concatenate) of codes; ShapeError where one image has them in another shape."""
    try:
        return join(parts)
    except ValueError:
        shapes = list(dict.fromkeys(str(part.shape) for part in parts))
        raise ShapeError(f"{what} differ in shape", got=", ".join(shapes), expected="one for all images") from None
