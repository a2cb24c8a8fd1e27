"""Checkpoints that survive kill -9: written beside, synced, then renamed; random states included."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from bench.errors import BenchError, WeightsError
from bench.files import write_error


def path_of_run(folder: Path, may_exist: bool) -> Path:
    """Name the checkpoint of a run.

    Args:
        folder: of the run.
        may_exist: the run is resumed, looked at or exported, not begun.
    Raises:
        BenchError: a run that would begin anew has a checkpoint there.
    """
    path = folder / "checkpoint.pt"
    if path.exists() and not may_exist:
        raise BenchError(f"a run of {folder.name} exists in {folder}", fix="add --resume, or move that folder away")
    return path


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, nested dicts and lists of them) atomically.

    Raises:
        BenchError: full disk or no permission; the previous checkpoint is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise write_error(path, error) from None


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True``: tensors and plain values, no code.

    Raises:
        WeightsError: missing, truncated or holding anything else.
    """
    if not path.is_file():
        raise WeightsError(f"no checkpoint at {path}", fix="start without --resume")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"checkpoint {path} cannot be read",
            got=str(error).splitlines()[0],
            fix="delete it and start again, or restore it from a copy",
        ) from None


def random_state() -> dict[str, Any]:
    """The state of torch's and numpy's global generators, as tensors and plain values."""
    kind, keys, position, has_gauss, cached = cast(tuple, np.random.get_state())
    state = {
        "torch": torch.get_rng_state(),
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Undo :func:`random_state`."""
    torch.set_rng_state(state["torch"])
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
