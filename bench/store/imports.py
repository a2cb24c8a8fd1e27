"""Which of our files a file imports, read from the syntax trees: nothing is imported to find out.

Two things follow from it: the hash of the code that made a run (:func:`bench.store.provenance.result_code`) and the hashes
that the pipeline's stages depend on (:mod:`bench.planning.code_hashes`).
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable
from pathlib import Path

from bench.errors import BenchError, message_of

# Code that no number, no picture and no page depends on: changing it must not compute anything again.
WITHOUT_EFFECT = {
    "bench/__init__.py": "the version's number",
    "bench/cli/__init__.py": "a sentence",
    "bench/cli/app.py": "finds the verb and prints errors",
    "bench/cli/common.py": "opens the project, texts of options, progress bars",
    "bench/errors.py": "texts of errors",
    "bench/config/stage_lists.py": "which stages a profile has",
}


def package_root() -> Path:
    """Find the folder that holds the package ``bench``: the checkout, or where it is installed."""
    spec = importlib.util.find_spec("bench")
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))).parent


class Sources:
    """The Python files of a project, ``annyfaces``, ``bench`` and ``methods`` below ``root``, and who imports whom."""

    def __init__(self, root: Path):
        self.root = Path(root)
        self._imports: dict[str, set[str]] = {}

    def closure(self, starts: Iterable[str]) -> set[str]:
        """The files themselves and all that they import, directly or through others; paths relative to the root.

        A start may be absolute: a user's file outside the root.
        """
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
                told = message_of(error)
                raise BenchError(f"{file} cannot be read", got=told, expected="Python", fix="correct it") from None
            found = {
                self._file(name) for name in _imported(tree) if name.split(".")[0] in ("annyfaces", "bench", "methods")
            }
            files = {name for name in found if name} - set(WITHOUT_EFFECT)
            if Path(file).is_absolute():  # a user's file, which may change while this process lives
                return files
            self._imports[file] = files
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
