"""Warm starts, the client's side: commands are forked from one process that has imported what is slow to import.

A pipeline is a hundred commands, and each would spend seconds importing torch, its workers once more. Inside
:func:`serving` a server holds these imports. A command that finds it hands over its arguments, environment, folder and
standard streams, passes signals on, and ends as the process does that the server forked for it. Workers are forked from
that one in turn (:func:`bench.engine.forked`). What is computed is the same: a fork is one command's own process.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

VARIABLE = "HFGI_BENCH_WARM"  # environment: the server's socket
LONGEST = 107  # bytes of a socket's path on Linux (sun_path of unix(7), less its end)
COLD = 1 << 20  # answer instead of an exit code: this command must start by itself
PASSED_ON = (signal.SIGINT, signal.SIGTERM)
# What a process takes over when it starts or imports; where these differ from the server's, a fork of it would not do.
AT_START = (
    "PYTHONPATH",
    "PYTHONHASHSEED",
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "NUMBA_",
    "GOMP_",
    "KMP_",
    "MPL",
    "TORCH",
    "LD_",
)


@contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Run a server for the block; yields the variable by which commands of this environment find it.

    It lives no longer than this process. Nothing is yielded, and commands start by themselves, where processes cannot
    be forked safely (not Linux) and where the folder for temporary files is too deep for a socket.
    """
    with TemporaryDirectory(prefix="hfgi-bench-") as folder:
        address = str(Path(folder) / "warm")
        if sys.platform != "linux" or len(os.fsencode(address)) > LONGEST:
            yield {}
            return
        with socket.socket(socket.AF_UNIX) as listener:  # open from now on: commands wait until the server is ready
            listener.bind(address)
            listener.listen(16)
            # -P: the folder it is started in is no place to import from, as for the console script
            command = [sys.executable, "-P", "-m", "bench.cli.server", str(listener.fileno()), address]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
            server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], **quiet)
        try:
            yield {VARIABLE: address}
        finally:
            server.terminate()
            server.wait()


def hand_over(address: str, argv: Sequence[str]) -> int:
    """Have a command carried out by the server.

    Returns:
        its exit code, minus the number of the signal that ended it, or COLD.
    """
    mask = os.umask(0)
    os.umask(mask)
    order = {"argv": list(argv), "environment": dict(os.environ), "folder": os.getcwd(), "mask": mask}
    text = json.dumps(order).encode()
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address)
        socket.send_fds(connection, [struct.pack("Q", len(text))], [0, 1, 2])
        connection.sendall(text)
    except OSError:  # it has gone, or a standard stream is closed
        return COLD

    def pass_on(number: int, _: Any) -> None:
        with suppress(OSError):
            connection.send(bytes([number]))

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    answer = receive(connection, 4)
    for number, handler in before.items():
        signal.signal(number, handler)
    return struct.unpack("i", answer)[0] if len(answer) == 4 else -signal.SIGKILL  # only a kill leaves no answer


def receive(connection: socket.socket, count: int) -> bytes:
    """``count`` bytes, fewer where the other end closes."""
    received = b""
    while len(received) < count and (part := connection.recv(count - len(received))):
        received += part
    return received


def at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Pick the variables that a process takes over when it starts."""
    return {name: value for name, value in environment.items() if name.startswith(AT_START)}
