"""Worker processes: each is given one shard at a time, so that a death names exactly one shard."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.connection import Connection, wait
from typing import Any

from threadpoolctl import threadpool_limits

from bench.device import keep_memory
from bench.engine.shards import THREAD_VARIABLES, Shard, Work, default_workers, environment, listening, one_thread
from bench.errors import BenchError

CHILD_VARIABLES = ("NUMBA_NUM_THREADS",)  # numba refuses a change in a process where its threads have started
START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_forked = False  # this process was forked from a warm one (bench/cli/fork_server.py), for one command
_idle: list[Worker] = []  # of a forked process, between two uses


def make_ready(*modules: str) -> None:
    """Start the process that workers are forked from, if there are to be any, while this one goes on.

    It imports ``modules`` once for all workers: what they need for any work, and what is slow to import. They must not
    start threads or open an accelerator; those that are not there are passed over. Without this call workers work as
    well, they only start later.
    """
    if _forked:
        if not _idle:
            context = multiprocessing.get_context("fork")
            _idle.extend(Worker(context) for _ in range(default_workers()))
    elif START == "forkserver":
        from multiprocessing import forkserver

        multiprocessing.get_context(START).set_forkserver_preload(["__main__", *modules])
        with environment((*THREAD_VARIABLES, *CHILD_VARIABLES)):
            forkserver.ensure_running()


def forked() -> None:
    """Tell that this process was forked from one that has imported everything, and that none of its threads runs yet.

    :func:`make_ready` then forks workers from it at once, and they stay for the next call of :func:`map_shards`: such a
    process carries out one command, so nothing that a worker remembers can be out of date.
    """
    global _forked
    _forked = True


class Worker:
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


class Pool:
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
        self.workers: list[Worker] = []

    def run(self) -> list[Any]:
        try:
            with environment((*THREAD_VARIABLES, *CHILD_VARIABLES)):
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
        worker = _idle.pop() if _idle else Worker(self.context)
        worker.prepare(self.work)
        self.workers.append(worker)
        self._feed(worker)

    def _feed(self, worker: Worker) -> None:
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

    def _hear(self, worker: Worker, kind: str, value: Any) -> None:
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

    def _bury(self, worker: Worker) -> None:
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
    with listening(lambda amount: connection.send(("tick", amount))), one_thread(), _one_thread_of_libraries():
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
