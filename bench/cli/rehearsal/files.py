"""Files in the published layouts, keys and training options included, filled by rule."""

from __future__ import annotations

import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench.cli.rehearsal import onnx_file
from bench.cli.rehearsal.fill import fill
from bench.errors import BenchError, message_of
from bench.files import write_error
from bench.weights import layouts
from bench.weights.listing import Part, Published, PublishedFile

# Seeds of the golden vectors, by layout and, for encoders, by the type that training options name.
SEEDS = {"generator": 100, "consultation_encoder": 105, "aligner": 106, "latent_avg": 112}
ENCODER_SEEDS = {
    "GradualStyleEncoder": 101,
    "Encoder4Editing": 102,
    "BackboneEncoder": 103,
    "ProgressiveBackboneEncoder": 104,
}
COPY_PREFIX = "decoder."  # names of generators start with it wherever they are: all copies are equal
FIRST_FREE_SEED = 1000
OPTIONS = {  # what training options of the published files hold beside the encoder's type
    "dataset_type": "ffhq_encode",
    "device": "cuda:0",
    "learn_in_w": False,
    "start_from_latent_avg": True,
    "distortion_scale": 0.15,
    "aug_rate": 0.9,
}


def can_stand_in(entry: Published) -> str | None:
    """None, or why no file filled by rule can take the place of these weights."""
    raw = [part for part in entry.parts.values() if part.raw]
    if any(part.interface is None or not part.member.endswith(".onnx") for part in raw):
        return "kept as published, unread"
    if raw and find_spec("onnx") is None:
        return "package onnx is not installed"
    if any(not part.layout for part in entry.parts.values() if not (part.optional or part.raw)):
        return "its layout is not known"
    return None


def write_file(entry: Published, file: PublishedFile, folder: Path) -> Path:
    """One published file: its sections, keys and prefixes in their order, tensors by rule.

    Raises:
        BenchError: the disk is full or read-only.
    """
    import torch

    content: dict[str, Any] = {}
    members: dict[str, bytes] = {}
    for name, part in entry.parts.items():
        if part.optional or entry.file_of(name).name != file.name:
            continue
        if part.interface is not None:
            members[part.member] = onnx_file.network(part.interface, seed_of(entry, part))
            continue
        tensors = {part.prefix + k: torch.from_numpy(v) for k, v in part_arrays(entry, part).items()}
        if part.layout == "latent_avg":
            content.update(tensors)
        elif part.at:
            content.setdefault(part.at, {}).update(tensors)
        else:
            content.update(tensors)
    if entry.opts:
        content["opts"] = {**OPTIONS, **entry.opts, "output_size": entry.size, "stylegan_size": entry.size}
    path = folder / file.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if members:
            onnx_file.write_pack(path, members)
        else:
            _save(content, path)
    except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
        if isinstance(error, OSError):
            raise write_error(path, error) from None
        raise BenchError(f"{path} cannot be written", got=message_of(error, 200)) from None
    return path


def _save(content: dict[str, Any], path: Path) -> None:
    """As the source stores it: ``.npy`` files hold a pickled dict of arrays, all others are PyTorch checkpoints."""
    import torch

    if path.suffix == ".npy":
        arrays = {key: value.numpy() for key, value in content.items()}
        np.save(path, np.array(arrays, dtype=object), allow_pickle=True)
    else:
        torch.save(content, path)


def part_arrays(entry: Published, part: Part) -> dict[str, Any]:
    """key -> array of a part, keys without prefix."""
    prefix = COPY_PREFIX if part.layout == "generator" else part.prefix
    return fill(layouts.expected(part.layout, entry.size, part.args), seed_of(entry, part), prefix)


def seed_of(entry: Published, part: Part) -> int:
    """The golden vectors' seed where they have one, else one from the entry's id."""
    if part.layout in SEEDS:
        return SEEDS[part.layout]
    kind = str(entry.opts.get("encoder_type", ""))
    if part.layout.endswith("_encoder") and kind in ENCODER_SEEDS:
        return ENCODER_SEEDS[kind]
    return FIRST_FREE_SEED + zlib.crc32(f"{entry.id}/{part.layout}".encode()) % 1_000_000
