"""Where a dataset's pictures come from: the sections ``render`` and ``folder`` of its manifest."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RenderSpec(BaseModel):
    """Where a rendered dataset comes from.

    Args:
        renderer_version: version of the renderer that made the images.
        renderer: name of the renderer; None is the suite's own.
        split: which images of it.
        seed: of the scenes.
        clip: frames per clip of a video split (ids ``03_0017``).
    """

    model_config = ConfigDict(extra="forbid")

    renderer_version: str | int
    renderer: str | None = None
    split: str
    seed: int = 0
    clip: int | None = None


class Mapped(BaseModel):
    """A part of a collection by the number its pictures have in another one: ``first`` to ``last`` there.

    ``table``: name of the file that says which those are; it comes with the pictures (see bench/data/index_map.py).
    """

    model_config = ConfigDict(extra="forbid")

    table: str
    first: int = Field(ge=0)
    last: int = Field(ge=0)


class Numbers(BaseModel):
    """Pictures known by number, as in CelebA-HQ: ``first`` to ``last``, whatever padding and suffix a file's name has.

    ``prefixes`` may stand before the number in a file's name; ids have ``digits`` digits, so they sort as numbers do.
    ``mapped``: only those of a part of another collection.
    """

    model_config = ConfigDict(extra="forbid")

    first: int = Field(0, ge=0)
    last: int = Field(ge=0)
    digits: int = Field(5, ge=1, le=9)
    prefixes: list[str] = []
    mapped: Mapped | None = None

    def id_of(self, number: int) -> str:
        """Return the image id of a number, padded with zeros."""
        return f"{number:0{self.digits}d}"


class FolderSpec(BaseModel):
    """How a folder of pictures becomes a dataset. ``source`` is relative to the project where it lies inside it.

    With ``numbers`` the manifest says which pictures are meant and the user's folder merely holds them; ``source`` is
    then empty (see bench/data/import_numbered.py).
    """

    model_config = ConfigDict(extra="forbid")

    source: str = ""
    numbers: Numbers | None = None
    align: Literal["none"] = "none"
    crop: Literal["none", "center"] = "none"
    convert: bool = False
    resize: Literal["pil_lanczos"] = "pil_lanczos"
