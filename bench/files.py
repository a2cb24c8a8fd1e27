"""Files, the one way they are read and written here: atomically, with errors in one line, one writer at a time.

JSON, CSV and images (PNG). CSV is quoted where needed, with ``\\n`` at line ends.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml

from bench.errors import BenchError, DataError

YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser reads 1,500 entries in 0.1 s instead of 1 s


def write_json(path: Path, value: Any) -> None:
    """Atomically, with sorted keys and a newline at the end, so that equal values are equal files."""
    atomic_write(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file the suite wrote; DataError if it is damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read",
            got=" ".join(str(error).split()),
            expected="JSON written by bench",
            fix="delete it and run the same command again",
        ) from None


def read_rgb(path: str | Path, size: int | tuple[int, int] | None = None) -> np.ndarray:
    """Read a picture file completely and check it.

    Args:
        path: any format Pillow reads; it must be 8-bit RGB.
        size: expected side, or (height, width); None accepts any.
    Returns:
        (H, W, 3) uint8.
    Raises:
        DataError: missing, truncated or not a picture, far too large, wrong mode, wrong size.
    """
    from PIL import Image

    path = Path(path)
    try:
        with Image.open(path) as picture:
            if picture.mode != "RGB":
                raise DataError(
                    f"picture {path} has the wrong mode",
                    got=picture.mode,
                    expected="RGB",
                    fix="convert it, e.g. `convert in.png -type TrueColor out.png`",
                )
            array = np.asarray(picture)
    except FileNotFoundError:
        raise DataError(f"picture {path} is missing", fix="run `bench prepare` for its dataset") from None
    except picture_errors() as error:
        raise DataError(
            f"picture {path} cannot be read",
            got=str(error) or type(error).__name__,
            expected="a complete picture file",
            fix="replace the file and run the same command again",
        ) from None
    if size is not None:
        want = (size, size) if isinstance(size, int) else tuple(size)
        if array.shape[:2] != want:
            raise DataError(
                f"picture {path} has the wrong size",
                got=f"{array.shape[1]}x{array.shape[0]}",
                expected=f"{want[1]}x{want[0]}",
                fix="prepare the dataset at the resolution of its manifest",
            )
    return array


def picture_errors() -> tuple[type[Exception], ...]:
    """What Pillow raises for a file that is no complete picture, or claims more pixels than it dares to unpack."""
    import struct
    import zlib

    from PIL import Image, UnidentifiedImageError

    damaged = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
    return (UnidentifiedImageError, Image.DecompressionBombError, *damaged)


def write_png(path: str | Path, array: np.ndarray) -> None:
    """Write (H, W, 3) or (H, W) uint8 as PNG, atomically: the final name never holds half a file."""
    from PIL import Image

    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        Image.fromarray(array).save(temporary, format="PNG", compress_level=1)
        os.replace(temporary, path)
    except OSError as error:
        _forget(temporary)
        raise write_error(path, error) from None


def _forget(temporary: Path) -> None:
    """Remove a temporary file if that can be done; the error already under way is the one that matters."""
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        pass


def atomic_write(path: str | Path, data: str | bytes) -> None:
    """Write a file completely or not at all: a temporary name, flushed to the disk, then renamed.

    Raises:
        BenchError: full disk, no permission, read-only file system.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _forget(temporary)
        raise write_error(path, error) from None


def write_error(path: str | Path, error: OSError) -> BenchError:
    """The one-line error for a failed write: full disk, no permission, missing folder."""
    import errno

    fixes = {
        errno.ENOSPC: "free some disk space and run the same command again; finished work is kept",
        errno.EACCES: "make the folder writable or choose another one",
        errno.EPERM: "make the folder writable or choose another one",
        errno.EROFS: "the file system is read-only: choose another folder",
    }
    return BenchError(
        f"cannot write {path}",
        got=error.strerror or str(error),
        expected="a writable path with free space",
        fix=fixes.get(error.errno or 0, "check the path"),
    )


def access_error(error: OSError) -> BenchError:
    """The one-line error for a failure of the file system that nobody closer to it explained."""
    import errno

    path = error.filename or "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return write_error(path, error)
    return BenchError(
        f"cannot access {path}",
        got=error.strerror or str(error),
        expected="a file that can be read and written",
        fix="check that it exists and whose it is",
    )


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, read in chunks."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a head line and rows, atomically; None becomes an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    atomic_write(path, text.getvalue())


def read_rows(path: Path, needed: Sequence[str], what: str, fix: str) -> list[dict[str, str]]:
    """The rows as mappings, without empty fields and without fields that have no column.

    Args:
        needed: columns that must be there. what, fix: for messages.
    Raises:
        DataError: the file cannot be read, is no CSV in UTF-8, or lacks a column.
    """
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = list(reader.fieldnames or [])
            rows = [{k: v for k, v in row.items() if k is not None and v not in (None, "")} for row in reader]
    except (OSError, ValueError, csv.Error) as error:  # ValueError: not UTF-8
        raise DataError(
            f"{what} {path} cannot be read", got=str(error), expected=f"CSV with columns {','.join(needed)}", fix=fix
        ) from None
    if not set(needed) <= set(columns):
        got = ",".join(columns)[:200] or "nothing"
        raise DataError(f"{what} {path} lacks columns", got=got, expected=",".join(needed), fix=fix)
    return rows


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
