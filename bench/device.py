"""Devices and precision: the only place that decides where and how tensors are computed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    import torch

ACCELERATOR_BATCH = 64  # least batch on an accelerator where the user names none: small ones leave it idle


def resolve_device(name: str = "auto") -> torch.device:
    """``auto`` -> cuda, mps or cpu, whichever is there first; any other name must be available.

    On CUDA this also turns TF32 and non-deterministic cuDNN kernels off: measurements keep full float32.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if name not in available:
        raise BenchError(f"unknown device {name!r}", expected="auto, cpu, cuda or mps")
    if not available[name]:
        raise BenchError(
            f"device {name!r} is not available",
            got=", ".join(kind for kind, there in available.items() if there),
            expected=f"a machine and a torch build with {name}",
            fix="pass --device auto or --device cpu",
        )
    if name == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    return torch.device(name)


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """bfloat16 autocast for ``bf16``; nothing for ``fp32``."""
    if precision not in ("fp32", "bf16"):
        raise BenchError(f"unknown precision {precision!r}", expected="fp32 or bf16")
    if precision == "fp32":
        return nullcontext()
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16)


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
