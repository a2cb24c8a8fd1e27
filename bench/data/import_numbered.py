"""Preparing a dataset whose pictures are known by number, from whatever folder the user has them in.

The manifest states the numbers, or which part of a table does (bench/data/index_map.py). A file belongs to a number by its
name alone (``7.jpg``, ``00007.png``, ``imgHQ00007.png``), never by its place in a listing: ``sorted()`` puts ``10.jpg``
before ``2.jpg``. Nothing is known of the pictures' bytes beforehand, as they may not be redistributed: the first
preparation records SHA-256 of files and pixels in ``datasets/<id>.csv``, and from then on any other picture under a
number is an error. Commit that file to hold others to the same pictures.

Originals are only read. Their pixels are kept once as PNG in the prepared folder, because decoders of JPEG may differ
between machines and a run must read what was hashed.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from bench.data.dataset import PreparedPaths
from bench.data.import_folder import FolderRequest, Prepared, convert_all, refusal, same_bytes, verified
from bench.data.import_image import SUFFIXES
from bench.data.index_map import mapped_numbers
from bench.data.manifest import ImageEntry, Manifest, Numbers, load_manifest, manifest_path
from bench.engine import PROCESSES, Execution
from bench.errors import BenchError, DataError, name_some
from bench.files import file_sha256, picture_errors, read_json, write_csv, write_json

COLUMNS = ("id", "sha256", "pixels")
SOURCE = "source.json"  # in the prepared folder: where the user's pictures are on this machine


def prepare_numbered(
    root: Path,
    declared: Manifest,
    asked: FolderRequest,
    update: bool = False,
    execution: Execution = PROCESSES,
) -> Prepared:
    """Make or verify a dataset whose manifest has ``folder.numbers``.

    Args:
        declared: its manifest, with images once they were recorded.
        asked: only ``images`` may be set: everything else is the manifest's.
        update: accept the folder's pictures in place of those recorded.
    Raises:
        DataError: pictures missing, of another size, unreadable, alike under two numbers, or not those recorded.
    """
    if asked != FolderRequest(images=asked.images):
        raise BenchError(
            f"dataset {declared.id!r} is fixed by its manifest",
            expected="--images alone",
            fix=f"for pictures prepared otherwise choose another --dataset id than {declared.id!r}",
        )
    numbers = declared.numbers
    assert numbers is not None
    recorded = None if update or not declared.images else load_manifest(root, declared.id)
    paths = PreparedPaths.of(root, declared.id)
    source = _source(asked, paths)
    intact = recorded is not None and verified(paths, recorded)
    if intact and (source is None or not source.is_dir()):
        return Prepared(read_json(paths.done))
    folder = _folder(source, declared)
    wanted = _wanted(folder, declared, numbers, recorded)
    files, ignored, beyond = numbered_files(folder, numbers.prefixes, set(wanted))
    named = _all_of(files, declared, numbers, wanted)
    notes = [f"{beyond} pictures with other numbers than {_meant(numbers)} were left out"] * bool(beyond)
    if recorded:
        _same_places(recorded, named)
        if intact:
            return Prepared(read_json(paths.done), ignored, notes)
    _same_size(named, declared, paths)
    entries = convert_all(named, declared, paths, execution)
    _all_different(entries, declared)
    if recorded:
        same_bytes(recorded, entries, paths)
        manifest = recorded
    else:
        manifest = _record(root, declared, entries)
        notes.append(f"pictures trusted as first seen, their hashes are in datasets/{_sidecar(manifest)}")
    for stray in {p.stem for p in paths.images.glob("*.png")} - set(named):
        paths.image(stray).unlink(missing_ok=True)
    write_json(paths.folder / SOURCE, {"images": str(source)})
    done = {"id": manifest.id, "count": manifest.count, "manifest_sha256": manifest.sha256}
    write_json(paths.done, done)
    return Prepared(done, ignored, notes)


def numbered_files(
    folder: Path, prefixes: Sequence[str], wanted: Container[int]
) -> tuple[dict[int, Path], list[str], int]:
    """({number: file} by number, names of files that are no numbered pictures, count of pictures not wanted).

    Args:
        prefixes: what may stand before the number in a name. wanted: the numbers.
    Raises:
        DataError: two files with one number, such as 7.jpg and 00007.png.
    """
    pattern = re.compile(rf"(?:{'|'.join(re.escape(p) for p in prefixes)})?(\d+)")
    found: dict[int, Path] = {}
    twice, ignored, beyond = [], [], 0
    for path in folder.iterdir():
        match = pattern.fullmatch(path.stem)
        if path.name.startswith(".") or not path.is_file():
            continue
        if match is None or path.suffix.lower() not in SUFFIXES:
            ignored.append(path.name)
        elif (number := int(match[1])) not in wanted:
            beyond += 1
        elif number in found:
            twice.append(f"{found[number].name} and {path.name}")
        else:
            found[number] = path
    if twice:
        raise DataError(
            f"folder {folder} has two pictures for one number",
            got=name_some(sorted(twice)),
            expected="every number once",
            fix="remove one of each",
        )
    return dict(sorted(found.items())), sorted(ignored), beyond


def _source(asked: FolderRequest, paths: PreparedPaths) -> Path | None:
    """The folder asked for, or the one of the last preparation on this machine."""
    if asked.images is not None:
        return Path(asked.images).expanduser().resolve()
    remembered = paths.folder / SOURCE
    return Path(read_json(remembered)["images"]) if remembered.is_file() else None


def _folder(source: Path | None, manifest: Manifest) -> Path:
    if source is None:
        raise DataError(
            f"dataset {manifest.id!r} needs its pictures",
            expected=f"{manifest.count} files of {manifest.resolution} px; {manifest.licence}",
            fix=f"`bench prepare --dataset {manifest.id} --images DIR` with the folder you have them in",
        )
    if not source.is_dir():
        raise DataError(
            f"there is no folder {source}", fix=f"`bench prepare --dataset {manifest.id} --images DIR` with another one"
        )
    return source


def _wanted(folder: Path, manifest: Manifest, numbers: Numbers, recorded: Manifest | None) -> Sequence[int]:
    """The numbers meant: all, or those of a part, which the record knows once it was made."""
    if numbers.mapped is None:
        return range(numbers.first, numbers.last + 1)
    return [int(i) for i in recorded.ids] if recorded else mapped_numbers(folder, numbers.mapped, manifest.count)


def _meant(numbers: Numbers) -> str:
    return f"{numbers.first} to {numbers.last}" if numbers.mapped is None else f"those named by {numbers.mapped.table}"


def _all_of(files: Mapping[int, Path], manifest: Manifest, numbers: Numbers, wanted: Sequence[int]) -> dict[str, Path]:
    """id -> file in the order of numbers, once all are there."""
    missing = [str(n) for n in wanted if n not in files]
    if missing:
        raise DataError(
            f"{len(missing)} of the {manifest.count} pictures of dataset {manifest.id!r} are missing",
            got=f"no file for {name_some(missing)}",
            expected=f"a file for each number of {_meant(numbers)}, such as {wanted[0]}.jpg or "
            f"{numbers.id_of(wanted[0])}.png",
            fix="name the folder that holds the picture files themselves, or download the data again",
        )
    return {numbers.id_of(n): files[n] for n in wanted}


def _same_size(named: Mapping[str, Path], manifest: Manifest, paths: PreparedPaths) -> None:
    """Pictures of another size are other data (there are copies of 256 px): nothing is resized here."""
    from PIL import Image

    bad = []
    for path in named.values():
        try:
            with Image.open(path) as picture:
                width, height = picture.size
        except picture_errors():
            continue  # conversion says what is wrong with it
        if (width, height) != (manifest.resolution, manifest.resolution):
            bad.append((path.name, f"is {width}x{height}, expected {manifest.resolution}x{manifest.resolution}"))
    if bad:
        raise refusal(manifest, bad, paths)


def _all_different(entries: Sequence[ImageEntry], manifest: Manifest) -> None:
    first: dict[str, str] = {}
    alike = [f"{first[p]} = {e.id}" for e in entries if first.setdefault(p := e.pixels or e.sha256, e.id) != e.id]
    if alike:
        raise DataError(
            f"dataset {manifest.id!r} would hold the same picture under two numbers",
            got=name_some(alike),
            expected="different pixels under every number",
            fix="restore the pictures that were overwritten",
        )


def _same_places(recorded: Manifest, named: Mapping[str, Path]) -> None:
    """Every number's file has the recorded bytes; pictures that stand under each other's numbers are told apart."""
    owner = {e.sha256: e.id for e in recorded.images}
    have = {image_id: file_sha256(path) for image_id, path in named.items()}
    changed = [e.id for e in recorded.images if have[e.id] != e.sha256]
    if not changed:
        return
    moved = [f"{i} is the recorded {owner[have[i]]}" for i in changed if have[i] in owner]
    raise DataError(
        f"{len(changed)} pictures of dataset {recorded.id!r} are not those recorded on first use",
        got=(f"other numbers: {name_some(moved, 5)}" if moved else f"other bytes: {name_some(changed)}"),
        expected=f"the SHA-256 in datasets/{_sidecar(recorded)}",
        fix="use the copy the record was made from; to trust this one instead (numbers of earlier runs no longer "
        f"compare): `bench prepare --dataset {recorded.id} --images DIR --update`",
    )


def _sidecar(manifest: Manifest) -> str:
    return manifest.images_file or f"{manifest.id}.csv"


def _record(root: Path, declared: Manifest, entries: Sequence[ImageEntry]) -> Manifest:
    """Write the sidecar (the manifest itself stays as its author wrote it) and read both back."""
    path = manifest_path(root, declared.id).with_name(_sidecar(declared))
    write_csv(path, COLUMNS, ([getattr(e, c) for c in COLUMNS] for e in entries))
    return load_manifest(root, declared.id)
