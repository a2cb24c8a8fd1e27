"""Run work on images: ``map_shards`` spreads shards over processes, ``map_images`` isolates failures within one shard.

Work is cut by image id into shards of fixed composition, whatever the engine and the number of workers, and every
process computes with one thread, so rows do not depend on where they were computed. Shards must be idempotent. A
worker that dies takes down its own shard only: the others are finished before the error is raised.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, TypeVar

from threadpoolctl import threadpool_limits

from bench.device import engine_for, free_after, keep_memory
from bench.errors import BenchError, typed_message_of

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")

REASON = 300  # characters of an image's failure that are kept
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_CHILD_VARIABLES = ("NUMBA_NUM_THREADS",)  # numba refuses a change in a process where its threads have started
START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_on_tick: Callable[[float], None] | None = None  # where this process reports progress inside a shard
_forked = False  # this process was forked from a warm one (bench/cli/fork_server.py), for one command
_idle: list[_Worker] = []  # of a forked process, between two uses


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


def map_images(ids: Sequence[str], work: Callable[[Sequence[str]], Result]) -> tuple[list[Result], dict[str, str]]:
    """Apply ``work`` to a batch of images, and to parts of the batch where the whole fails.

    A batch that raises is tried again one image at a time, so that one image costs the others nothing. A batch that is
    too large for the accelerator's memory is halved instead.

    Args:
        ids: image ids of the batch, in order.
        work: called with the batch, or with parts of it: neighbours in ``ids``.
    Returns:
        results of the calls that succeeded, in the order of ``ids``; image id -> reason, of images that fail alone.
    Raises:
        BenchError: the user must mend something (weights, input, options), or the accelerator's memory is too small
            for one image.
    """
    try:
        return [work(ids)], {}
    except BenchError:  # not this image's fault
        raise
    except Exception as error:  # a method may raise anything; the other images must not suffer
        out_of_memory = free_after(error, alone=len(ids) == 1)
        if len(ids) == 1:
            return [], {ids[0]: typed_message_of(error, REASON)}
    size = (len(ids) + 1) // 2 if out_of_memory else 1
    results: list[Result] = []
    failures: dict[str, str] = {}
    for start in range(0, len(ids), size):
        found, failed = map_images(ids[start : start + size], work)
        results += found
        failures |= failed
    return results, failures


def check_failures(failures: Mapping[str, str], ids: Sequence[str], method: str, images: str) -> None:
    """Refuse results in which every image failed.

    Args:
        failures: image id -> reason.
        ids: all images that were tried.
        method: id of the method.
        images: what the images are, such as ``images of 'toy'``.
    Raises:
        BenchError: all failed; the message has the first reason.
    """
    if len(failures) < len(ids):
        return
    reason = next(iter(failures.values()), "no images")
    raise BenchError(f"method {method!r} failed on all {len(ids)} {images}", got=reason)


def default_workers() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_ready(*modules: str) -> None:
    """Start the process that workers are forked from, if there are to be any, while this one goes on.

    It imports ``modules`` once for all workers: what they need for any work, and what is slow to import. They must not
    start threads or open an accelerator; those that are not there are passed over. Without this call workers work as
    well, they only start later.
    """
    if _forked:
        if not _idle:
            context = multiprocessing.get_context("fork")
            _idle.extend(_Worker(context) for _ in range(default_workers()))
    elif START == "forkserver":
        from multiprocessing import forkserver

        multiprocessing.get_context(START).set_forkserver_preload(["__main__", *modules])
        with _environment((*_THREAD_VARIABLES, *_CHILD_VARIABLES)):
            forkserver.ensure_running()


def forked() -> None:
    """Tell that this process was forked from one that has imported everything, and that none of its threads runs yet.

    :func:`make_ready` then forks workers from it at once, and they stay for the next call of :func:`map_shards`: such a
    process carries out one command, so nothing that a worker remembers can be out of date.
    """
    global _forked
    _forked = True


def tick(amount: float) -> None:
    """Called by work: ``amount`` more images (or a fraction of one) are done. Silent where nobody listens."""
    if _on_tick is not None:
        _on_tick(amount)


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
    return _Pool(work, shards, count, on_done, on_tick).run()


def map_on_device(device: torch.device, work: Work, shards: Sequence[Shard], execution: Execution) -> list[Any]:
    """:func:`map_shards` of work that computes on ``device``: a single shard, or an accelerator, takes this process.

    Raises:
        BenchError: the user asked for processes, which do not run on this accelerator.
    """
    return map_shards(work, shards, execution.serial_if(len(shards) < 2).on(device))


def _serial(work: Work, shards: Sequence[Shard], on_done: Callable | None, on_tick: Callable | None) -> list[Any]:
    results = []
    keep_memory()
    with _listening(on_tick), one_thread():
        for shard in shards:
            results.append(work(shard))
            if on_done:
                on_done(shard, results[-1])
    return results


@contextmanager
def _listening(on_tick: Callable[[float], None] | None) -> Iterator[None]:
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
        with _environment(_THREAD_VARIABLES):
            yield
    finally:
        if torch and threads:
            torch.set_num_threads(threads)


@contextmanager
def _environment(names: Sequence[str]) -> Iterator[None]:
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


class _Worker:
    """A process of its own and the two ends of its pipe."""

    def __init__(self, context: Any):
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.shard: Shard | None = None

    def prepare(self, work: Work) -> None:
        """What its next shards are for. The environment is the parent's of now; a fork server may have another."""
        self._send((work, dict(os.environ)))

    def give(self, shard: Shard) -> None:
        self.shard = shard
        self._send(shard)

    def _send(self, message: Any) -> None:
        try:
            self.connection.send(message)
        except (BrokenPipeError, OSError):
            pass  # it has died; its sentinel says so

    def stop(self) -> None:
        """At once: an idle worker has nothing left to say, and a busy one's shard is atomic."""
        self.connection.close()
        for end in (self.process.terminate, self.process.kill):
            if self.process.is_alive():
                end()
                self.process.join(timeout=2)


