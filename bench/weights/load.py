"""Fetched weights as state dicts: only converted parts whose size and SHA-256 agree with weights/lock.yaml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import WeightsError
from bench.files import file_sha256
from bench.weights.convert import META_KEY
from bench.weights.listing import FOLDER, Published, read_published
from bench.weights.lock import Locked, present, read_lock

if TYPE_CHECKING:
    from torch import Tensor

COPIES = ("decoder", "discriminator")  # parts that load() leaves out: the generator is shared
MEAN = "latent_avg"


def status(root: str | Path, weights_id: str) -> str:
    """``present`` or ``absent``."""
    return "present" if present(root, read_lock(root).get(weights_id)) else "absent"


def sha256(root: str | Path, weights_id: str) -> str:
    """One hash for all parts of fetched weights, or WeightsError if they are not here."""
    return _fetched(root, weights_id)[1].sha256


def part_path(root: str | Path, weights_id: str, part: str) -> Path:
    """The verified file of one part (for raw parts, such as ONNX networks, the file itself).

    Raises:
        WeightsError: not fetched, no such part, or another file than the recorded one.
    """
    entry, locked = _fetched(root, weights_id)
    if part not in locked.parts:
        listed = part in entry.parts and not entry.parts[part].optional  # an optional one was not in the file
        raise WeightsError(
            f"weights {weights_id!r} have no part {part!r}",
            expected=", ".join(locked.parts),
            fix=f"`bench fetch --again {weights_id}` takes it out of the file" if listed else None,
        )
    stamp = locked.parts[part]
    path = Path(root) / FOLDER / stamp.file
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise WeightsError(f"weights {weights_id!r}: cannot read {path}", got=error.strerror) from None
    if digest != stamp.sha256:
        raise WeightsError(
            f"weights {weights_id!r}: {path} is not the file that was fetched",
            got=f"sha256 {digest}",
            expected=stamp.sha256,
            fix=f"`bench fetch --again {weights_id}`",
        )
    return path


def load_part(root: str | Path, weights_id: str, part: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of one part, without its prefix, and what was stored beside them; memory-mapped, on the CPU."""
    import safetensors
    import safetensors.torch

    path = part_path(root, weights_id, part)
    try:
        with safetensors.safe_open(path, "pt") as opened:
            meta = json.loads((opened.metadata() or {}).get(META_KEY, "{}"))
        return dict(sorted(safetensors.torch.load_file(path).items())), meta
    except (safetensors.SafetensorError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read", got=str(error), expected="a safetensors file") from None


def load(root: str | Path, weights_id: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All parts but copies of the generator, as one state dict, with the metadata of the first.

    Keys are ``<part>.<key>``; a mean code is ``latent_avg``. Weights that are one network (generators, networks of
    metrics) have bare keys. Encoders' mean codes have one row per code, a generator's is as published.
    """
    entry, locked = _fetched(root, weights_id)
    names = [name for name in locked.parts if name not in COPIES and not entry.parts[name].raw]
    if not names:
        raise WeightsError(f"weights {weights_id!r} hold no tensors", expected="a state dict")
    bare = entry.kind != "encoder" and len([name for name in names if name != MEAN]) == 1
    tensors: dict[str, Tensor] = {}
    first: dict[str, Any] | None = None
    for name in names:
        part, meta = load_part(root, weights_id, name)
        first = meta if first is None else first
        at = "" if bare or name == MEAN else f"{name}."
        tensors.update({at + key: value for key, value in part.items()})
    return tensors, first or {}


def _fetched(root: str | Path, weights_id: str) -> tuple[Published, Locked]:
    entry = read_published(root).entry(weights_id)
    locked = read_lock(root).get(weights_id)
    if locked is None or not present(root, locked):
        raise WeightsError(
            f"weights {weights_id!r} ({entry.title}) are not here",
            fix=f"`bench fetch {weights_id}`, or `bench fetch --from FOLDER {weights_id}` for files you have",
        )
    return entry, locked
