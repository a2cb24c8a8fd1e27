"""Dataset manifests: which pictures, in which order, with which hashes.

A manifest is ``datasets/<id>.yaml``. Its images stand in the file itself or, above ``INLINE`` of them, in a sidecar
``<id>.csv``. Prepared data lies in ``datasets/prepared/<id>/`` (see bench/data/dataset.py).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from bench.api import DatasetInfo
from bench.data.sources import FolderSpec, Numbers, RenderSpec
from bench.errors import BenchError, DataError, UnknownName, duplicates, name_some
from bench.files import atomic_write, check_model, load_yaml, read_csv, read_text, write_csv
from bench.names import canonical_json, check_id

INLINE = 2000  # images listed in the yaml itself; a longer list goes to a csv beside it
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ImageEntry(BaseModel):
    """One picture. ``sha256`` is over decoded pixels or over file bytes, as the manifest's ``hash`` says.

    Folder datasets also keep the source file's name, bytes and size, and the hash of the prepared pixels. Rendered
    ones may keep ``coarse``, the mean colour of 4 x 4 fields, which tells another machine's rounding from another
    picture (see bench/data/render.py).
    """

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    id: str
    sha256: str
    file: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    pixels: str | None = None
    coarse: str | None = None


class Manifest(BaseModel):
    """A dataset manifest. ``count`` is the number of images; ``images`` their ids and hashes, in order."""

    model_config = ConfigDict(extra="forbid")

    id: str
    title: str = ""
    domain: str
    kind: Literal["rendered", "folder"]
    resolution: int = Field(ge=4)
    licence: str
    hash: Literal["pixels", "file"] = "pixels"
    count: int = Field(ge=1)
    render: RenderSpec | None = None
    folder: FolderSpec | None = None
    images_file: str | None = None
    images: list[ImageEntry] = []

    @property
    def ids(self) -> list[str]:
        """All image ids, in manifest order."""
        return [entry.id for entry in self.images]

    @property
    def info(self) -> DatasetInfo:
        """What a method is told of the dataset: id, domain, resolution, number of images."""
        return DatasetInfo(self.id, self.domain, self.resolution, self.count)

    @property
    def sha256(self) -> str:
        """SHA-256 of the manifest's meaning (not its layout or comments): what a run records about its data."""
        meaning = self.model_dump(exclude={"images_file", "title", "licence"}, exclude_none=True)
        return hashlib.sha256(canonical_json(meaning).encode()).hexdigest()

    @property
    def numbers(self) -> Numbers | None:
        """The numbers its pictures are known by, if they are."""
        return self.folder.numbers if self.folder is not None else None

    def pixel_hashes(self) -> dict[str, str]:
        """image id -> SHA-256 of the prepared picture's decoded RGB pixels."""
        return {e.id: (e.sha256 if self.hash == "pixels" else e.pixels or "") for e in self.images}

    def select(self, limit: int | None) -> list[str]:
        """The first ``limit`` ids (all for None)."""
        if limit is not None and limit < 1:
            raise BenchError(
                "--limit selects no image", got=limit, expected="1 or more", fix="give a positive --limit or none"
            )
        return self.ids[:limit]


def manifest_path(root: Path, dataset_id: str) -> Path:
    """Return the path of a dataset's manifest."""
    return Path(root) / "datasets" / f"{dataset_id}.yaml"


def dataset_ids(root: Path) -> list[str]:
    """Ids of all datasets of a project: the stems of datasets/*.yaml."""
    return sorted(p.stem for p in (Path(root) / "datasets").glob("*.yaml"))


@lru_cache(maxsize=4)
def _parsed(path: Path, text: str) -> Any:
    """YAML of a manifest. A command reads the same one several times, and 1,500 entries take a tenth of a second."""
    return load_yaml(path, "manifest", text=text)


def load_manifest(root: Path, dataset_id: str, allow_empty: bool = False, images: bool = True) -> Manifest:
    """Read and validate datasets/<dataset_id>.yaml.

    Args:
        allow_empty: accept a manifest without images (one whose hashes ``bench prepare --update`` still has to write).
        images: False leaves the list of images alone, whatever its state: ``bench prepare --update`` writes it anew.
    Raises:
        UnknownName: no such dataset. DataError: the file breaks a rule; the message names file, entry and rule.
    """
    path = manifest_path(root, dataset_id)
    if not path.is_file():
        raise UnknownName.of("dataset", dataset_id, dataset_ids(root))
    raw = _parsed(path, read_text(path, "manifest"))
    if not isinstance(raw, dict):
        raise DataError(
            f"manifest {path} is not a mapping",
            got=type(raw).__name__,
            expected="keys id, domain, kind, ...",
            fix="correct the file",
        )
    if not images:
        raw = {**raw, "images": []}
    elif raw.get("images_file"):
        raw = {**raw, "images": _read_sidecar(path.parent / str(raw["images_file"]), path, raw, allow_empty)}
    manifest = _validate(raw, path)
    if manifest.id != dataset_id:
        raise DataError(
            f"manifest {path} names another dataset",
            got=manifest.id,
            expected=dataset_id,
            fix="make id and file name agree",
        )
    if images and (manifest.images or not allow_empty):
        _check_images(manifest, path)
    return manifest