class _Pool:
    """Gives one shard at a time to each worker, so that a death names exactly one shard."""

    def __init__(
        self, work: Work, shards: Sequence[Shard], count: int, on_done: Callable | None, on_tick: Callable | None
    ):
        self.context = multiprocessing.get_context(START)
        self.work, self.shards, self.count, self.on_done, self.on_tick = work, shards, count, on_done, on_tick
        self.todo = deque(shards)
        self.results: dict[int, Any] = {}
        self.lost: list[tuple[Shard, int | None]] = []
        self.error: BaseException | None = None
        self.workers: list[_Worker] = []

    def run(self) -> list[Any]:
        try:
            with _environment((*_THREAD_VARIABLES, *_CHILD_VARIABLES)):
                for _ in range(self.count):
                    self._start_worker()
                while any(w.shard for w in self.workers):
                    self._step()
        finally:
            for worker in self.workers:
                if _forked and worker.shard is None:
                    _idle.append(worker)
                else:
                    worker.stop()
        if self.error is not None:
            raise self.error
        if self.lost:
            self._raise_lost()
        return [self.results[shard.index] for shard in self.shards]

    def _start_worker(self) -> None:
        worker = _idle.pop() if _idle else _Worker(self.context)
        worker.prepare(self.work)
        self.workers.append(worker)
        self._feed(worker)

    def _feed(self, worker: _Worker) -> None:
        worker.shard = None
        if self.todo and self.error is None:
            worker.give(self.todo.popleft())

    def _step(self) -> None:
        """Wait for a message or a death and deal with it. A worker's last words are read before its death counts."""
        busy = {w.connection: w for w in self.workers if w.shard}
        dead = {w.process.sentinel: w for w in self.workers if w.shard}
        ready = wait([*busy, *dead])
        spoken = [busy[r] for r in ready if r in busy]
        for worker in spoken:
            try:
                self._hear(worker, *worker.connection.recv())
            except (EOFError, OSError):
                self._bury(worker)
        for worker in (dead[r] for r in ready if r in dead):
            if worker not in spoken:
                self._bury(worker)

    def _hear(self, worker: _Worker, kind: str, value: Any) -> None:
        if kind == "tick":
            if self.on_tick:
                self.on_tick(value)
            return
        shard = worker.shard
        assert shard is not None
        if kind == "done":
            self.results[shard.index] = value
            if self.on_done:
                self.on_done(shard, value)
        else:
            self.error = self.error or value
        self._feed(worker)

    def _bury(self, worker: _Worker) -> None:
        if worker.shard is not None:
            worker.process.join(timeout=5)
            self.lost.append((worker.shard, worker.process.exitcode))
            worker.shard = None
        self.workers.remove(worker)
        worker.stop()
        if self.todo and self.error is None and len(self.lost) < 2 * self.count + 2:  # not for ever: each may be killed
            self._start_worker()

    def _raise_lost(self) -> None:
        names = ", ".join(f"{s.index} ({s.ids[0]} to {s.ids[-1]}, exit code {code})" for s, code in self.lost)
        finished = len(self.results)
        raise BenchError(
            f"worker processes died in shard {names}",
            got=f"{finished} of {len(self.shards)} shards finished",
            expected="all",
            fix="run the same command again: finished shards are kept; if it ran out of "
            "memory, lower --workers or --batch-size",
        )


def _serve(connection: Connection) -> None:
    """A worker's life: take work and its shards, answer, until the pipe closes. Interrupts are the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory()
    _leave_with_parent()
    work: Work | None = None
    with _listening(lambda amount: connection.send(("tick", amount))), one_thread(), _one_thread_of_libraries():
        while True:
            try:
                message = connection.recv()
            except (EOFError, OSError):
                return
            if not isinstance(message, Shard):
                work, environment = message
                os.environ.clear()
                os.environ.update(environment)
                continue
            assert work is not None
            try:
                answer = ("done", work(message))
            except Exception as error:  # sent to the parent, which raises it
                answer = ("error", _portable(error, message))
            try:
                connection.send(answer)
            except (BrokenPipeError, OSError):
                return


def _one_thread_of_libraries() -> AbstractContextManager[Any]:
    """The same for libraries of linear algebra that were loaded, with more threads, before this process was forked."""
    return threadpool_limits(1) if _forked else nullcontext()


def _portable(error: Exception, shard: Shard) -> Exception:
    """The error itself if it is one for the user, else a RuntimeError that carries the worker's traceback as text."""
    if isinstance(error, BenchError):
        return error
    trace = "".join(traceback.format_exception(error))
    return RuntimeError(f"shard {shard.index} ({shard.ids[0]} to {shard.ids[-1]}) failed:\n{trace}")


def _leave_with_parent() -> None:
    """Exit at once if the parent is gone, even in the middle of a shard: a resumed run must not meet an old worker."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
