"""Bring published weights into a project: download or take from a folder, verify, convert, compare, record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.errors import WeightsError
from bench.files import file_sha256
from bench.weights.compare import compare_part, describe
from bench.weights.convert import convert
from bench.weights.download import Progress, download
from bench.weights.listing import FOLDER, Published, PublishedFile, PublishedList, read_published
from bench.weights.lock import Compared, Locked, Stamp, present, read_lock, write_lock

CACHE = "cache"  # folder under weights/ for files on their way; kept out of version control
Reporter = Callable[[str, int, int | None], None]  # file name, bytes so far, bytes in all


def fetch(
    root: Path,
    weights_id: str,
    folder: Path | None = None,
    report: Reporter = lambda name, done, total: None,
    keep: bool = False,
    refetch: bool = False,
) -> list[str]:
    """Make one published set of weights ready for use; what is there already is left alone.

    Args:
        folder: take the files from here instead of downloading; they are read in place and never changed.
        keep: leave downloaded originals in weights/cache/ after conversion.
        refetch: convert anew even if the parts are there.
    Returns:
        remarks for the user.
    Raises:
        WeightsError: a host refuses; size, hash or layout is wrong; the file is unsafe. Nothing half-done is left
            under a final name, and the record is written last.
    """
    known = read_published(root)
    entry = known.entry(weights_id)
    lock = read_lock(root)
    before = lock.get(weights_id)
    if present(root, before) and not refetch:
        return [f"{weights_id}: already here"]
    paths: dict[str, Path] = {}
    for file in entry.files:
        local = find(file, folder) if folder else None
        if folder and local is None:
            raise WeightsError(f"{folder} has no {file.name}", fix=f"save it there, or run `bench fetch {weights_id}`")
        paths[file.name] = local or _downloaded(root, entry, file, report)
    stamps = {
        file.name: verify_file(file, paths[file.name], before, entry, ours=folder is None) for file in entry.files
    }
    trusted = [file.name for file in entry.files if len(file.sha256) < 64]
    try:
        parts, notes = convert(root, entry, paths, known.published, crc=bool(trusted))
    except WeightsError:
        if not folder:  # to be looked at; the next call downloads anew
            for path in paths.values():
                path.replace(path.with_name(path.name + ".refused"))
        raise
    if before and (changed := [n for n, part in parts.items() if n in before.parts and part != before.parts[n]]):
        notes.append(f"converted anew with other bytes: {', '.join(changed)}")
    if trusted and before is None:
        notes.append(
            f"no published hash for {', '.join(trusted)}: trusted as first seen, recorded in weights/lock.yaml"
        )
    write_lock(root, weights_id, Locked(files=stamps, parts=parts, notes=notes))
    if not keep and not folder:
        for path in paths.values():
            path.unlink(missing_ok=True)
    return [f"{weights_id}: ready", *(f"{weights_id}: {note}" for note in notes)]


def _downloaded(root: Path, entry: Published, file: PublishedFile, report: Reporter) -> Path:
    target = root / FOLDER / CACHE / entry.id / file.name
    if target.is_file():
        return target

    def progress(done: int, total: int | None) -> None:
        report(file.name, done, total or file.size_bytes or file.about_bytes)

    advance: Progress = progress
    return download(file, target, advance, hand=f"bench fetch --from FOLDER {entry.id}")


def find(file: PublishedFile, folder: Path) -> Path | None:
    """The file in a user's folder, under its own name or one of its aliases."""
    if not folder.is_dir():
        raise WeightsError(f"{folder} is no folder", fix="correct --from")
    return next((folder / name for name in (file.name, *file.aliases) if (folder / name).is_file()), None)


def verify_file(file: PublishedFile, path: Path, before: Locked | None, entry: Published, ours: bool) -> Stamp:
    """Size and SHA-256 of a file, once they agree with the list and with what was taken before.

    A file of ours (downloaded) that does not fit is removed, so that the next attempt does not meet it again; a user's
    file is left as it is.
    """
    stamp = Stamp(sha256=file_sha256(path), size_bytes=path.stat().st_size)
    earlier = before.files.get(file.name) if before else None
    problem = None
    if file.size_bytes is not None and stamp.size_bytes != file.size_bytes:
        problem = (f"{stamp.size_bytes} bytes", f"{file.size_bytes} bytes")
    elif not stamp.sha256.startswith(file.sha256):
        problem = (f"sha256 {stamp.sha256}", file.sha256 + ("" if len(file.sha256) == 64 else "..."))
    elif earlier and earlier.sha256 != stamp.sha256:
        problem = (f"sha256 {stamp.sha256}", f"{earlier.sha256}, recorded in weights/lock.yaml on first use")
    if problem is None:
        return stamp
    if ours:
        path.unlink(missing_ok=True)
    raise WeightsError(
        f"{path} is not the {file.name} that {entry.id!r} means",
        got=problem[0],
        expected=problem[1],
        fix="get it from its published address"
        + (f"; if the file was replaced there, remove {entry.id!r} from weights/lock.yaml" if earlier else ""),
    )


def compare_all(root: Path) -> list[str]:
    """Compare every copy with the part it should equal, where both are here; record and describe new outcomes."""
    known, lines = read_published(root), []
    for weights_id in list(read_lock(root)):
        lock = read_lock(root)
        if weights_id not in known.ids:
            continue
        entry, locked = known.entry(weights_id), lock[weights_id]
        outcomes: dict[str, Compared] = dict(locked.compared)
        for part in (name for name, p in entry.parts.items() if p.compare):
            outcome = compare_part(root, entry, part, locked, lock)
            if outcome is not None and outcome != outcomes.get(part):
                outcomes[part] = outcome
                lines.append(describe(weights_id, part, outcome))
        if outcomes != locked.compared:
            write_lock(root, weights_id, locked.model_copy(update={"compared": outcomes}))
    return lines


def found_in(known: PublishedList, folder: Path) -> list[str]:
    """Ids all of whose files lie in a folder. A name that several entries use counts for none of them."""
    names = [file.name for entry in known.published for file in entry.files]
    ids = []
    for entry in known.published:
        if all(find(file, folder) and names.count(file.name) == 1 for file in entry.files):
            ids.append(entry.id)
    return ids
