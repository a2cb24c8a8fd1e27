"""weights/manifest.yaml: which weight files exist, where they come from, and loading them verified.

Only safetensors are read (no code can hide in them) and only after size and SHA-256 agree with the manifest, so a run
never uses a file other than the one its record names. Reading the manifest imports no torch.

The manifest has two sections: ``weights`` (a list of :class:`Entry`, files of this repository) and ``domains`` (domain
-> :class:`Domain`). Files that others published stand, with their domains, in weights/published.yaml; ``bench fetch``
brings them and records their hashes in weights/lock.yaml. Here both kinds are found by id alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from bench.errors import BenchError, UnknownName, WeightsError, message_of
from bench.files import atomic_write, read_text, read_yaml
from bench.weights import load as fetched
from bench.weights.listing import PublishedList, declared, read_published

if TYPE_CHECKING:
    from torch import Tensor


FOLDER = "weights"
OPTION_SUFFIX = "_weights"  # of options that hold the id of further weights
WHAT = "weight manifest"  # in messages
STATISTICS = (".running_mean", ".running_var")  # of batch norms
FORMAT_KEY = "bench"  # safetensors metadata: key under which this suite keeps its own JSON


class Entry(BaseModel):
    """One weight file.

    ``file`` and ``card`` (model card: data, recipe, limits) are relative to ``weights/``. ``kind`` says what it holds:
    generator, discriminator, encoder, ...
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(gt=0)
    domain: str
    kind: str
    licence: str
    card: str = ""

    @field_validator("file", "card")
    @classmethod
    def _inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or "\\" in value:
            raise ValueError(f"{value!r} leaves the weights folder")
        return value

    @field_validator("file")
    @classmethod
    def _inert(cls, value: str) -> str:
        """Formats that hold no code: safetensors, and ONNX for networks that another library runs."""
        if not value.endswith((".safetensors", ".onnx")):
            raise ValueError(f"{value!r} is not a .safetensors or .onnx file")
        return value


class Domain(BaseModel):
    """What a domain needs before any method: its one generator and the side of its pictures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    generator: str
    resolution: int = Field(ge=8)


class WeightManifest(BaseModel):
    """Contents of weights/manifest.yaml, beside the list of published files (which is never written back)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: list[Entry] = []
    domains: dict[str, Domain] = {}
    _published: PublishedList = PrivateAttr(default_factory=PublishedList)

    @model_validator(mode="after")
    def _consistent(self) -> WeightManifest:
        ids = [entry.id for entry in self.weights]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"ids listed twice: {', '.join(twice)}")
        absent = sorted({d.generator for d in self.domains.values()} - set(ids))
        if absent:
            raise ValueError(f"domains name weights that are not listed: {', '.join(absent)}")
        return self

    def entry(self, weights_id: str) -> Entry:
        """The entry of an id, or UnknownName."""
        for entry in self.weights:
            if entry.id == weights_id:
                return entry
        raise UnknownName.of("weights", weights_id, [*(e.id for e in self.weights), *self._published.ids])

    def published(self, weights_id: str) -> bool:
        """Whether an id is a published file's, not one of this repository."""
        return weights_id in self._published.ids and all(e.id != weights_id for e in self.weights)

    def all_domains(self) -> dict[str, Domain]:
        """Domains of this repository's generators, then those of published ones."""
        theirs = {name: Domain(**domain.model_dump()) for name, domain in self._published.domains.items()}
        return {**self.domains, **{name: d for name, d in theirs.items() if name not in self.domains}}

    def domain(self, name: str) -> Domain:
        """The domain's generator and resolution, or an error that lists the domains there are."""
        known = self.all_domains()
        if name not in known:
            raise WeightsError(
                f"no generator for domain {name!r}",
                expected=f"one of: {', '.join(sorted(known)) or '(none)'}",
                fix="add it to the domains section of weights/manifest.yaml, or train it with `bench train generator`",
            )
        return known[name]


def manifest_path(root: str | Path) -> Path:
    """Where the manifest is."""
    return Path(root) / FOLDER / "manifest.yaml"


