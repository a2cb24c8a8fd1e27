"""Published files: ``age.pt``, ``smile.pt``, ``pose.pt`` (InterFaceGAN), ``ffhq_pca.pt``, ``cars_pca.pt`` (GANSpace).

Layouts as found in HFGI e30f33c, e4e 99ea505 and ReStyle 5e80276: a tensor (1, 512) or (1, 18, 512); a dictionary of
``mean`` (1, 512), ``comp`` (K, 1, 512) and ``std`` (K,).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bench.directions.direction import Direction
from bench.errors import BenchError, DataError, UnknownName, message_of

# edits of HFGI's release on ffhq_pca.pt: component, first row, one past the last
NAMED = {"eyes": (54, 7, 8), "beard": (58, 7, 9), "lip": (34, 10, 11)}
PARTS = ("mean", "comp", "std")


def read_pt(path: Path, pick: str = "") -> Direction:
    """A direction of a published file.

    Args:
        path: a .pt file; only tensors and plain containers are read, never code.
        pick: of a PCA file, a key of :data:`NAMED` or ``index`` or ``index:first:last`` (rows); "" otherwise.
    Raises:
        DataError: missing, damaged, or of another layout. BenchError: a choice that the file does not have.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"no direction file {path}", fix="correct --direction") from None
    except Exception as error:  # the reader has many ways to say that a file is no archive of tensors
        raise DataError(
            f"direction file {path} cannot be read",
            got=message_of(error, 160),
            expected="a file of torch.save that holds tensors alone",
        ) from None
    if isinstance(held, Tensor):
        return _vector(path, held, pick)
    if isinstance(held, dict) and set(held) >= set(PARTS) and all(isinstance(held[k], Tensor) for k in PARTS):
        return _component(path, held, pick)
    raise _layout(path, type(held).__name__ if not isinstance(held, dict) else f"keys {', '.join(map(str, held))}")


def _vector(path: Path, held: Tensor, pick: str) -> Direction:
    if pick:
        raise BenchError(f"{path} holds one direction", got=f"choice {pick!r}", fix="drop what follows the file name")
    if held.ndim not in (2, 3) or len(held) != 1:
        raise _layout(path, f"a tensor {tuple(held.shape)}")
    return Direction(path.stem, held[0].float(), about={"method": "published", "file": path.name})


def _component(path: Path, held: dict[str, Tensor], pick: str) -> Direction:
    mean, comp, std = (held[k].float() for k in PARTS)
    if comp.ndim != 3 or comp.shape[1] != 1 or mean.shape != comp.shape[1:] or std.shape != comp.shape[:1]:
        raise _layout(path, ", ".join(f"{k} {tuple(held[k].shape)}" for k in PARTS))
    index, rows = _choice(path, pick, len(comp))
    about = {"method": "published", "file": path.name, "component": index}
    return Direction(f"{path.stem}_{index}", comp[index, 0], "set", rows, mean[0], float(std[index]), about)


def _choice(path: Path, pick: str, count: int) -> tuple[int, tuple[int, int] | None]:
    if pick in NAMED:
        index, first, last = NAMED[pick]
        rows: tuple[int, int] | None = (first, last)
    else:
        parts = pick.split(":")
        if not all(p.isdigit() for p in parts):
            raise UnknownName.of(f"edit of {path.name} (or INDEX, or INDEX:FIRST:LAST)", pick, NAMED)
        if len(parts) not in (1, 3):
            raise BenchError(f"cannot choose {pick!r} of {path.name}", expected="INDEX or INDEX:FIRST:LAST")
        index, rows = int(parts[0]), (int(parts[1]), int(parts[2])) if len(parts) == 3 else None
    if index >= count:
        raise BenchError(f"{path.name} has no component {index}", expected=f"0 to {count - 1}")
    return index, rows


def _layout(path: Path, got: str) -> DataError:
    return DataError(
        f"direction file {path} is of an unknown layout",
        got=got,
        expected="a tensor (1, D) or (1, L, D), or a dictionary of mean (1, D), comp (K, 1, D), std (K,)",
    )
