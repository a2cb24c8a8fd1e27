"""Which code each stage of the pipeline uses, and its hashes: neither less, which would leave stale results, nor more.

The code of a stage is everything that its verb's file and the plug-ins it loads by name import, wherever the import
stands, read from the syntax trees: nothing is imported. Of methods it is the stage's own and what that one imports.
Stages depend on the hashes, not on the files: dvc.yaml stays readable, dvc.lock short, and no list has to be mended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from bench import registry
from bench.store.imports import Sources

VERBS: Mapping[str, tuple[str, ...]] = {  # verb of a stage -> kinds of plug-ins whose imports it may need
    "prepare": (),
    "run": ("methods", "landmarks"),
    "score": ("metrics",),
    "edit-targets": ("judges",),
    "score-edits": ("methods", "metrics", "judges", "landmarks"),
    "video-targets": ("judges",),
    "score-video": ("methods", "metrics", "judges", "landmarks"),
    "rate": ("methods", "metrics", "judges", "landmarks"),
    "aggregate": (),
    "time": ("methods", "landmarks"),
    "report": (),
}
DATA = {"bench/analysis/protocol.py": "bench/analysis/protocols/*.yaml"}  # settings that a module reads


def stage_code(root: Path) -> dict[str, dict[str, str]]:
    """Verb (``score``), or verb and method (``run/hfgi``) -> {path relative to the root: SHA-256} of the code it uses.

    Of plug-ins, those of the package and the project; other distributions are known by their versions, in run records.

    Raises:
        BenchError: a file cannot be read as Python.
    """
    root, sources = Path(root).resolve(), Sources(root)
    plugins = {kind: _files(root, kind) for kind in {kind for kinds in VERBS.values() for kind in kinds}}
    hashes: dict[str, str] = {}

    def hashed(files: set[str]) -> dict[str, str]:
        for file in files - hashes.keys():
            hashes[file] = hashlib.sha256((root / file).read_bytes()).hexdigest()
        return {file: hashes[file] for file in sorted(files)}

    code_of_stages = {}
    for verb, kinds in VERBS.items():
        starts = {f"bench/cli/{verb.replace('-', '_')}.py"}
        starts |= {file for kind in kinds if kind != "methods" for file in plugins[kind]}
        used = sources.closure(starts)
        used |= {path.relative_to(root).as_posix() for file in used & set(DATA) for path in root.glob(DATA[file])}
        code_of_stages[verb] = hashed(used)
        for file in plugins["methods"] if "methods" in kinds else ():
            code_of_stages[f"{verb}/{Path(file).stem}"] = hashed(used | sources.closure([file]))
    return code_of_stages


def _files(root: Path, kind: str) -> list[str]:
    paths = [entry.path.resolve() for entry in registry.KINDS[kind](root).entries().values() if entry.path]
    return sorted(path.relative_to(root).as_posix() for path in paths if path.is_relative_to(root))