def read_manifest(root: str | Path) -> WeightManifest:
    """Parse and validate the manifest of a project; a project without one has no weights but published ones.

    Raises:
        WeightsError: not YAML, unknown or missing fields, duplicate ids, paths that leave the folder.
    """
    manifest = _read(manifest_path(root))
    manifest._published = read_published(root)
    both = sorted({e.id for e in manifest.weights} & set(manifest._published.ids))
    if both:
        raise WeightsError(f"{manifest_path(root)} and published.yaml both list {', '.join(both)}", fix="rename one")
    return manifest


@lru_cache(maxsize=4)
def _validated(path: Path, text: str) -> WeightManifest:
    """The manifest of a text: it is asked for each of a method's weights."""
    return read_yaml(path, WeightManifest, WHAT, text=text, fix="mend the file", raises=WeightsError)


def _read(path: Path) -> WeightManifest:
    if not path.is_file():
        return WeightManifest()
    return _validated(path, read_text(path, WHAT, fix="mend the file", raises=WeightsError)).model_copy()


def needed(
    root: str | Path, domain: str, method_weights: Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Weights a method uses in a domain: id -> sha256, the domain's generator first, each once.

    Args:
        method_weights: the method's ``weights`` attribute, domain -> id or list of ids; may be empty.
        options: its resolved options; see :func:`chosen_ids`.
    Raises:
        WeightsError: no such domain, or published weights that have not been fetched. UnknownName: no such id.
    """
    manifest = read_manifest(root)
    ids = dict.fromkeys(
        [manifest.domain(domain).generator, *declared(method_weights, domain), *chosen_ids(options or {}, domain)]
    )
    return {i: fetched.sha256(root, i) if manifest.published(i) else manifest.entry(i).sha256 for i in ids}


def chosen_ids(options: Mapping[str, Any], domain: str) -> list[str]:
    """Ids that options ending in ``_weights`` hold for a domain: an id, "" for none, or a mapping domain -> id."""
    held = [value for name, value in options.items() if name.endswith(OPTION_SUFFIX)]
    found = [value.get(domain, "") if isinstance(value, Mapping) else value for value in held]
    return [str(value) for value in found if value]


def status(root: str | Path, weights_id: str) -> str:
    """``committed``, ``missing`` (a committed file that is gone), ``present`` or ``absent`` (a published one)."""
    manifest = read_manifest(root)
    if manifest.published(weights_id):
        return fetched.status(root, weights_id)
    return "committed" if (Path(root) / FOLDER / manifest.entry(weights_id).file).is_file() else "missing"


def verified_bytes(root: str | Path, entry: Entry) -> bytes:
    """The file's bytes, once size and SHA-256 agree with the manifest.

    Raises:
        WeightsError: missing, unreadable, wrong size (truncated), wrong hash.
    """
    path = Path(root) / FOLDER / entry.file
    fix = f"restore it (`git checkout -- {FOLDER}/{entry.file}`), or update its entry if it was trained anew"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"weights {entry.id!r}: cannot read {path}", got=error.strerror or str(error), fix=fix
        ) from None
    if len(data) != entry.size_bytes:
        raise WeightsError(
            f"weights {entry.id!r}: {path} has the wrong size",
            got=f"{len(data)} bytes",
            expected=f"{entry.size_bytes} bytes",
            fix=fix,
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        raise WeightsError(
            f"weights {entry.id!r}: {path} is not the file the manifest names",
            got=f"sha256 {digest}",
            expected=entry.sha256,
            fix=fix,
        )
    return data


def file_path(root: str | Path, weights_id: str, part: str) -> Path:
    """The verified file of weights that another library reads (ONNX).

    Args:
        part: of published weights; those of this repository are one file.
    Raises:
        WeightsError: not here, or not the recorded file. UnknownName: no such id.
    """
    manifest = read_manifest(root)
    if manifest.published(weights_id):
        return fetched.part_path(root, weights_id, part)
    entry = manifest.entry(weights_id)
    verified_bytes(root, entry)
    return Path(root) / FOLDER / entry.file


def load(root: str | Path, weights_id: str) -> dict[str, Tensor]:
    """Verified state dict, float16 widened to float32, on the CPU.

    Args:
        weights_id: of weights, or ``id/part`` for one part of published ones (``stylegan2_ffhq/discriminator``).

    Published weights come without their copy of the generator; how their keys are named is said in
    :func:`bench.weights.load.load`.
    """
    return load_with_meta(root, weights_id)[0]


def load_with_meta(root: str | Path, weights_id: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """As :func:`load`, with the JSON that the file's writer stored beside it ({} if none)."""
    manifest = read_manifest(root)
    weights_id, _, part = weights_id.partition("/")
    if manifest.published(weights_id):
        return fetched.load_part(root, weights_id, part) if part else fetched.load(root, weights_id)
    entry = manifest.entry(weights_id)
    if part:
        raise WeightsError(f"weights {weights_id!r} have no part {part!r}", expected="one file, without parts")
    return parse(verified_bytes(root, entry), f"weights {weights_id!r} ({entry.file})")


def about(root: str | Path, entry: Entry) -> dict[str, Any]:
    """The JSON that the writer of a file of this repository stored beside its tensors, read without them and torch.

    The file's hash is not checked: for lists.

    Raises:
        WeightsError: the file is not there or is no safetensors file.
    """
    path = Path(root) / FOLDER / entry.file
    try:
        with open(path, "rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        return json.loads(header.get("__metadata__", {}).get(FORMAT_KEY, "{}"))
    except OSError as error:
        raise WeightsError(f"weights {entry.id!r}: cannot read {path}", got=error.strerror) from None
    except (ValueError, AttributeError, MemoryError) as error:
        raise WeightsError(f"{path} is no safetensors file", got=message_of(error)) from None


def parse(data: bytes, what: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a safetensors file's bytes; ``what`` names it in errors."""
    import safetensors.torch
    import torch

    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        meta = json.loads(header.get("__metadata__", {}).get(FORMAT_KEY, "{}"))
    except (safetensors.SafetensorError, ValueError) as error:
        raise WeightsError(f"{what} cannot be read", got=str(error), expected="a safetensors file") from None
    wide = {k: v.to(torch.float32) if v.dtype == torch.float16 else v for k, v in sorted(tensors.items())}
    return wide, meta


def save(path: str | Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], half: bool = True) -> str:
    """Write tensors and JSON metadata as safetensors; equal input gives equal bytes.

    Args:
        half: store floating tensors as float16. Values beyond its range (65,504) are refused, not turned into infinity.
            Statistics of batch norms, few and sometimes large, stay as they are.
    Returns:
        SHA-256 of the file, for the manifest.
    """
    import safetensors.torch
    import torch

    ready = {}
    for key, value in sorted(tensors.items()):
        value = value.detach().cpu()
        if half and value.is_floating_point() and not key.endswith(STATISTICS):
            value = value.to(torch.float16)
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise BenchError(
                f"tensor {key!r} cannot be stored",
                got="values that are not finite" + (" in float16" if half else ""),
                fix="store it with half=False" if half else None,
            )
        ready[key] = value.contiguous().clone()
    data = safetensors.torch.save(ready, metadata={FORMAT_KEY: json.dumps(meta, sort_keys=True)})
    atomic_write(path, data)
    return hashlib.sha256(data).hexdigest()


def enter(root: Path, entry: dict[str, Any]) -> None:
    """Put an entry into weights/manifest.yaml in the place of one of the same id; its comments stay."""
    path = manifest_path(root)
    manifest = read_manifest(root).model_dump()
    ids = [e["id"] for e in manifest["weights"]]
    if entry["id"] in ids:
        manifest["weights"][ids.index(entry["id"])] = entry
    else:
        manifest["weights"].append(entry)
    comments = "".join(line for line in path.read_text().splitlines(True) if line.startswith("#"))
    atomic_write(path, (comments + yaml.safe_dump(manifest, sort_keys=False)).encode())
