"""YAML files of trainings, read and checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from bench.errors import BenchError
from bench.files import read_yaml


class Strict(BaseModel):
    """Settings that refuse unknown keys and do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(path: Path, kind: type[Settings], fix: str | None = None) -> Settings:
    """Read and check the YAML file of a training.

    Args:
        path: the file.
        kind: its keys; a wrong one is answered with the file that declares them.
        fix: what to do where there is no such file.
    Raises:
        BenchError: the file is missing, is not YAML, or a key is unknown or has a wrong value (the first ones named).
    """
    if not path.is_file():
        raise BenchError(f"no training configuration at {path}", fix=fix)
    keys = kind.__module__.replace(".", "/") + ".py"
    return read_yaml(path, kind, fix=f"correct it; its keys are those of {keys}", raises=BenchError)
