"""One writer at a time: a lock that the system lets go of when its holder dies, however it dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bench.errors import BenchError
from bench.images import write_error


@contextmanager
def only_writer(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file ``path`` inside the block; it is removed afterwards. Where there are no such locks, go on.

    Args:
        what: the thing being written, for the message.
    Raises:
        BenchError: another process holds it, or the file cannot be written.
    """
    try:
        import fcntl  # noqa: F401
    except ImportError:  # Windows
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = _held(path)
    except BlockingIOError:
        raise BenchError(
            f"{what} is being written by another process", expected="one writer", fix="wait for it, or stop it"
        ) from None
    except OSError as error:
        raise write_error(path, error) from None
    with stream:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is still held: nobody can have another file under this name


def _held(path: Path) -> IO[str]:
    """The locked file that has the name ``path`` now.

    Between opening and locking, its last holder may have removed the file: such a lock would hold nothing, as the next
    process makes a new file. Then the name is opened again.
    """
    import fcntl

    while True:
        stream = open(path, "a")  # noqa: SIM115  held by the caller
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(stream.fileno()), os.stat(path)):
                return stream
        except FileNotFoundError:
            pass
        except BaseException:
            stream.close()
            raise
        stream.close()
