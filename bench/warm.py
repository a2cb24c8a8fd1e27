"""The console entry point, and warm starts: commands forked from one process that has imported what is slow to import.

A pipeline is a hundred commands, and each would spend seconds importing torch, its workers once more. Inside
:func:`serving` a server holds these imports. A command that finds it hands over its arguments, environment, folder and
standard streams, passes signals on, and ends as the process does that the server forked for it. Workers are forked from
that one in turn (:func:`bench.engine.forked`). What is computed is the same: a fork is one command's own process.
"""

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
import subprocess
import sys
import threading
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
AT_START = ("PYTHONPATH", "PYTHONHASHSEED", "OMP_", "MKL_", "OPENBLAS_", "NUMBA_", "GOMP_", "KMP_", "MPL", "TORCH", "LD_")
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
    "bench.cli",
    "bench.annyfaces.render",
    "bench.edit_scoring",
    "bench.rate",
    "bench.report.layout",
    "bench.runner",
    "bench.scoring",
    "bench.timing",
    "bench.video_scoring",
)


def main() -> None:
    """Console entry: by the server if there is one, else here. Leaves with the command's exit code."""
    address = os.environ.get(VARIABLE)
    code = _hand_over(address, sys.argv[1:]) if address else COLD
    if code == COLD:
        from bench.cli import main as run

        run()
    if code < 0:  # end as the process did
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    raise SystemExit(code)


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
            command = [sys.executable, "-P", "-m", "bench.warm", str(listener.fileno()), address]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
            server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], **quiet)
        try:
            yield {VARIABLE: address}
        finally:
            server.terminate()
            server.wait()


def _hand_over(address: str, argv: Sequence[str]) -> int:
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
    answer = _receive(connection, 4)
    for number, handler in before.items():
        signal.signal(number, handler)
    return struct.unpack("i", answer)[0] if len(answer) == 4 else -signal.SIGKILL  # only a kill leaves no answer


def _receive(connection: socket.socket, count: int) -> bytes:
    """``count`` bytes, fewer where the other end closes."""
    received = b""
    while len(received) < count and (part := connection.recv(count - len(received))):
        received += part
    return received


def _serve(listener: socket.socket) -> None:
    """Import, then fork for each command, until standard input ends: its other end is with the process that started us.

    Commands that come before the imports are done wait. Nothing is computed here, so that no thread of ours is lost in
    a fork; those of OpenBLAS, which start with its import, are restarted there by itself.
    """
    own = _at_start(os.environ)  # of now: libraries set some themselves
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
    order = json.loads(_receive(connection, struct.unpack("Q", head)[0]))
    if _at_start(order["environment"]) != own:
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


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(AT_START)}


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
    from bench.cli import run_cli

    engine.forked()
    code = run_cli(order["argv"])
    # Leave without taking all modules apart object by object: each page touched is copied first, which takes a second.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
