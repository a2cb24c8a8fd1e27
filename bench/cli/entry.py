"""The console entry point: a command runs in a fork of the warm server if there is one, else in this process."""

from __future__ import annotations

import os
import signal
import sys

from bench.cli.fork_server import COLD, VARIABLE, hand_over


def main() -> None:
    """Run the command line and leave with its exit code."""
    address = os.environ.get(VARIABLE)
    code = hand_over(address, sys.argv[1:]) if address else COLD
    if code == COLD:
        from bench.cli.app import main as run

        run()
    if code < 0:  # end as the process did
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    raise SystemExit(code)
