"""Devices and precision: the only place that decides where and how tensors are computed."""

from __future__ import annotations

import ctypes
import sys
import traceback
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from bench.errors import BenchError, message_of

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT = 1 << 28  # bytes
ACCELERATOR_BATCH = 64  # least batch on an accelerator where the user names none: small ones leave it idle


def resolve_device(name: str = "auto") -> torch.device:
    """``auto`` -> cuda, mps or cpu, whichever is there first; any other name must be available.

    On CUDA this also turns TF32 and non-deterministic cuDNN kernels off: measurements keep full float32.
    """
    import torch

    available = [*accelerators(), "cpu"]
    if name == "auto":
        name = available[0]
    if name not in ("cpu", "cuda", "mps"):
        raise BenchError(f"unknown device {name!r}", expected="auto, cpu, cuda or mps")
    if name not in available:
        raise BenchError(
            f"device {name!r} is not available",
            got=", ".join(available),
            expected=f"a machine and a torch build with {name}",
            fix="pass --device auto or --device cpu",
        )
    if name == "cuda":
        full_precision()
    return torch.device(name)


def accelerators() -> list[str]:
    """Kinds of accelerator this machine has and torch can use: "cuda", "mps"."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [kind for kind, found in there.items() if found]


def full_precision() -> None:
    """Products and convolutions of float32 in float32, and by the same algorithm each time. Of CUDA; nothing elsewhere."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False  # torch's default for convolutions is True: 10 bits of mantissa
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def keep_memory() -> None:
    """Let this process keep what it frees, for the next batch of the same sizes.

    glibc hands blocks of tens of megabytes back to the system, which clears each page when it is asked for again: pixel
    metrics cost twice as much then, and a generator at 128 px a tenth more. Nothing on other C libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for threshold in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(threshold, KEPT)


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """bfloat16 autocast for ``bf16``; nothing for ``fp32``."""
    if precision not in ("fp32", "bf16"):
        raise BenchError(f"unknown precision {precision!r}", expected="fp32 or bf16")
    if precision == "fp32":
        return nullcontext()
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16)


def free_after(error: BaseException, alone: bool) -> bool:
    """Let go of what a failed computation still holds on the device, so that its pictures can be tried again.

    Args:
        alone: it was of one picture, so no smaller batch is left to try.
    Returns:
        whether an accelerator's memory was what it lacked.
    Raises:
        BenchError: it was, and the picture was alone: the machine's fault, and every other picture's fate too.
    """
    import torch

    traceback.clear_frames(error.__traceback__)
    full = isinstance(error, torch.OutOfMemoryError)
    if full and alone:
        raise out_of_memory(error) from None
    return full


def out_of_memory(error: BaseException) -> BenchError:
    """What to tell a user whose accelerator is full, from torch's error."""
    return BenchError(
        "the accelerator has too little memory",
        got=". ".join(message_of(error).split(". ")[:2]),
        fix="close what else uses it; pass a smaller --batch-size, for a training a smaller `micro_batch` or "
        "`recompute: true`; or pass --device cpu",
    )


def engine_for(device: torch.device, engine: str, asked: bool) -> str:
    """Processes would fight for one accelerator: there the engine is serial, unless the user asked otherwise."""
    if device.type == "cpu" or engine == "serial":
        return engine
    if asked:
        raise BenchError(
            f"engine {engine!r} does not run on {device.type}",
            expected="serial",
            fix="drop --engine or pass --device cpu",
        )
    return "serial"
