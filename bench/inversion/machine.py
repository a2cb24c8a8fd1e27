"""What timing reads off the machine and off a method: names, threads, load, memory, parameter counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.names import config_hash
from bench.store import provenance

if TYPE_CHECKING:
    import torch

    from bench.api import Method


def count_parameters(method: Method) -> dict[str, int]:
    """Parameters of the shared generator and of the method's own networks, each tensor once."""
    from torch import nn

    def tensors(value: Any) -> dict[int, int]:
        if isinstance(value, nn.Module):
            return {id(p): p.numel() for p in value.parameters()}
        if isinstance(value, (list, tuple, dict)):
            items = value.values() if isinstance(value, dict) else value
            return {k: v for item in items for k, v in tensors(item).items()}
        return {}

    shared = {k: v for value in vars(method.generator).values() for k, v in tensors(value).items()}
    own = {k: v for value in vars(method).values() for k, v in tensors(value).items() if k not in shared}
    return {"generator": sum(shared.values()), "method": sum(own.values())}


def device_name(device: torch.device) -> str:
    """The accelerator's or the processor's name."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else provenance.cpu_name()


def machine_slug(device: torch.device, precision: str, threads: int) -> str:
    """Folder name of timings that may be compared: machine, device, threads and precision."""
    words = [provenance.machine_id(), f"cpu_{threads}t" if device.type == "cpu" else device.type]
    return "_".join(words + [precision] * (precision != "fp32"))


def fingerprint(device: torch.device, precision: str, threads: int) -> str:
    """16 hex digits of what seconds depend on beside the method: device, driver, libraries, threads, precision."""
    import torch

    facts = {
        "machine": provenance.machine_id(),
        "device": device_name(device),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "torch": torch.__version__,
        "system": provenance.machine()["release"],
        "threads": threads,
        "precision": precision,
    }
    return config_hash(facts)


def threads() -> int:
    """Threads torch computes with in this process."""
    import torch

    return torch.get_num_threads()


def load_average() -> list[float] | None:
    """1, 5 and 15 minutes, before timing: tells a busy machine from an idle one. None where the system has none."""
    try:
        return [round(v, 2) for v in os.getloadavg()]
    except OSError:
        return None


def reset_peak(device: torch.device) -> None:
    """Start the peak anew; Linux can do it for a process by writing ``5`` to clear_refs."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak_memory(device: torch.device) -> dict[str, Any]:
    """{"bytes", "kind"}: allocated device memory on CUDA, resident memory of the process elsewhere."""
    import torch

    if device.type == "cuda":
        return {"bytes": torch.cuda.max_memory_allocated(device), "kind": "peak CUDA allocation while sampling"}
    kind = "resident memory of the process"
    try:
        status = Path("/proc/self/status").read_text()
        line = next(text for text in status.splitlines() if text.startswith("VmHWM"))
        return {"bytes": int(line.split()[1]) * 1024, "kind": f"peak {kind} while sampling"}
    except (OSError, StopIteration):
        import psutil

        return {"bytes": psutil.Process().memory_info().rss, "kind": f"{kind} after sampling"}
