"""Shards of images, the work done on them, how it is carried out, and what it reports."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bench.device import engine_for

if TYPE_CHECKING:
    import torch

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_on_tick: Callable[[float], None] | None = None  # where this process reports progress inside a shard


@dataclass(frozen=True)
class Shard:
    """Image ids worked on together. ``index`` is its place in the list of all shards."""

    index: int
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """An importable function and its keyword arguments: ``function(shard, **kwargs)`` in some process."""

    function: Callable[..., Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, shard: Shard) -> Any:
        return self.function(shard, **self.kwargs)


@dataclass(frozen=True)
class Execution:
    """How shards are computed: in which processes, and who hears of the progress. Results do not depend on it.

    Args:
        engine: "serial", or "processes": new ones, so that threads and accelerators of this one do no harm.
        workers: number of processes; None takes all cores this process may use.
        engine_asked: the user named the engine, which is then refused rather than replaced where it cannot run.
        on_tick: called in this process with what work reports through :func:`tick`.
    """

    engine: str = "serial"
    workers: int | None = None
    engine_asked: bool = False
    on_tick: Callable[[float], None] | None = None

    def quiet(self) -> Execution:
        """The same without progress."""
        return replace(self, on_tick=None)

    def serial_if(self, few: bool) -> Execution:
        """Serial where there are too few shards for processes to pay."""
        return replace(self, engine="serial") if few else self

    def on(self, device: torch.device) -> Execution:
        """The same with the engine that runs on ``device``; see :func:`bench.device.engine_for`."""
        return replace(self, engine=engine_for(device, self.engine, self.engine_asked))


SERIAL, PROCESSES = Execution(), Execution("processes")


def make_shards(ids: Sequence[str], size: int) -> list[Shard]:
    """Cut ids, in order, into shards of ``size`` (the last may be shorter)."""
    return [Shard(n, tuple(ids[start : start + size])) for n, start in enumerate(range(0, len(ids), size))]


def even_shards(ids: Sequence[str], most: int) -> list[Shard]:
    """Cut ids, in order, into an even number of shards, as equal as can be, of at most ``most``: where there are few,
    two workers then end together. The cut depends on the number of ids alone, not on that of workers.
    """
    count = 2 * max(1, -(-len(ids) // (2 * most)))
    return make_shards(ids, -(-len(ids) // count) or 1)


def default_workers() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tick(amount: float) -> None:
    """Called by work: ``amount`` more images (or a fraction of one) are done. Silent where nobody listens."""
    if _on_tick is not None:
        _on_tick(amount)


@contextmanager
def listening(on_tick: Callable[[float], None] | None) -> Iterator[None]:
    global _on_tick
    before, _on_tick = _on_tick, on_tick
    try:
        yield
    finally:
        _on_tick = before


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the block: the order of float additions is then the same everywhere.

    torch is not imported for the purpose; where work loads it inside the block it finds the variables set.
    """
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    if torch:
        torch.set_num_threads(1)
    try:
        with environment(THREAD_VARIABLES):
            yield
    finally:
        if torch and threads:
            torch.set_num_threads(threads)


@contextmanager
def environment(names: Sequence[str]) -> Iterator[None]:
    """Set variables to "1" and restore them afterwards."""
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
