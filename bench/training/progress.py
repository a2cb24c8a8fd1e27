"""Networks of an unfinished generator training as one small committed file, from which it goes on elsewhere.

Generators are stored in float16, all other networks in 8 bits: matrices and kernels as whole numbers with one scale for
each output channel. The file is no weight of the benchmark: weights/manifest.yaml, on which all results depend, does not
name it. Its SHA-256 stands in the record beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import BenchError, WeightsError
from bench.files import atomic_write, file_sha256
from bench.training import checkpoint
from bench.training.config import GeneratorConfig, read_config
from bench.weights import manifest as weights

EXACT = ("generator", "average_generator")  # networks that are exported in the end
ANEW = ("average_encoder.",)  # copied from the live network at a warm start
IMPLIED = ("average_generator.noises.",)  # equal to the live network's
POWER = "._v"  # ends the names of vectors that spectral normalisation finds again in its next step
SCALE = ".scale"  # after the name of a tensor of 8 bits
LEVELS = 127


def packed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of :class:`bench.training.generator.Networks` -> tensors to store, about 14 MB for 128 px."""
    tensors = dict[str, Tensor]()
    for key, value in state.items():
        net = key.split(".")[0]
        if key.startswith((*ANEW, *IMPLIED)) or key.endswith(POWER):
            continue
        if net in EXACT or value.ndim < 2 or not value.is_floating_point():
            tensors[key] = value
            continue
        scale = value.abs().amax(tuple(range(1, value.ndim)), keepdim=True).clamp(min=1e-12) / LEVELS
        tensors[key] = (value / scale).round().to(torch.int8)
        tensors[key + SCALE] = scale.flatten()
    return tensors


def unpacked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo :func:`packed`, to about 1/250 of a channel's largest number."""
    tensors = dict[str, Tensor]()
    for key, value in stored.items():
        if key.startswith("generator.noises."):
            tensors[f"average_{key}"] = value
        if key.endswith(SCALE) and key.removesuffix(SCALE) in stored:
            continue
        scale = stored.get(key + SCALE)
        tensors[key] = value if scale is None else value.float() * scale.view(-1, *[1] * (value.ndim - 1))
    return tensors


def read_progress(root: Path, file: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Networks and record (position, step, phase, ...) of a file under ``weights/``.

    Raises:
        WeightsError: file or record is missing, or the file is not the one of the record.
    """
    path = root / weights.FOLDER / file
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"no progress to start from at {path}", got=str(error), fix="restore it and the .json beside it from git"
        ) from None
    if file_sha256(path) != record["sha256"]:
        raise WeightsError(
            f"{path} is not the file that its record names",
            got=f"sha256 {file_sha256(path)}",
            expected=record["sha256"],
            fix="restore both from git",
        )
    return unpacked(weights.parse(data, str(path))[0]), record


def write_progress(config_path: Path, root: Path) -> list[Path]:
    """Write the last checkpoint of a run as the file that its configuration starts from.

    Returns:
        file and record.
    Raises:
        BenchError: no checkpoint, or ``warm_start`` names no file.
    """
    config = read_config(config_path)
    if not config.warm_start or not config.warm_start.endswith(".safetensors"):
        raise BenchError(
            f"{config_path} does not say where progress goes",
            got=f"warm_start: {config.warm_start}",
            expected="a .safetensors file, relative to weights/",
        )
    saved = checkpoint.load(root / weights.FOLDER / "training" / config_path.stem / "checkpoint.pt")
    path = root / weights.FOLDER / config.warm_start
    path.parent.mkdir(parents=True, exist_ok=True)
    about = described(config, saved)
    about["sha256"] = weights.save(path, packed(saved["training"]["nets"]), about)
    atomic_write(path.with_suffix(".json"), (json.dumps(about, indent=1) + "\n").encode())
    return [path, path.with_suffix(".json")]


def described(config: GeneratorConfig, saved: Mapping[str, Any]) -> dict[str, Any]:
    """What a run needs to go on, and what it has reached."""
    training = saved["training"]
    return {
        "domain": config.domain,
        "dataset": config.dataset,
        "seed": config.seed,
        "position": training["position"],
        "step": training["step"],
        "phase": training["phase"],
        "best": saved.get("best"),
    }
