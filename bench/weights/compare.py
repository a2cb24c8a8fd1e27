"""One generator for all: is a checkpoint's own copy of a network the shared one, to the last bit?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import WeightsError, name_some
from bench.weights.listing import FOLDER, Published
from bench.weights.lock import Compared, Locked

if TYPE_CHECKING:
    from torch import Tensor


def compare_files(
    own: Path, shared: Path, ignore: tuple[str, ...] = ("latent_avg",)
) -> tuple[int, list[str], float | None]:
    """Compare two safetensors files tensor by tensor; neither is held in memory whole.

    Returns:
        tensors compared, names that differ (missing on one side, other shape or other bits), and the largest absolute
        difference among those of equal shape (None if there is none to measure).
    """
    import torch
    from safetensors import SafetensorError, safe_open

    differing, largest = [], None
    try:
        with safe_open(own, "pt") as mine, safe_open(shared, "pt") as theirs:
            names = sorted((set(mine.keys()) | set(theirs.keys())) - set(ignore))
            both = set(mine.keys()) & set(theirs.keys())
            for name in names:
                if name not in both:
                    differing.append(name)
                    continue
                a, b = mine.get_tensor(name), theirs.get_tensor(name)
                if a.shape == b.shape and a.dtype == b.dtype and torch.equal(_bits(a), _bits(b)):
                    continue
                differing.append(name)
                if a.shape == b.shape:
                    largest = max(largest or 0.0, float((a.double() - b.double()).abs().max()) if a.numel() else 0.0)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"cannot compare {own} with {shared}", got=str(error), fix="fetch both again") from None
    return len(names), differing, largest


def _bits(x: Tensor) -> Tensor:
    """The same bytes as integers: 0.0 and -0.0 differ, equal NaNs do not."""
    import torch

    return x.contiguous().reshape(-1).view(torch.uint8)


def compare_part(root: Path, entry: Published, part: str, locked: Locked, lock: dict[str, Locked]) -> Compared | None:
    """Compare a part with the one its entry names; None while that one has not been fetched.

    A comparison already recorded for the same two files is returned as it is.
    """
    to = entry.parts[part].compare
    weights_id, _, other = to.partition("/")
    if part not in locked.parts or weights_id not in lock or other not in lock[weights_id].parts:
        return None
    own, shared = locked.parts[part], lock[weights_id].parts[other]
    before = locked.compared.get(part)
    if before and before.to == to and before.sha256 == [own.sha256, shared.sha256]:
        return before
    mine, theirs = (root / FOLDER / p.file for p in (own, shared))
    if not (mine.is_file() and theirs.is_file()):
        return None
    count, differing, largest = compare_files(mine, theirs)
    return Compared(to=to, sha256=[own.sha256, shared.sha256], tensors=count, differing=differing, max_abs=largest)


def describe(weights_id: str, part: str, outcome: Compared) -> str:
    """One line for the user."""
    if not outcome.differing:
        return f"{weights_id}: its {part} equals {outcome.to} bit by bit ({outcome.tensors} tensors)"
    amount = "" if outcome.max_abs is None else f"; largest absolute difference {outcome.max_abs:.3g}"
    return (
        f"{weights_id}: its {part} differs from {outcome.to} in {len(outcome.differing)} of {outcome.tensors} tensors "
        f"({name_some(outcome.differing, 5)}){amount}" + (f"; runs use {outcome.to}" if part == "decoder" else "")
    )