def save_manifest(root: Path, manifest: Manifest) -> Path:
    """Write a manifest (and its sidecar) atomically; one line per image, so that a change is a readable diff."""
    path = manifest_path(root, manifest.id)
    columns = [c for c in ImageEntry.model_fields if any(getattr(e, c) is not None for e in manifest.images)]
    head = manifest.model_dump(exclude={"images", "images_file"}, exclude_none=True)
    if not head.get("title"):
        head.pop("title", None)
    if len(manifest.images) > INLINE:
        sidecar = path.with_suffix(".csv")
        write_csv(sidecar, columns, ([getattr(e, c) for c in columns] for e in manifest.images))
        head["images_file"] = sidecar.name
    body = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=120)
    if len(manifest.images) <= INLINE:
        rows = [{c: v for c in columns if (v := getattr(e, c)) is not None} for e in manifest.images]
        body += "images:\n" + "".join(f"- {_flow(row)}\n" for row in rows)
    atomic_write(path, body)
    return path


def _flow(row: dict[str, Any]) -> str:
    """One image as a YAML flow mapping on one line; text is quoted as JSON, which YAML reads."""
    return "{" + ", ".join(f"{k}: {canonical_json(v)}" for k, v in row.items()) + "}"


def _read_sidecar(path: Path, manifest: Path, raw: Mapping[str, Any], allow_empty: bool) -> list[dict[str, Any]]:
    command = f"bench prepare --dataset {manifest.stem}"
    folder = raw.get("folder")
    numbered = isinstance(folder, Mapping) and "numbers" in folder  # of pictures that only their owner has
    if path.parent != manifest.parent:
        raise DataError(f"manifest {manifest} is not valid", got=f"images_file {path}", expected="a file beside it")
    if not path.is_file():
        if allow_empty:
            return []
        raise DataError(
            f"image list {path} of {manifest.name} is missing",
            fix=f"`{command} --images DIR` with your copy of the pictures writes it"
            if numbered
            else f"restore it, or write it: `{command} --update`",
        )
    fix = f"restore it, or write it anew: `{command}{' --images DIR' * numbered} --update`"
    return list(read_csv(path, ("id", "sha256"), "image list", fix))


def _validate(raw: dict[str, Any], path: Path) -> Manifest:
    manifest = check_model(
        raw, path, Manifest, "manifest", fix="correct these keys; docs/adding_a_dataset.md lists all"
    )
    check_id("dataset", manifest.id)
    check_id("domain", manifest.domain)
    section = "render" if manifest.kind == "rendered" else "folder"
    if getattr(manifest, section) is None:
        raise DataError(
            f"manifest {path} is not valid",
            got=f"kind {manifest.kind!r} without {section!r}",
            expected=f"a section {section!r}",
        )
    return manifest


def _check_images(manifest: Manifest, path: Path) -> None:
    """Rules over the whole list: one entry an image, well-formed hashes, safe names, the declared count."""
    ids = manifest.ids
    anew = f"`bench prepare --dataset {manifest.id} --update`"
    if len(ids) != manifest.count:
        raise DataError(
            f"manifest {path} lists the wrong number of images",
            got=len(ids),
            expected=f"count {manifest.count}",
            fix=f"{anew} writes the list",
        )
    if twice := duplicates(ids):
        raise DataError(
            f"manifest {path} lists images twice",
            got=name_some(twice),
            expected="every id once",
            fix=f"delete the second entries, or {anew}",
        )
    if unsafe := [i for i in ids if not i or i.startswith(".") or "/" in i or "\\" in i]:
        raise DataError(
            f"manifest {path} has ids that cannot be file names", got=name_some(unsafe), fix="rename the pictures"
        )
    bad = [e.id for e in manifest.images if not _SHA256.fullmatch(e.sha256)]
    if manifest.hash == "file":
        bad += [e.id for e in manifest.images if not _SHA256.fullmatch(e.pixels or "")]
    if bad:
        raise DataError(
            f"manifest {path} has malformed hashes",
            got=name_some(bad),
            expected="64 lower-case hex digits (SHA-256)",
            fix=f"{anew} writes them",
        )
