"""Files, the one way they are read and written here: atomically, with errors in one line, one writer at a time.

JSON, YAML, CSV, tables (Parquet) and images (PNG). CSV is quoted where needed, with ``\\n`` at line ends.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import yaml

from bench.errors import BenchError, DataError, message_of, one_line

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)

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
            got=message_of(error),
            expected="JSON written by bench",
            fix="delete it and run the same command again",
        ) from None


def read_text(path: Path, what: str = "", *, fix: str = "correct the file", raises=DataError) -> str:
    """The text of a UTF-8 file. Args: as of :func:`load_yaml`."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise raises(f"{what} {path} is missing".lstrip(), fix=fix) from None
    except UnicodeDecodeError as error:
        raise raises(f"{what} {path} cannot be read".lstrip(), got=message_of(error), fix=fix) from None


def load_yaml(
    path: Path,
    what: str = "",
    *,
    text: str | None = None,
    fix: str = "correct the file",
    raises: type[BenchError] = DataError,
) -> Any:
    """The content of a YAML file.

    Args:
        what: what the file is, such as "manifest": stands before its path in messages.
        text: what the file holds, if it was read already.
        fix: how to mend the file, for messages.
        raises: class of the error.
    Raises:
        BenchError: the file is missing, is not UTF-8, is not YAML, or holds a date that is none.
    """
    text = read_text(path, what, fix=fix, raises=raises) if text is None else text
    try:
        return yaml.load(text, YAML_LOADER)
    except (yaml.YAMLError, ValueError) as error:
        raise raises(f"{what} {path} is not YAML".lstrip(), got=message_of(error), fix=fix) from None


def check_model(
    value: Any, path: Path, model: type[Model], what: str = "", *, fix: str = "correct these keys", raises=DataError
) -> Model:
    """Check the content of a file against a pydantic model.

    Args:
        value: the content; None, of an empty file, is a mapping without keys.
        model: the class.
        path, what, fix, raises: as of :func:`load_yaml`.
    Raises:
        BenchError: names the first wrong keys.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        raise raises(f"{what} {path} is not valid".lstrip(), got=one_line(error), fix=fix) from None


def read_yaml(
    path: Path, model: type[Model], what: str = "", *, text: str | None = None, fix: str = "", raises=DataError
) -> Model:
    """Read a YAML file and check it against a pydantic model. Args: as of :func:`check_model`, :func:`load_yaml`."""
    raw = load_yaml(path, what, text=text, fix=fix or "correct the file", raises=raises)
    return check_model(raw, path, model, what, fix=fix or "correct these keys", raises=raises)


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
        with suppress(OSError):  # the error already under way is the one that matters
            temporary.unlink(missing_ok=True)
        raise write_error(path, error) from None


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
        with suppress(OSError):  # the error already under way is the one that matters
            temporary.unlink(missing_ok=True)
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


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file, its column names first, atomically; None becomes an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    atomic_write(path, text.getvalue())


def read_csv(path: Path, needed: Sequence[str], what: str, fix: str) -> list[dict[str, str]]:
    """Rows of a CSV file as mappings, without empty fields and without fields that have no column.

    Args:
        needed: columns that must be there.
        what: what the file is, for messages.
        fix: how to mend it, for messages.
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


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet, atomically and without its index; equal tables with equal ``attrs`` are equal files."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    atomic_write(path, buffer.getvalue())


def read_table(
    path: Path,
    columns: Sequence[str] | None = None,
    what: str = "table",
    *,
    fix: str,
    image_ids: Collection[str] | None = None,
) -> pd.DataFrame:
    """Read a table that :func:`write_table` wrote, with its ``attrs``.

    Args:
        columns: columns to read, in this order; None reads all.
        what: what the file is, for messages.
        fix: how to mend it, for messages.
        image_ids: read only the rows of these images (column ``image_id``); None reads all.
    Raises:
        DataError: the file cannot be read, is no Parquet, or lacks a column.
    """
    import pandas as pd

    rows = None if image_ids is None else [("image_id", "in", list(image_ids))]
    names = None if columns is None else list(columns)
    try:
        table = pd.read_parquet(path, columns=names, filters=rows)
        return table if names is None else table[names]
    except (OSError, ValueError, KeyError) as error:
        expected = "a Parquet table" + (f" with columns {', '.join(names)}" if names else "")
        raise DataError(
            f"{what} {path} cannot be read", got=message_of(error, 200), expected=expected, fix=fix
        ) from None


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Fill a new folder inside the block; after the block it takes the place of ``folder``.

    The new folder lies in ``.new`` beside ``folder`` until it is complete. An error inside the block removes it and
    leaves ``folder`` as it was, so a full disk never loses an earlier result.

    Args:
        folder: the folder to replace; it need not exist.
    Yields:
        the new folder, empty.
    Raises:
        BenchError: full disk, no permission.
    """
    fresh = folder.parent / ".new" / folder.name
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        yield fresh
        _swap(fresh, folder)
    except OSError as error:
        raise write_error(folder, error) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        with suppress(OSError):  # another process fills its folder there
            fresh.parent.rmdir()


def _swap(fresh: Path, folder: Path) -> None:
    """Put ``fresh`` in the place of ``folder``, which is moved away first and removed last."""
    old = fresh.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(fresh, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def only_writer(path: Path, what: str, doing: str = "written") -> Iterator[None]:
    """Hold the lock file ``path`` inside the block; the file is removed afterwards.

    Args:
        path: the lock file; its folder is made if needed.
        what: the thing being written, for the message.
        doing: what the holder of the lock does with it, for the message.
    Raises:
        BenchError: another process holds the lock, or the file cannot be written.
    """
    from filelock import FileLock, Timeout

    # More than one attempt: the last holder may remove the file between its opening and its locking here, and such a
    # lock holds nothing. FileLock notices this and opens the name again, until the time is over.
    lock = FileLock(path, timeout=0.1, poll_interval=0.01)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise BenchError(
            f"{what} is being {doing} by another process", expected="one writer", fix="wait for it, or stop it"
        ) from None
    except OSError as error:
        raise write_error(path, error) from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            path.unlink()  # while it is still held: nobody can hold another file under this name
        lock.release()
