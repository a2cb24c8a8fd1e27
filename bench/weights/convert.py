"""From a published file to safetensors, one file per part, tensor by tensor: at no time are two copies in memory."""

from __future__ import annotations

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import WeightsError
from bench.files import write_error
from bench.weights import layouts, reading, verify
from bench.weights.layouts import COUNTER
from bench.weights.listing import FOLDER, Part, Published
from bench.weights.lock import CONVERTED, LockedPart, Stamp

if TYPE_CHECKING:
    from torch import Tensor

META_KEY = "bench"  # safetensors metadata under which this suite keeps its own JSON, see bench/weights/manifest.py
_DTYPES = {"float32": "F32", "int64": "I64"}


def convert(
    root: Path, entry: Published, files: Mapping[str, Path], others: Iterable[Published] = (), crc: bool = True
) -> tuple[dict[str, LockedPart], list[str]]:
    """Check a set of published files and write their parts under ``weights/published/<id>/``.

    All files are checked before the first byte is written; each part appears complete or not at all.

    Args:
        files: name -> path of every file of the entry. others: further entries, to say what a wrong file is.
        crc: as in :func:`bench.weights.reading.read_checkpoint`.
    Returns:
        the parts, and remarks for the user.
    Raises:
        WeightsError: unreadable, unsafe, or not the layout it should have.
    """
    folder = root / FOLDER / CONVERTED / entry.id
    ready: dict[str, tuple[dict[str, Tensor], dict[str, Any]]] = {}
    raw: dict[str, Path] = {}
    notes: list[str] = []
    for file in entry.files:
        mine = [name for name in entry.parts if entry.file_of(name).name == file.name]
        raw |= {name: files[file.name] for name in mine if entry.parts[name].raw}
        if any(not entry.parts[name].raw for name in mine):
            path = files[file.name]
            content = reading.read_checkpoint(path, crc)
            tensors, remarks = checked(entry, file.name, content, path.name, others)
            ready.update(tensors)
            notes += remarks
    stamps = {name: (_target(folder, name, entry.parts[name]), path) for name, path in raw.items()}
    done = {
        name: _locked(root, target, _copy(path, entry.parts[name], target)) for name, (target, path) in stamps.items()
    }
    for name in list(ready):
        values, meta = ready.pop(name)
        target = folder / f"{name}.safetensors"
        done[name] = _locked(root, target, write_safetensors(target, values, meta))
    return {name: done[name] for name in entry.parts if name in done}, notes


def checked(
    entry: Published, file: str, content: Mapping[str, Any], what: str, others: Iterable[Published] = ()
) -> tuple[dict[str, tuple[dict[str, Tensor], dict[str, Any]]], list[str]]:
    """The parts of one read file, every key and shape checked: part -> (tensors, metadata), and remarks.

    Args:
        file: name of the file in the entry. what: how errors call it.
    """
    parts = {n: p for n, p in entry.parts.items() if not p.raw and entry.file_of(n).name == file}
    opts = verify.options_of(content)
    notes = verify.check_options(entry, opts, what, [o for o in others if o.id != entry.id])
    ready = {}
    for part_name, part in parts.items():
        if part.optional and part.at and part.at not in content:
            continue
        tensors = verify.part_tensors(content, part, what)
        verify.check_part(entry, part_name, tensors, what)
        tensors, filled = _completed(entry, part, tensors)
        if filled:
            notes.append(f"{part_name}: {filled} counters of training steps were absent and set to 0")
        ready[part_name] = (tensors, _meta(entry, part, opts))
    verify.check_leftover(entry, file, content, what)
    return ready, notes


