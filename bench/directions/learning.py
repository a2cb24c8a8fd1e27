"""What a way to find directions is given, what it gives back, and which ways there are."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from bench.errors import BenchError, UnknownName
from bench.files import read_yaml

if TYPE_CHECKING:
    from bench.directions.direction import Direction
    from bench.directions.samples import Samples
    from bench.generator import SharedGenerator

HERE = Path(__file__).parent / "finders"


class Asked(BaseModel):
    """One direction to learn from labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attribute: str = Field(description="of the judge")
    share: float = Field(0.3, gt=0, le=0.5, description="of the samples taken as clear cases at either end")
    given: list[str] = Field(default_factory=list, description="directions not to move along (conditional edit)")


class Recipe(BaseModel):
    """weights/directions/<domain>.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    judge: str = ""
    samples: int = Field(4000, ge=50)
    seed: int = 0
    labelled: dict[str, Asked] = Field(default_factory=dict, description="name -> direction learned from labels")
    components: int = Field(80, ge=1, description="principal components kept at most")
    groups: dict[str, tuple[int, int]] = Field(
        default_factory=dict, description="name -> first row and one past the last, for directions without labels"
    )
    per_group: int = Field(5, ge=1)


@dataclass(frozen=True)
class Request:
    """Args: samples: with labels where they were asked for. held_out: share of samples that only measure."""

    generator: SharedGenerator
    samples: Samples
    recipe: Recipe
    held_out: float = 0.3


@dataclass
class Learned:
    """Args: directions: found. measured: direction -> quantity -> number, for the card. unit: what degree 1 is."""

    directions: list[Direction]
    measured: dict[str, dict[str, float]]
    unit: str
    notes: dict[str, Any] = field(default_factory=dict)


def ways() -> list[str]:
    """Names of all ways, from their files; nothing is imported."""
    return sorted(p.stem for p in HERE.glob("*.py") if not p.stem.startswith("_"))


def way(name: str) -> ModuleType:
    """The module of a way; UnknownName if there is none."""
    if name not in ways():
        raise UnknownName.of("way to find directions", name, ways())
    return importlib.import_module(f"bench.directions.finders.{name}")


def read_recipe(path: Path) -> Recipe:
    """A domain's recipe, or the defaults where it has none.

    Raises:
        BenchError: not YAML, unknown keys or wrong values (all named).
    """
    if not path.is_file():
        return Recipe.model_validate({})
    return read_yaml(path, Recipe, fix="mend the recipe", raises=BenchError)


def check_attributes(recipe: Recipe, known: Mapping[str, Any]) -> None:
    """Refuse a recipe that asks for attributes its judge does not read, or for conditions it does not learn."""
    for asked in recipe.labelled.values():
        if asked.attribute not in known:
            raise UnknownName.of("attribute of the judge", asked.attribute, known)
        for other in asked.given:
            if other not in recipe.labelled:
                raise UnknownName.of("direction in `given`", other, recipe.labelled)
