"""Rendered human heads with exact ground truth: the suite's embedded domain.

``scene.sample_scene`` draws a picture as data, ``scene.edit_scene`` moves one factor of it, ``render.Renderer`` makes
pixels, part labels, landmarks and factors. anny is imported only here, the first time the head's arrays are needed.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def code_sha256() -> str:
    """Hash the renderer's source files: what was rendered by other code is stale."""
    digest = hashlib.sha256()
    for path in source_files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def source_files() -> list[Path]:
    """All Python files of this package, sorted. It is never empty: this file is one of them."""
    return sorted(Path(__file__).parent.rglob("*.py"))
