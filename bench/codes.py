"""Latent codes on disk: one safetensors file, key ``w_plus`` (N, L, D) float32, image ids in its metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bench.errors import DataError, ShapeError
from bench.images import atomic_write


def write_codes(path: Path, ids: Sequence[str], w_plus: np.ndarray) -> None:
    """Write codes atomically.

    Args:
        ids: N image ids, the order of the rows.
        w_plus: (N, L, D), stored as float32.
    """
    if w_plus.ndim != 3 or len(w_plus) != len(ids):
        raise ShapeError(f"codes for {path} have the wrong shape", got=w_plus.shape, expected=f"({len(ids)}, L, D)")
    array = np.ascontiguousarray(w_plus, dtype=np.float32)
    atomic_write(path, save({"w_plus": array}, metadata={"ids": json.dumps(list(ids))}))


def read_codes(path: Path) -> tuple[list[str], np.ndarray]:
    """(ids, w_plus (N, L, D) float32); DataError if the file is missing or damaged."""
    try:
        with safe_open(os.fspath(path), framework="numpy") as stored:
            return json.loads((stored.metadata() or {})["ids"]), stored.get_tensor("w_plus")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            f"codes {path} cannot be read",
            got=" ".join(str(error).split()) or type(error).__name__,
            expected="safetensors with w_plus and ids",
            fix="run the method again with --fresh",
        ) from None


def join_codes(parts: Sequence[Path], target: Path) -> None:
    """Concatenate code files in order. Parts without rows (every image failed) add nothing."""
    read = [read_codes(part) for part in parts]
    filled = [(ids, w_plus) for ids, w_plus in read if ids] or read[:1]
    write_codes(target, [i for ids, _ in filled for i in ids], np.concatenate([w for _, w in filled]))
