"""Reading files that strangers made: tensors and plain values come out, code never runs.

PyTorch checkpoints (zip, and the format before torch 1.6) go through ``weights_only=True`` with a few harmless types
added. There is no fallback to full unpickling: a file that needs one is refused.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from bench.errors import WeightsError, message_of
from bench.weights import npy

_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled number that opens files before torch 1.6
_NVIDIA = (b"dnnlib", b"torch_utils", b"legacy", b"G_ema")
_PATHS = {"PosixPath": PurePosixPath, "WindowsPath": PureWindowsPath}  # Python 3.13 has them in pathlib._local
_WEB = (b"<!doctype", b"<html", b"<head", b"<?xml")


def read_checkpoint(path: str | Path, crc: bool = True) -> dict[str, Any]:
    """Top-level content of a checkpoint: dicts, tensors on the CPU, numbers, text.

    Zip checkpoints are memory-mapped: tensors take memory only while they are used.

    Args:
        crc: check a zip file's own checksums first (a second per gigabyte). Leave it on where no SHA-256 vouches.
    Raises:
        WeightsError: not there, truncated, a web page, a network pickle of NVIDIA, TorchScript, or anything that
            would need code to be run.
    """
    path = Path(path)
    try:
        with open(path, "rb") as stream:
            head = stream.read(1 << 20)
    except OSError as error:
        raise WeightsError(f"cannot read {path}", got=error.strerror or str(error), fix="correct the path") from None
    refuse_page(head, path)
    if head.startswith(npy.MAGIC):
        return _tensors(npy.read_arrays(path))
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path, crc)
        return _torch(path, mmap=True)
    if head.startswith(_OLD_TORCH):
        return _torch(path, mmap=False)
    if _is_safetensors(head):
        return _safetensors(path)
    raise _unknown(head, path)


def refuse_page(head: bytes, path: str | Path) -> None:
    """Raise if the bytes are a web page, which hosts send in place of a file they do not hand out."""
    if head.lstrip()[:20].lower().startswith(_WEB):
        raise WeightsError(
            f"{path} is a web page, not a weight file",
            expected="a PyTorch checkpoint",
            fix="the host asked for a confirmation; download it in a browser, then `bench fetch --from FOLDER`",
        )


def _unknown(head: bytes, path: Path) -> WeightsError:
    if path.suffix == ".pkl" or (head.startswith(b"\x80") and any(word in head for word in _NVIDIA)):
        return WeightsError(
            f"{path} is a pickle that carries code, as NVIDIA publishes its networks; it is not opened",
            expected="the same generator as a state dict in rosinality's layout (.pt with g_ema and latent_avg)",
            fix="take the converted file listed in weights/published.yaml (`bench ls weights`), such as "
            "stylegan2-ffhq-config-f.pt, or convert yours in a machine you can lose with convert_weight.py of "
            "rosinality/stylegan2-pytorch",
        )
    if head.startswith(b"\x80"):
        return WeightsError(
            f"{path} is a bare pickle; it is not opened, for unpickling runs whatever the file says",
            expected="a checkpoint written by torch.save, or safetensors",
        )
    return WeightsError(
        f"{path} is no weight file known here",
        got=f"bytes {head[:8].hex(' ')}" if head else "an empty file",
        expected="a PyTorch checkpoint, safetensors, or a .npy dict of arrays",
        fix="download it again",
    )


def _check_zip(path: Path, crc: bool) -> None:
    fix = "download it again"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            bad = archive.testzip() if crc else None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise WeightsError(f"{path} is damaged or incomplete", got=str(error), fix=fix) from None
    if bad is not None:
        raise WeightsError(f"{path} is damaged", got=f"wrong checksum of {bad}", fix=fix)
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        raise WeightsError(f"{path} is a TorchScript program; it is not run", expected="a state dict")
    if not any(name.endswith("/data.pkl") for name in names):
        raise WeightsError(f"{path} is a zip archive without a checkpoint", got=", ".join(names[:5]), fix=fix)


def _safe_types() -> list[Any]:
    """Types beyond PyTorch's own list that training options may hold; building one runs no code."""
    import numpy as np

    scalar = np.float64(0).__reduce__()[0]
    numbers = [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "b1")]
    return [
        argparse.Namespace,
        np.dtype,
        *numbers,
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        *[(kind, f"{module}.{name}") for module in ("pathlib", "pathlib._local") for name, kind in _PATHS.items()],
    ]


def _torch(path: Path, mmap: bool) -> dict[str, Any]:
    import torch

    try:
        with torch.serialization.safe_globals(_safe_types()):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # hostile and damaged files fail in many ways; none may reach the user as a trace
        raise _refusal(path, error) from None
    if isinstance(content, argparse.Namespace):
        content = vars(content)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds no dict of tensors", got=type(content).__name__)
    return dict(content)


def _refusal(path: Path, error: Exception) -> WeightsError:
    text = message_of(error)
    for opening in ("Unsupported global: GLOBAL ", "Unsupported class ", "Trying to load unsupported GLOBAL "):
        if opening in text:
            name = text.split(opening, 1)[1].split(" ")[0]
            return WeightsError(
                f"{path} is not opened: it asks for {name}, which is neither a tensor nor a plain value",
                expected="tensors, numbers and text only",
                fix="take the file from its published address; nothing in it was run",
            )
    return WeightsError(
        f"{path} cannot be read as a checkpoint",
        got=f"{type(error).__name__}: {text[:200]}",
        expected="an undamaged file of tensors and plain values",
        fix="download it again; nothing in it was run",
    )


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000


def _safetensors(path: Path) -> dict[str, Any]:
    import safetensors.torch

    try:
        return dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read", got=str(error), expected="a safetensors file") from None


def _tensors(arrays: Mapping[str, Any]) -> dict[str, Any]:
    import numpy as np
    import torch

    return {key: torch.from_numpy(np.array(value, copy=True, order="C")) for key, value in arrays.items()}
