"""What an export leaves beside its configuration: measured numbers, model card, entry in weights/manifest.yaml."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.files import atomic_write
from bench.weights import manifest as weights


def check_exportable(config_path: Path, root: Path, position: int) -> None:
    """Refuse an export that has nothing to write, or nowhere to write it.

    Args:
        config_path: of the training; the files come to lie beside it.
        root: project folder.
        position: images that the training has drawn.
    Raises:
        BenchError: nothing was trained yet, or the configuration does not lie under weights/.
    """
    if not position:
        raise BenchError(f"no training of {config_path.stem} to export", fix="run it without --export first")
    if not config_path.resolve().is_relative_to((root / weights.FOLDER).resolve()):
        raise BenchError(
            f"cannot export beside {config_path}",
            expected="a configuration under weights/",
            fix="train from one that lies there",
        )


def project_path(config_path: Path, root: Path) -> Path:
    """Path of a configuration under weights/ relative to the project, for the card."""
    return config_path.resolve().relative_to((root / weights.FOLDER).resolve().parent)


def write_export(root: Path, file: Path, numbers: Mapping[str, Any], card: str, entry: Mapping[str, Any]) -> list[Path]:
    """Write the numbers and the card beside a file of weights, and enter it into weights/manifest.yaml.

    Args:
        root: project folder.
        file: the weights, under weights/.
        numbers: what was measured, for the JSON file.
        card: Markdown.
        entry: ``id``, ``sha256``, ``domain``, ``kind`` and ``licence`` of the manifest entry; the rest is added here.
    Returns:
        the files written, that of the weights first.
    """
    base = (root / weights.FOLDER).resolve()
    table, page = file.with_suffix(".json"), file.with_suffix(".md")
    atomic_write(table, json.dumps(numbers, indent=1) + "\n")
    atomic_write(page, card)
    keys = ("id", "file", "sha256", "size_bytes", "domain", "kind", "licence", "card")
    found = {
        **entry,
        "file": file.relative_to(base).as_posix(),
        "size_bytes": file.stat().st_size,
        "card": page.relative_to(base).as_posix(),
    }
    weights.enter(root, {key: found[key] for key in keys})
    return [file, table, page, weights.manifest_path(root)]
