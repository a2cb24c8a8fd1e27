"""Half precision: the number type of forward passes, and the scale that keeps float16 gradients from vanishing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from bench.errors import BenchError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
FP16_ON = ("cuda",)
LEAST = 1.0  # a scale below it means that losses, not their scale, are too large


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Forward passes inside compute in the precision named; fp32 leaves everything as it is."""
    return torch.autocast(device.type, DTYPES[precision]) if precision in DTYPES else nullcontext()


class LossScale:
    """What float16 needs beside autocast; for other precisions everything here does nothing but step.

    A loss is multiplied before its backward pass, and gradients are divided by the same number before they are
    clipped. A step whose gradients overflow is left out and the number halved; after many good ones it doubles
    (Micikevicius et al. 2018, by ``torch.amp.GradScaler``).

    Raises:
        BenchError: float16 on a device that computes it slowly or not at all.
    """

    def __init__(self, precision: str, device: torch.device):
        self.used = precision == "fp16"
        if self.used and device.type not in FP16_ON:
            raise BenchError(
                "precision fp16 needs a GPU", got=device.type, fix="set `precision: bf16` or `fp32` in the preset"
            )
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.used)

    def __call__(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss to differentiate."""
        return self._scaler.scale(loss)

    def undo(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """Divide the gradients of these optimisers, which have some."""
        for optimizer in optimizers:
            self._scaler.unscale_(optimizer)

    def overflown(self, norms: Mapping[str, float]) -> bool:
        """Whether gradients with these norms are too large for float16 only because they were scaled."""
        return self.used and self._scaler.get_scale() > LEAST and not all(map(math.isfinite, norms.values()))

    def step(self, optimizers: Iterable[torch.optim.Optimizer], skip: bool) -> None:
        """Step all of them, or none; then adapt the scale."""
        for optimizer in () if skip else optimizers:
            self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        return self._scaler.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state`."""
        if self.used and state:
            self._scaler.load_state_dict(state)