def _completed(entry: Published, part: Part, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Counters that old files lack, as zeros; the mean code with one row per style where methods add it."""
    import torch

    if part.layout == verify.MEAN:
        mean = tensors[verify.MEAN].detach().float()
        rows = layouts.n_styles(entry.size or 0)
        return {verify.MEAN: mean if entry.kind == "generator" else mean.reshape(-1, 512).expand(rows, 512)}, 0
    if not part.layout:
        return tensors, 0
    expected = layouts.expected(part.layout, entry.size, part.args)
    absent = [key for key in expected if key.endswith(COUNTER) and key not in tensors]
    return {**tensors, **{key: torch.zeros((), dtype=torch.int64) for key in absent}}, len(absent)


def _meta(entry: Published, part: Part, opts: Mapping[str, Any]) -> dict[str, Any]:
    """What goes beside the tensors: where they come from, plain training options, a generator's architecture."""
    options: dict[str, Any] = {
        k: v for k, v in sorted(opts.items()) if isinstance(v, bool | int | float) and math.isfinite(v)
    }
    options |= {k: str(opts[k]) for k in ("encoder_type", "dataset_type") if k in opts}
    meta: dict[str, Any] = {"published": entry.id, "opts": options}
    if part.layout == "generator":
        channels = {str(side): width for side, width in layouts.WIDTHS.items() if side <= (entry.size or 0)}
        meta["architecture"] = {"size": entry.size, "style_dim": 512, "n_mlp": 8, "channels": channels}
    return meta


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Stamp:
    """Write float32 (and int64) tensors one after the other; equal input gives equal bytes.

    Raises:
        WeightsError: values that are not finite. BenchError: the disk is full or read-only.
    """
    order = sorted(tensors, key=lambda key: (tensors[key].is_floating_point(), key))  # 8-byte values first: aligned
    header: dict[str, Any] = {"__metadata__": {META_KEY: json.dumps(meta, sort_keys=True)}}
    offset = 0
    for key in order:
        kind = "float32" if tensors[key].is_floating_point() else "int64"
        end = offset + tensors[key].numel() * (4 if kind == "float32" else 8)
        header[key] = {"dtype": _DTYPES[kind], "shape": list(tensors[key].shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    chunks = (_bytes(key, tensors[key], path) for key in order)
    return _write(path, _chain(len(text).to_bytes(8, "little") + text, chunks))


def _chain(first: bytes, rest: Iterable[Any]) -> Iterable[Any]:
    yield first
    yield from rest


def _bytes(key: str, tensor: Tensor, path: Path) -> bytes:
    import torch

    value = tensor.detach().cpu()
    value = value.to(torch.float32 if value.is_floating_point() else torch.int64).contiguous()
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise WeightsError(
            f"{path.parent.name}: tensor {key!r} holds values that are not finite", fix="download it again"
        )
    return value.reshape(-1).numpy().tobytes()  # one tensor at a time; the file is never in memory whole


def _write(path: Path, chunks: Iterable[Any]) -> Stamp:
    """Complete under its name, or not there at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    digest, size = hashlib.sha256(), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise write_error(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)
    return Stamp(sha256=digest.hexdigest(), size_bytes=size)


def _target(folder: Path, name: str, part: Part) -> Path:
    return folder / (Path(part.member).name or name)


def _copy(source: Path, part: Part, target: Path) -> Stamp:
    """Keep a file, or one member of a zip archive, unread."""
    try:
        if not part.member:
            with open(source, "rb") as stream:
                reading.refuse_page(stream.read(4096), source)
                stream.seek(0)
                return _write(target, iter(lambda: stream.read(1 << 20), b""))
        with zipfile.ZipFile(source) as archive, archive.open(part.member) as member:
            return _write(target, iter(lambda: member.read(1 << 20), b""))
    except KeyError:
        raise WeightsError(f"{source} has no {part.member}", fix="download it again") from None
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise WeightsError(f"{source} cannot be read", got=str(error), fix="download it again") from None


def _locked(root: Path, path: Path, stamp: Stamp) -> LockedPart:
    file = path.relative_to(root / FOLDER).as_posix()
    return LockedPart(file=file, sha256=stamp.sha256, size_bytes=stamp.size_bytes)
