"""Work on all shards, in this process or in several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bench.device import keep_memory
from bench.engine.processes import Pool
from bench.engine.shards import SERIAL, Execution, Shard, Work, default_workers, listening, one_thread
from bench.errors import BenchError

if TYPE_CHECKING:
    import torch


def map_shards(
    work: Work,
    shards: Sequence[Shard],
    execution: Execution = SERIAL,
    on_done: Callable[[Shard, Any], None] | None = None,
) -> list[Any]:
    """Apply ``work`` to every shard.

    Args:
        execution: engine, workers and progress.
        on_done: called here with each finished shard and its result, in order of completion.
    Returns:
        Results in the order of ``shards``.
    Raises:
        Exception: the first one that work raised; no further shard is started after it.
        BenchError: worker processes died; the message names their shards. All others were finished before.
    """
    engine, workers, on_tick = execution.engine, execution.workers, execution.on_tick
    if engine not in ("serial", "processes"):
        raise BenchError(f"unknown engine {engine!r}", expected="serial or processes")
    if workers is not None and workers < 1:
        raise BenchError("--workers must be positive", got=workers, expected="1 or more")
    count = min(workers or default_workers(), len(shards))
    if engine == "serial" or not shards:
        return _serial(work, shards, on_done, on_tick)
    return Pool(work, shards, count, on_done, on_tick).run()


def map_on_device(device: torch.device, work: Work, shards: Sequence[Shard], execution: Execution) -> list[Any]:
    """:func:`map_shards` of work that computes on ``device``: a single shard, or an accelerator, takes this process.

    Raises:
        BenchError: the user asked for processes, which do not run on this accelerator.
    """
    return map_shards(work, shards, execution.serial_if(len(shards) < 2).on(device))


def _serial(work: Work, shards: Sequence[Shard], on_done: Callable | None, on_tick: Callable | None) -> list[Any]:
    results = []
    keep_memory()
    with listening(on_tick), one_thread():
        for shard in shards:
            results.append(work(shard))
            if on_done:
                on_done(shard, results[-1])
    return results
