"""YAML files of trainings, read and checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import BenchError, one_line


class Strict(BaseModel):
    """Settings that refuse unknown keys and do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(path: Path, kind: type[Settings], fix: str | None = None) -> Settings:
    """Read and check the YAML file of a training.

    Args:
        path: the file.
        kind: its keys; a wrong value is answered with the file that declares them.
        fix: what to do where there is no such file.
    Raises:
        BenchError: the file is missing, is not YAML, or a key is unknown or has a wrong value (the first ones named).
    """
    try:
        return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BenchError(f"no training configuration at {path}", fix=fix) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not YAML", got=" ".join(str(error).split())) from None
    except ValidationError as error:
        keys = kind.__module__.replace(".", "/") + ".py"
        raise BenchError(f"{path} has wrong values", got=one_line(error), expected=f"the keys of {keys}") from None
