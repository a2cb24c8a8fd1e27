"""Which code each stage of the pipeline uses, and its hashes: neither less, which would leave stale results, nor more.

The code of a stage is everything that its verb's file and the plug-ins it loads by name import, wherever the import
stands, read from the syntax trees: nothing is imported. Of methods it is the stage's own and what that one imports.
Stages depend on the hashes, not on the files: dvc.yaml stays readable, dvc.lock short, and no list has to be mended.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench import registry
from bench.errors import BenchError

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
# Code that no number, no picture and no page depends on: changing it must not compute anything again.
WITHOUT_EFFECT = {
    "bench/__init__.py": "the version's number",
    "bench/cli/__init__.py": "finds the verb and prints errors",
    "bench/cli/common.py": "texts of options and progress bars",
    "bench/errors.py": "texts of errors",
    "bench/locking.py": "who may write",
    "bench/listed.py": "which stages a profile has",
    "bench/csvfiles.py": "damaged tables are refused; nothing is read otherwise",
}
DATA = {"bench/protocol.py": "bench/protocols/*.yaml"}  # settings that a module reads


class Sources:
    """The Python files of a project, ``bench`` and ``methods`` below ``root``, and who imports whom."""

    def __init__(self, root: Path):
        self.root = Path(root)
        self._imports: dict[str, set[str]] = {}

    def closure(self, starts: Iterable[str]) -> set[str]:
        """The files themselves and all that they import, directly or through others; paths relative to the root."""
        seen: set[str] = set()
        todo = list(starts)
        while todo:
            file = todo.pop()
            if file not in seen:
                seen.add(file)
                todo += self.imports(file)
        return seen

    def imports(self, file: str) -> set[str]:
        """Our files that one of them imports, those without effect left out.

        Raises:
            BenchError: it cannot be read as Python.
        """
        if file not in self._imports:
            try:
                tree = ast.parse((self.root / file).read_text(encoding="utf-8"))
            except FileNotFoundError:
                fix = "run it in a checkout of hfgi-bench"
                raise BenchError(f"{file} is not there", expected=f"the code in {self.root}", fix=fix) from None
            except (OSError, SyntaxError, ValueError) as error:
                told = " ".join(str(error).split())
                raise BenchError(f"{file} cannot be read", got=told, expected="Python", fix="correct it") from None
            found = {self._file(name) for name in _imported(tree) if name.split(".")[0] in ("bench", "methods")}
            self._imports[file] = {name for name in found if name} - set(WITHOUT_EFFECT)
        return self._imports[file]

    def _file(self, name: str) -> str:
        path = Path(*name.split("."))
        found = [p for p in (path.with_suffix(".py"), path / "__init__.py") if (self.root / p).is_file()]
        return found[0].as_posix() if found else ""


def _imported(node: ast.AST) -> list[str]:
    """Dotted names below a node, those for the type checker alone left out."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return [name for inner in node.orelse for name in _imported(inner)]
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for inner in ast.iter_child_nodes(node) for name in _imported(inner)]


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

    found = {}
    for verb, kinds in VERBS.items():
        starts = {f"bench/cli/{verb.replace('-', '_')}.py"}
        starts |= {file for kind in kinds if kind != "methods" for file in plugins[kind]}
        used = sources.closure(starts)
        used |= {path.relative_to(root).as_posix() for file in used & set(DATA) for path in root.glob(DATA[file])}
        found[verb] = hashed(used)
        for file in plugins["methods"] if "methods" in kinds else ():
            found[f"{verb}/{Path(file).stem}"] = hashed(used | sources.closure([file]))
    return found


def _files(root: Path, kind: str) -> list[str]:
    paths = [entry.path.resolve() for entry in getattr(registry, kind)(root).entries().values() if entry.path]
    return sorted(path.relative_to(root).as_posix() for path in paths if path.is_relative_to(root))
