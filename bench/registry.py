"""Plug-ins by file name: ``methods/x.py`` is the method ``x``, ``bench/metrics/x.py`` the metric ``x``.

There is no list to edit. Names and class attributes are read from the syntax tree, so listing imports nothing; a class
is imported when it is first needed. A file that cannot be read is listed with its error rather than left out.
Searched, in this order: the installed package, the folder of the same kind in the user's project, entry points of
other distributions (groups ``bench.methods``, ``bench.metrics``, ``bench.judges``, ``bench.landmarks``).
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from bench import api
from bench.errors import BenchError, UnknownName, typed_message_of
from bench.names import check_id


@dataclass(frozen=True)
class Entry:
    """A plug-in as listed: nothing of it has been imported.

    Args:
        name: its id. origin: "package", "project" or the distribution that brings it.
        path: its file, where known. module: what to import.
        attributes: class attributes that are literals in the source (title, source, options, ...).
        error: why it cannot be used, or "".
    """

    name: str
    origin: str
    path: Path | None
    module: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def where(self) -> str:
        """File, or module where the file is not known."""
        return str(self.path or self.module)


@dataclass(frozen=True)
class Folder:
    """Where plug-ins lie: ``package`` is the import name of ``path``, or "" for loose files of a project."""

    path: Path
    package: str
    origin: str


class Registry:
    """All plug-ins of one kind.

    Args:
        kind: "method", "metric", ..., for messages.
        class_name: the class each file defines.
        bases: what this class must derive from.
        folders: where files are looked for, the first having precedence over none: a name found twice is an error.
        group: entry point group.
    """

    def __init__(self, kind: str, class_name: str, bases: tuple[type, ...], folders: list[Folder], group: str):
        self.kind, self.class_name, self.bases, self.folders, self.group = kind, class_name, bases, folders, group
        self._entries: dict[str, Entry] | None = None
        self._classes: dict[str, type] = {}

    def entries(self) -> dict[str, Entry]:
        """name -> entry, sorted by name."""
        if self._entries is None:
            found: dict[str, Entry] = {}
            for entry in [*self._files(), *self._entry_points()]:
                other = found.get(entry.name)
                if other is not None:
                    entry = replace(other, error=f"defined twice: {other.where} and {entry.where}")
                found[entry.name] = entry
            self._entries = dict(sorted(found.items()))
        return self._entries

    def names(self) -> list[str]:
        """All ids, sorted."""
        return list(self.entries())

    def entry(self, name: str) -> Entry:
        """The entry called ``name``; UnknownName with the nearest names otherwise."""
        if name not in self.entries():
            raise UnknownName.of(self.kind, name, self.names())
        return self.entries()[name]

    def attribute(self, name: str, attribute: str, default: Any) -> Any:
        """A class attribute: from the source where it is a literal there, else from the imported class.

        Raises:
            UnknownName: no such plug-in. BenchError: its file cannot be read, or must be imported and cannot be.
        """
        found = self.entry(name).attributes
        if attribute in found:
            return found[attribute]
        plain = found.get("base") in {base.__name__ for base in self.bases}  # nothing is inherited from elsewhere
        return default if plain and attribute not in found["computed"] else getattr(self.load(name), attribute, default)

    def load(self, name: str) -> Any:
        """Import and return the class of plug-in ``name``.

        Raises:
            UnknownName: no such plug-in. BenchError: its file cannot be imported or defines no such class.
        """
        if name not in self._classes:
            entry = self.entry(name)
            if entry.error:
                raise BenchError(f"{self.kind} {name!r} cannot be used", got=entry.error, fix=f"correct {entry.where}")
            cls = getattr(self._import(entry), self.class_name, None)
            if not (isinstance(cls, type) and issubclass(cls, self.bases)):
                expected = " or ".join(f"api.{base.__name__}" for base in self.bases)
                raise BenchError(
                    f"{self.kind} {name!r} has the wrong class",
                    got=cls,
                    expected=f"class {self.class_name}({expected})",
                    fix=f"correct {entry.where}",
                )
            self._classes[name] = cls
        return self._classes[name]

    def _files(self) -> list[Entry]:
        found = []
        for folder in self.folders:
            for path in sorted(folder.path.glob("*.py")):
                if path.stem.startswith("_"):
                    continue
                loose = f"_bench_project_{self.class_name.lower()}_{path.stem}"
                module = f"{folder.package}.{path.stem}" if folder.package else loose
                found.append(self._read(path.stem, folder.origin, path, module, self.class_name))
        return found

    def _entry_points(self) -> list[Entry]:
        found = []
        for point in entry_points(group=self.group):
            origin = point.dist.name if point.dist else "entry point"
            path = _entry_point_file(point)
            if path is None:
                found.append(Entry(point.name, origin, None, point.module))
            else:
                found.append(self._read(point.name, origin, path, point.module, point.attr or self.class_name))
        return found

    def _read(self, name: str, origin: str, path: Path, module: str, class_name: str) -> Entry:
        try:
            check_id(self.kind, name)
            attributes = class_attributes(path.read_text(encoding="utf-8"), class_name)
        except BenchError as error:
            return Entry(name, origin, path, module, error=str(error))
        except (SyntaxError, ValueError, OSError) as error:
            return Entry(name, origin, path, module, error=typed_message_of(error))
        if attributes is None:
            return Entry(name, origin, path, module, error=f"defines no class {class_name}")
        return Entry(name, origin, path, module, attributes)

    def _import(self, entry: Entry) -> ModuleType:
        try:
            if entry.path is not None and entry.module.startswith("_bench_project_"):
                return _import_file(entry.module, entry.path)
            return importlib.import_module(entry.module)
        except BenchError:
            raise
        except Exception as error:  # whatever a plug-in's import raises, the user needs its file and the reason
            raise BenchError(
                f"{self.kind} {entry.name!r} cannot be imported",
                got=typed_message_of(error),
                fix=f"correct {entry.where}, or install what it needs",
            ) from error


def class_attributes(source: str, class_name: str) -> dict[str, Any] | None:
    """Literal attributes of a class in Python source; None without such a class.

    Further keys: ``doc``, ``base`` and ``computed``, names of attributes that are no literals.
    """
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            break
    else:
        return None
    base = ast.unparse(node.bases[0]).rsplit(".", 1)[-1] if node.bases else ""
    found: dict[str, Any] = {"doc": ast.get_docstring(node) or "", "base": base, "computed": []}
    for item in node.body:
        if isinstance(item, ast.Assign):
            targets, value = item.targets, item.value
        elif isinstance(item, ast.AnnAssign) and item.value is not None:
            targets, value = [item.target], item.value
        else:
            continue
        try:
            literal = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError):
            found["computed"] += [name.id for t in targets for name in ast.walk(t) if isinstance(name, ast.Name)]
            continue
        for target in targets:
            if isinstance(target, ast.Name):
                found[target.id] = literal
            elif isinstance(target, ast.Tuple) and isinstance(literal, tuple):  # value_range, ideal = (0.0, 1.0), 1.0
                found.update({t.id: v for t, v in zip(target.elts, literal, strict=False) if isinstance(t, ast.Name)})
    return found


def _import_file(module: str, path: Path) -> ModuleType:
    """Import a loose file under a name that shadows no package."""
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no loader for {path}")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    try:
        spec.loader.exec_module(loaded)
    except BaseException:
        sys.modules.pop(module, None)
        raise
    return loaded


def _entry_point_file(point: EntryPoint) -> Path | None:
    """The source file of an entry point, found without importing its package; None for other loaders."""
    if point.dist is None:
        return None
    relative = Path(*point.module.split("."))
    for candidate in (relative.with_suffix(".py"), relative / "__init__.py"):
        located = Path(str(point.dist.locate_file(candidate)))
        if located.is_file():
            return located
    return None


def _folders(package: str, project: Path | None, name: str) -> list[Folder]:
    """The installed package's folder, if it has one, and, if it is another one, the project's."""
    spec = importlib.util.find_spec(package) if package else None
    folders = [Folder(Path(p), package, "package") for p in (spec.submodule_search_locations or [] if spec else [])]
    if project is not None:
        local = Path(project) / name
        if local.is_dir() and all(local.resolve() != f.path.resolve() for f in folders):
            folders.append(Folder(local, "", "project"))
    return folders


@lru_cache(maxsize=8)
def methods(root: Path | None = None) -> Registry:
    """The methods seen from a project: installed ones, those in ``<root>/methods``, entry points."""
    return Registry("method", "Method", (api.Method,), _folders("methods", root, "methods"), "bench.methods")


@lru_cache(maxsize=8)
def metrics(root: Path | None = None) -> Registry:
    """The metrics seen from a project: installed ones, those in ``<root>/metrics``, entry points."""
    return Registry(
        "metric",
        "Metric",
        (api.PairMetric, api.RunMetric, api.SetMetric),
        _folders("bench.metrics", root, "metrics"),
        "bench.metrics",
    )


@lru_cache(maxsize=8)
def judges(root: Path | None = None) -> Registry:
    """Judges of attributes beside those of bench/predictors/attributes.py: in ``<root>/judges``, entry points."""
    return Registry("judge", "Judge", (api.Judge,), _folders("", root, "judges"), "bench.judges")


@lru_cache(maxsize=8)
def landmarks(root: Path | None = None) -> Registry:
    """Landmark sources beside those of bench/predictors/landmarks.py: in ``<root>/landmarks``, entry points."""
    return Registry(
        "landmark source", "Landmarks", (api.Landmarks,), _folders("", root, "landmarks"), "bench.landmarks"
    )


KINDS = {"methods": methods, "metrics": metrics, "judges": judges, "landmarks": landmarks}  # folder -> registry of it


def forget() -> None:
    """Look for files and entry points anew: some were added in this process."""
    for kind in KINDS.values():
        kind.cache_clear()
