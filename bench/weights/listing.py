"""weights/published.yaml: files others published, where they are, and what is in them.

A file is described by data alone: a new checkpoint of a known architecture needs an entry, no code. Hosts such as
Google Drive state neither size nor hash, so both may be absent; then the first file seen is trusted and its hash
recorded (bench/weights/lock.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench.errors import UnknownName, WeightsError
from bench.files import read_text, read_yaml

FOLDER = "weights"
FILE = "published.yaml"
DRIVE = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"
DRIVE_PAGE = "https://drive.google.com/file/d/{}/view"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PublishedFile(_Data):
    """One downloadable file.

    Args:
        name: as its source calls it; also what ``--from`` looks for. aliases: other names in circulation.
        url, drive: direct address, or id on Google Drive. page: where a person downloads it.
        sha256: of the bytes, or only its first digits where the source states no more; empty if unknown.
        size_bytes: exact if known. about_bytes: estimate from the architecture, for display only.
    """

    name: str = Field(pattern=_NAME)
    url: str = Field("", pattern=r"^(https?://\S+)?$")
    drive: str = Field("", pattern=r"^[A-Za-z0-9_-]*$")
    page: str = ""
    aliases: list[str] = []
    sha256: str = Field("", pattern=r"^[0-9a-f]{0,64}$")
    size_bytes: int | None = Field(None, gt=0)
    about_bytes: int | None = Field(None, gt=0)

    @property
    def address(self) -> str:
        """What a program downloads; empty if only a person can."""
        return self.url or (DRIVE.format(self.drive) if self.drive else "")

    @property
    def by_hand(self) -> str:
        """The page a person opens."""
        return self.page or (DRIVE_PAGE.format(self.drive) if self.drive else self.url)


class Interface(_Data):
    """What a network that is kept unread takes, (channels, height, width) a picture, and gives, numbers a picture."""

    input: list[int] = Field(min_length=3, max_length=3)
    output: int = Field(gt=0)


class Part(_Data):
    """A group of tensors (or a file of its own) inside a published file: the key map.

    Args:
        file: name of the file it is in; the entry's first by default.
        at: top-level key of the checkpoint that holds it ("" = the whole file).
        prefix: of its keys there; removed on conversion.
        layout, args: rule in bench/weights/layouts.py and its arguments.
        ignore: prefixes of further keys that may be there and are left out.
        compare: ``id/part`` it is expected to equal bit by bit.
        optional: may be absent. raw: kept as a file, unread. member: path inside a zip archive (raw only).
        interface: of the network in a raw file, as far as it is known; what stands in for it has the same.
    """

    file: str = ""
    at: str = ""
    prefix: str = ""
    layout: str = ""
    args: dict[str, Any] = {}
    ignore: list[str] = []
    compare: str = Field("", pattern=r"^([a-z0-9_]+/[a-z0-9_]+)?$")
    optional: bool = False
    raw: bool = False
    member: str = ""
    interface: Interface | None = None


class Published(_Data):
    """One published set of weights.

    Args:
        size: side of the generator it belongs to, where it has one; argument of the layouts.
        opts: training options the file must name, such as the encoder's type. Those that are true or false here change
            what is computed with equal networks; a file that does not name them is taken to agree.
        licence: terms as the source states them; nothing here redistributes the file.
    """

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    domain: str = ""
    kind: str
    licence: str
    source: str
    note: str = ""
    size: int | None = Field(None, ge=8)
    opts: dict[str, bool | str] = {}
    files: list[PublishedFile] = Field(min_length=1)
    parts: dict[str, Part] = Field(min_length=1)

    @field_validator("parts")
    @classmethod
    def _part_names(cls, parts: dict[str, Part]) -> dict[str, Part]:
        for name, part in parts.items():
            if not name.isidentifier() or not name.islower():
                raise ValueError(f"part {name!r} is not a lower-case name")
            member = PurePosixPath(part.member)
            if part.member and (not part.raw or member.is_absolute() or ".." in member.parts):
                raise ValueError(f"part {name!r}: member {part.member!r} cannot be taken out")
        return parts

    @model_validator(mode="after")
    def _consistent(self) -> Published:
        names = [file.name for file in self.files]
        for name, part in self.parts.items():
            if part.file and part.file not in names:
                raise ValueError(f"part {name!r} is in {part.file!r}, which is not among the files")
            if not part.raw and not part.layout and not self.file_of(name).sha256:
                raise ValueError(f"part {name!r} needs a layout: no hash vouches for its file")
        return self

    def file_of(self, part: str) -> PublishedFile:
        """The file a part is in."""
        name = self.parts[part].file or self.files[0].name
        return next(file for file in self.files if file.name == name)

    @property
    def about_bytes(self) -> int:
        """Size of all files, as far as it is known or estimated."""
        return sum(file.size_bytes or file.about_bytes or 0 for file in self.files)


class PublishedDomain(_Data):
    """The shared generator of a domain whose weights are published, and the side of its pictures."""

    generator: str
    resolution: int = Field(ge=8)


class PublishedList(_Data):
    """Contents of weights/published.yaml."""

    published: list[Published] = []
    domains: dict[str, PublishedDomain] = {}

    @model_validator(mode="after")
    def _consistent(self) -> PublishedList:
        ids = [entry.id for entry in self.published]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"ids listed twice: {', '.join(twice)}")
        named = {d.generator for d in self.domains.values()}
        named |= {p.compare.split("/")[0] for e in self.published for p in e.parts.values() if p.compare}
        if absent := sorted(named - set(ids)):
            raise ValueError(f"named but not listed: {', '.join(absent)}")
        return self

    @property
    def ids(self) -> list[str]:
        """Ids of all published weights, in the list's order."""
        return [entry.id for entry in self.published]

    def entry(self, weights_id: str) -> Published:
        """The entry of an id, or UnknownName."""
        for entry in self.published:
            if entry.id == weights_id:
                return entry
        raise UnknownName.of("published weights", weights_id, self.ids)


def declared(method_weights: Mapping[str, Any], domain: str) -> list[str]:
    """Ids a method's ``weights`` attribute (domain -> id, or list of ids) names for a domain; [] if it names none.

    Raises:
        WeightsError: neither an id nor a list of ids.
    """
    given = method_weights.get(domain, [])
    ids = [given] if isinstance(given, str) else given
    if not isinstance(ids, list | tuple) or not all(isinstance(i, str) and i for i in ids):
        raise WeightsError(
            f"a method's weights for domain {domain!r} are not named",
            got=repr(given),
            expected="an id or a list of ids",
        )
    return list(ids)


def published_path(root: str | Path) -> Path:
    """Where the list is."""
    return Path(root) / FOLDER / FILE


@lru_cache(maxsize=4)
def _validated(path: Path, text: str) -> PublishedList:
    """The list of a text: it is asked for each of a method's weights."""
    return read_yaml(path, PublishedList, text=text, fix="mend the file", raises=WeightsError)


def read_published(root: str | Path) -> PublishedList:
    """Parse and validate the list of a project; a project without one knows no published weights.

    Raises:
        WeightsError: not YAML, unknown or missing fields, ids listed twice, parts in files that are not there.
    """
    path = published_path(root)
    if not path.is_file():
        return PublishedList()
    return _validated(path, read_text(path, fix="mend the file", raises=WeightsError))
