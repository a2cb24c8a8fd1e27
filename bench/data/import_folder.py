"""Preparing a dataset from any folder of pictures; the rules for one file are those of bench/data/import_image.py.

Every file that breaks a rule is named, and then nothing is prepared: no picture is left out silently. Sub-folders are
not entered; files that are no pictures by their suffix are reported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.data.dataset import PreparedPaths
from bench.data.import_image import convert_shard, list_pictures
from bench.data.manifest import FolderSpec, ImageEntry, Manifest, load_manifest, manifest_path, save_manifest
from bench.engine import PROCESSES, Execution, Work, make_shards, map_shards
from bench.errors import BenchError, DataError, name_some
from bench.files import file_sha256, read_json, read_rgb, write_csv, write_error, write_json
from bench.images import pixel_sha256
from bench.names import check_id

SHARD = 32
PROBLEMS = ("file", "problem")  # columns of problems.csv


@dataclass(frozen=True)
class FolderRequest:
    """What the user asked for; None means: as the manifest says, or the default.

    Args:
        images: the folder. domain: of the generator to use. resolution: side in pixels of the prepared pictures.
    """

    images: Path | None = None
    domain: str | None = None
    resolution: int | None = None
    align: str | None = None
    crop: str | None = None
    convert: bool | None = None
    licence: str | None = None


@dataclass(frozen=True)
class Prepared:
    """What was done: the content of prepared.json, the files of the folder that are no pictures, and remarks."""

    done: dict[str, Any]
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare_folder(
    root: Path,
    dataset_id: str,
    asked: FolderRequest,
    defaults: tuple[str, int] | None,
    update: bool = False,
    execution: Execution = PROCESSES,
) -> Prepared:
    """Make or verify a dataset of kind ``folder``.

    Args:
        defaults: (domain, resolution) where neither request nor manifest says; None where there are none.
        update: accept what the folder holds now and rewrite the manifest.
    Raises:
        DataError: files that cannot be used, or that differ from the manifest; problems.csv names all of them.
    """
    check_id("dataset", dataset_id)
    exists = manifest_path(root, dataset_id).is_file()
    old = load_manifest(root, dataset_id, images=False) if exists else None
    if old is not None and old.kind != "folder":
        raise BenchError(
            f"dataset {dataset_id!r} is of kind {old.kind!r}",
            expected="kind 'folder' for --images",
            fix="choose another --dataset id",
        )
    if old is not None and not update:
        old = load_manifest(root, dataset_id)  # now with its images, checked
    draft = _draft(root, dataset_id, asked, defaults, old)
    if old is not None and not update:
        _same_settings(old, draft)
    paths = PreparedPaths.of(root, dataset_id)
    source = (root / draft.folder.source).resolve() if draft.folder else root
    if old is not None and not update and not source.is_dir() and verified(paths, old):
        return Prepared(read_json(paths.done))
    files, ignored = list_pictures(source)
    if old is not None and not update:
        _same_files(old, files, source)
    if old is not None and not update and verified(paths, old, source):
        return Prepared(read_json(paths.done), ignored)
    entries = convert_all({p.stem: p for p in files}, draft, paths, execution)
    if old is not None and not update:
        same_bytes(old, entries, paths)
        manifest = old
    else:
        manifest = draft.model_copy(update={"images": entries, "count": len(entries)})
        save_manifest(root, manifest)
    for stray in set(p.stem for p in paths.images.glob("*.png")) - set(manifest.ids):
        paths.image(stray).unlink(missing_ok=True)
    done = {"id": manifest.id, "count": manifest.count, "manifest_sha256": manifest.sha256}
    write_json(paths.done, done)
    return Prepared(done, ignored)


def convert_all(
    named: Mapping[str, Path],
    manifest: Manifest,
    paths: PreparedPaths,
    execution: Execution,
) -> list[ImageEntry]:
    """Prepare the picture file of every id, in order; one error names all that cannot be used."""
    assert manifest.folder is not None
    try:
        paths.done.unlink(missing_ok=True)
        paths.images.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(paths.folder, error) from None
    work = Work(
        convert_shard,
        {"files": dict(named), "spec": manifest.folder, "resolution": manifest.resolution, "paths": paths},
    )
    shards = make_shards(list(named), SHARD)
    parts = map_shards(work, shards, execution.serial_if(len(shards) < 3))
    results = [result for part in parts for result in part]
    bad = [(named[i].name, reason) for i, entry, reason in results if entry is None]
    if bad:
        raise refusal(manifest, bad, paths)
    return [ImageEntry.model_validate(entry) for _, entry, _ in results]


def refusal(manifest: Manifest, bad: Sequence[tuple[str, str]], paths: PreparedPaths) -> DataError:
    """The one error that names every unusable file, in the message or in problems.csv."""
    write_csv(paths.problems, PROBLEMS, bad)
    count = len(bad)
    return DataError(
        f"{count} picture{'s' * (count > 1)} of dataset {manifest.id!r} cannot be used",
        got=name_some((f"{name} {reason}" for name, reason in bad), 10),
        expected="complete square RGB pictures",
        fix=f"mend or remove {'them' if count > 1 else 'it'}"
        + (f"; all are listed in {paths.problems}" if count > 10 else ""),
    )


def _draft(
    root: Path, dataset_id: str, asked: FolderRequest, defaults: tuple[str, int] | None, old: Manifest | None
) -> Manifest:
    """The manifest the request describes, without images; the old one or the defaults fill what it leaves open."""
    if asked.images is None and old is None:
        raise BenchError(
            f"dataset {dataset_id!r} does not exist",
            fix=f"pass its pictures: `bench prepare --dataset "
            f"{dataset_id} --images DIR`; `bench ls datasets` shows all",
        )
    if asked.align not in (None, "none"):
        raise BenchError(
            f"unknown alignment {asked.align!r}",
            expected="none",
            fix="align the pictures yourself and pass --align none",
        )
    if asked.crop not in (None, "none", "center"):
        raise BenchError(f"unknown crop {asked.crop!r}", expected="none or center")
    if asked.resolution is not None and (asked.resolution < 4 or asked.resolution & (asked.resolution - 1)):
        raise BenchError("--resolution must be a power of two", got=asked.resolution, expected="e.g. 128, 256 or 1024")
    if old is not None:
        defaults = (old.domain, old.resolution)
    elif defaults is None and not (asked.domain and asked.resolution):
        raise BenchError(
            f"dataset {dataset_id!r} needs a domain and a resolution",
            expected="those of the generator that is to invert it",
            fix="pass --domain and --resolution; `bench ls weights` shows domains",
        )
    domain, resolution = defaults or ("", 0)
    before = old.folder if old is not None and old.folder is not None else FolderSpec(source="")
    source = before.source
    if asked.images is not None:
        full = Path(asked.images).expanduser().resolve()
        source = os.path.relpath(full, root) if full.is_relative_to(root) else str(full)
    spec = FolderSpec(
        source=source,
        crop=asked.crop or before.crop,  # type: ignore[arg-type]
        convert=before.convert if asked.convert is None else asked.convert,
    )
    return Manifest(
        id=dataset_id,
        domain=asked.domain or domain,
        kind="folder",
        resolution=asked.resolution or resolution,
        licence=asked.licence or (old.licence if old else "unknown"),
        hash="file",
        count=1,
        folder=spec,
    )


def _same_settings(old: Manifest, draft: Manifest) -> None:
    """A request that contradicts the manifest is an error unless ``--update`` says that it is meant."""
    assert old.folder is not None and draft.folder is not None
    pairs = [
        ("domain", old.domain, draft.domain),
        ("resolution", old.resolution, draft.resolution),
        ("images", old.folder.source, draft.folder.source),
        ("crop", old.folder.crop, draft.folder.crop),
        ("convert", old.folder.convert, draft.folder.convert),
    ]
    changed = [f"{name} {new!r} instead of {was!r}" for name, was, new in pairs if was != new]
    if changed:
        raise BenchError(
            f"dataset {old.id!r} exists with other settings",
            got="; ".join(changed),
            fix="pass --update to change it, or choose another --dataset id",
        )


def _same_files(old: Manifest, files: Sequence[Path], source: Path) -> None:
    """The folder holds exactly the manifest's pictures."""
    have, want = {p.stem for p in files}, set(old.ids)
    missing, extra = [i for i in old.ids if i not in have], sorted(have - want)
    if missing or extra:
        got = [f"missing {name_some(missing)}"] * bool(missing) + [f"new {name_some(extra)}"] * bool(extra)
        raise DataError(
            f"folder {source} does not hold the pictures of dataset {old.id!r}",
            got="; ".join(got),
            expected=f"the {old.count} pictures of its manifest",
            fix=f"restore them, or accept the folder with `bench prepare --dataset {old.id} --update`",
        )


