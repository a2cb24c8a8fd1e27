"""Download a file completely or not at all: resumed after interruptions, under its final name only when whole.

Standard library only. What is there so far lies in ``<name>.part``, beside a small note of which version of the file
the server was sending; another version starts over instead of being glued on.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import Any

from bench.errors import WeightsError
from bench.files import only_writer, write_error
from bench.weights.listing import PublishedFile
from bench.weights.reading import refuse_page

CHUNK = 1 << 18
ATTEMPTS = 4
TIMEOUT_S = 60.0
Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all


class _Interrupted(Exception):
    """The connection broke; what came so far is kept."""


@dataclass(frozen=True)
class _Partial:
    """A download in progress: data, and what it is a part of."""

    data: Path
    note: Path

    @property
    def size(self) -> int:
        return self.data.stat().st_size if self.data.is_file() else 0

    def version(self) -> dict[str, Any]:
        try:
            found = json.loads(self.note.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def forget(self) -> None:
        self.data.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(
    file: PublishedFile,
    target: Path,
    progress: Progress = lambda done, total: None,
    hand: str = "",
    wait: Callable[[float], None] = time.sleep,
) -> Path:
    """Fetch a file to ``target``; goes on from what an earlier call left.

    Args:
        hand: the command that registers a file downloaded by hand, for error messages.
        wait: called with the seconds to pause between attempts.
    Raises:
        WeightsError: the host refuses, answers with a web page, or the connection breaks again and again (what came
            is kept).
        BenchError: another process downloads it; the disk is full or read-only.
    """
    if not file.address:
        raise WeightsError(f"{file.name} has no address a program could use", fix=_by_hand(file, hand))
    partial = _Partial(target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with only_writer(partial.data.with_name(partial.data.name + ".lock"), file.name, "downloaded"):
            for attempt in range(ATTEMPTS):
                before = partial.size
                try:
                    _receive(file, partial, progress, hand)
                    break
                except _Interrupted as error:
                    if attempt == ATTEMPTS - 1:
                        raise _broken(file, partial, error, hand) from None
                    if partial.size == before:
                        wait(2.0**attempt)
            os.replace(partial.data, target)
            partial.note.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(target, error) from None
    return target


def _receive(file: PublishedFile, partial: _Partial, progress: Progress, hand: str) -> None:
    """One request: append to the partial file until it is whole."""
    have, version = partial.size, partial.version()
    if have and (version.get("url") != file.address or not version.get("tag")):
        partial.forget()
        have = 0
    headers = {"User-Agent": "hfgi-bench", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": str(version["tag"])}
    try:
        with urllib.request.urlopen(urllib.request.Request(file.address, headers=headers), timeout=TIMEOUT_S) as reply:
            start, total = _place(reply, have)
            if start not in (0, have):
                partial.forget()
                raise _Interrupted("the server sent another part of the file than asked for")
            _refuse(reply.headers, file, hand)
            _check_space(partial, total, start)
            _append(reply, partial, start, total, file, progress, hand)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing lies beyond what is here: the whole file, or another one
            if have and error.headers.get("Content-Range", "") == f"bytes */{have}":
                return
            partial.forget()
            raise _Interrupted("the partial file did not fit; starting over") from None
        if error.code in (408, 429) or error.code >= 500:
            raise _Interrupted(f"HTTP {error.code} {error.reason}") from None
        raise _refused(file, f"HTTP {error.code} {error.reason}", hand) from None
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise _Interrupted(str(getattr(error, "reason", error)) or type(error).__name__) from None


def _place(reply: Any, have: int) -> tuple[int, int | None]:
    """Where in the file the reply's body starts, and the file's size if the server says it."""
    length = reply.headers.get("Content-Length")
    if reply.status != 206:
        return 0, int(length) if length and length.isdigit() else None
    try:
        span, _, total = reply.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        return int(span.split("-")[0]), int(total) if total.isdigit() else None
    except ValueError:
        return -1, None


def _append(
    reply: Any,
    partial: _Partial,
    start: int,
    total: int | None,
    file: PublishedFile,
    progress: Progress,
    hand: str,
) -> None:
    headers = reply.headers
    tag = headers.get("ETag") or headers.get("Last-Modified") or ""
    if tag.startswith("W/"):  # a weak tag does not promise equal bytes
        tag = headers.get("Last-Modified") or ""
    partial.note.write_text(json.dumps({"url": file.address, "tag": tag}))
    done = start
    with open(partial.data, "ab" if start else "wb") as stream:
        while chunk := reply.read(CHUNK):
            if done == 0:
                _refuse_content(chunk, file, hand)
            stream.write(chunk)
            done += len(chunk)
            progress(done, total)
        stream.flush()
        os.fsync(stream.fileno())
    if total is not None and done < total:
        raise _Interrupted(f"the connection ended after {done} of {total} bytes")
    if total is not None and done > total:
        partial.forget()
        raise _Interrupted("more bytes than the file has")


def _refuse(headers: HTTPMessage, file: PublishedFile, hand: str) -> None:
    if headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise _refused(file, "a web page instead of the file", hand)


def _refuse_content(chunk: bytes, file: PublishedFile, hand: str) -> None:
    try:
        refuse_page(chunk, file.name)
    except WeightsError:
        raise _refused(file, "a web page instead of the file", hand) from None


def _refused(file: PublishedFile, got: str, hand: str) -> WeightsError:
    where = "Google Drive" if file.drive and not file.url else file.address.split("/")[2]
    why = " (it asks for confirmation, or its daily quota is used up)" if file.drive and "page" in got else ""
    return WeightsError(f"{where} did not hand out {file.name}", got=got + why, fix=_by_hand(file, hand))


def _broken(file: PublishedFile, partial: _Partial, error: Exception, hand: str) -> WeightsError:
    kept = f"; {partial.size} bytes are kept and the same command goes on from there" if partial.size else ""
    return WeightsError(
        f"{file.name} could not be downloaded from {file.address.split('/')[2]}",
        got=f"{error}{kept}",
        fix=_by_hand(file, hand),
    )


def _by_hand(file: PublishedFile, hand: str) -> str:
    page = f"open {file.by_hand} in a browser" if file.by_hand else "get it from its authors"
    return f"{page}, save it as {file.name} in a folder of yours, and run `{hand or 'bench fetch --from FOLDER'}`"


def _check_space(partial: _Partial, total: int | None, start: int) -> None:
    free = shutil.disk_usage(partial.data.parent).free
    if total is not None and total - start > free:
        raise WeightsError(
            f"{partial.data.parent} has too little space",
            got=f"{free / 1e9:.2f} GB free",
            expected=f"{(total - start) / 1e9:.2f} GB for {partial.data.stem}",
            fix="free some disk space and run the same command again",
        )
