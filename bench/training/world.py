"""The processes of a training: one, or as many as torchrun started.

Gradients are added up across processes once per step and network, by the loop itself and not by hooks of a wrapper
around one module's forward pass: a step here has several backward passes (inner steps, micro-batches, opponents,
gradient penalties), and a wrapper would either send all of them or have to be switched off for all but one.

The price: gradients travel after the last backward pass, in one message, and not while it still computes; and for that
message they are copied into one flat tensor, so each process needs their size in memory once more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bench.errors import BenchError


@dataclass(frozen=True)
class World:
    """``rank`` of ``size`` processes; the default is a process alone, for which everything below does nothing."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all processes, in one message per type of number."""
        if self.size == 1:
            return
        for dtype in sorted({t.dtype for t in tensors}, key=str):
            same = [t for t in tensors if t.dtype == dtype]
            flat = torch.cat([t.reshape(-1) for t in same])
            dist.all_reduce(flat)
            for tensor, part in zip(same, flat.split([t.numel() for t in same]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sum of each named number; every process has the same names."""
        if self.size == 1:
            return dict(values)
        row = torch.tensor([values[name] for name in sorted(values)], dtype=torch.float64)
        row = row.cuda() if dist.get_backend() == "nccl" else row
        dist.all_reduce(row)
        return dict(zip(sorted(values), row.tolist(), strict=True))

    def gather(self, item: Any) -> list[Any]:
        """What each process gives, by rank, for all of them."""
        if self.size == 1:
            return [item]
        gathered: list[Any] = [None] * self.size
        dist.all_gather_object(gathered, item)
        return gathered

    def leave(self) -> None:
        """Say goodbye to the other processes."""
        if self.size > 1:
            dist.destroy_process_group()


def join(device: torch.device) -> tuple[World, torch.device]:
    """The world torchrun describes in the environment, and this process's device in it.

    Raises:
        BenchError: more processes than GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        return World(), device
    local = int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise BenchError(
                "more processes than GPUs",
                got=f"process {local + 1} of this machine",
                expected=f"{torch.cuda.device_count()} at most",
                fix="lower --nproc-per-node",
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(dist.get_rank(), size), device