def same_bytes(old: Manifest, entries: Sequence[ImageEntry], paths: PreparedPaths) -> None:
    """Every file has the manifest's bytes, and its prepared pixels the manifest's hash."""
    want = {e.id: e for e in old.images}
    changed = [e for e in entries if e.sha256 != want[e.id].sha256]
    rounded = [e for e in entries if e.sha256 == want[e.id].sha256 and e.pixels != want[e.id].pixels]
    for found, what in (
        (changed, "differ from the manifest"),
        (rounded, "decode to other pixels than in the manifest"),
    ):
        if found:
            write_csv(paths.problems, PROBLEMS, [(e.file or e.id, what) for e in found])
            raise DataError(
                f"{len(found)} pictures of dataset {old.id!r} {what}",
                got=name_some(e.id for e in found),
                expected="the SHA-256 listed there",
                fix=f"restore them, or accept them with `bench prepare --dataset {old.id} --update`",
            )


def verified(paths: PreparedPaths, manifest: Manifest, source: Path | None = None) -> bool:
    """True when prepared pictures (and source files, where given) have the manifest's hashes: nothing to convert."""
    if not paths.done.is_file() or read_json(paths.done).get("manifest_sha256") != manifest.sha256:
        return False
    try:
        for entry in manifest.images:
            if pixel_sha256(read_rgb(paths.image(entry.id), manifest.resolution)) != entry.pixels:
                return False
            if source is not None and file_sha256(source / (entry.file or "")) != entry.sha256:
                return False
    except (DataError, OSError):
        return False
    return True
