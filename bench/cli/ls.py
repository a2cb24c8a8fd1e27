"""``bench ls``: what there is. Reads source and YAML only; imports neither torch nor any plug-in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import registry
from bench.cli import common
from bench.cli.common import open_project, verb, wide_console
from bench.config.project import Config
from bench.data.dataset import PreparedPaths
from bench.data.manifest import Manifest, dataset_ids, load_manifest
from bench.errors import BenchError, UnknownName, WeightsError
from bench.weights import manifest as weights
from bench.weights.listing import declared, read_published
from bench.weights.lock import present, read_lock

KINDS = ("methods", "metrics", "datasets", "weights", "directions", "judges", "landmarks", "ablations", "profiles")


@verb(
    "List methods, metrics, datasets, weights, directions, judges, landmarks, ablations and profiles.",
    "bench ls",
    "bench ls methods",
    "bench ls datasets weights --json",
)
def command(
    kinds: Annotated[list[str] | None, typer.Argument(help=f"Which of: {', '.join(KINDS)}. Default: all.")] = None,
    as_json: common.Json = False,
    root: common.Root = None,
    profile: common.ProfileName = None,
) -> None:
    for kind in kinds or []:
        if kind not in KINDS:
            raise UnknownName.of("list", kind, KINDS)
    config = open_project(root, profile, check=False).config  # names must be listed to be mended
    listing = {kind: collect(kind, config) for kind in (kinds or KINDS)}
    if as_json:
        print(json.dumps(listing, indent=1, ensure_ascii=False))
        return
    _print(listing)


def collect(kind: str, config: Config) -> list[dict[str, Any]]:
    """The entries of one kind as plain data."""
    if kind == "methods":
        states = {entry["id"]: entry["status"] for entry in _weights(config.root)}
        return [_method(entry, config, states) for entry in registry.methods(config.root).entries().values()]
    if kind == "metrics":
        return [_metric(entry, config) for entry in registry.metrics(config.root).entries().values()]
    if kind == "datasets":
        return [_dataset(name, config) for name in dataset_ids(config.root)]
    if kind == "weights":
        return _weights(config.root)
    if kind == "directions":
        return directions(config.root)
    if kind in ("judges", "landmarks"):
        return _readers(kind, config.root)
    if kind == "ablations":
        return [{"id": name, **entry.model_dump()} for name, entry in config.ablations.items()]
    from bench.config.project import profile_names

    return [{"id": name, "used": name == config.profile} for name in profile_names(config.root)]


def _weights(root: Path) -> list[dict[str, Any]]:
    """Files of this repository, then published ones with whether they have been fetched."""
    own = [{**e.model_dump(), "status": weights.status(root, e.id)} for e in weights.read_manifest(root).weights]
    lock = read_lock(root)
    theirs = [
        {
            "id": e.id,
            "kind": e.kind,
            "domain": e.domain,
            "status": "present" if present(root, lock.get(e.id)) else "absent",
            "file": ", ".join(f.name for f in e.files),
            "size_bytes": e.about_bytes or "",
            "licence": e.licence,
            "source": e.source,
            "by_hand": [f.by_hand for f in e.files],
        }
        for e in read_published(root).published
    ]
    return own + theirs


def directions(root: Path) -> list[dict[str, Any]]:
    """Directions of all committed sets, by the names that edits take; a set that cannot be read is listed with that."""
    found: list[dict[str, Any]] = []
    for entry in weights.read_manifest(root).weights:
        if entry.kind != "directions":
            continue
        head: dict[str, Any] = {"set": entry.id, "domain": entry.domain}
        try:
            rows = weights.about(root, entry).get("directions", {}).items()
        except WeightsError as error:
            found.append({"id": entry.id, **head, "attribute": "", "rule": "", "rows": [], "error": str(error)})
            continue
        for name, one in rows:
            moved = one["about"].get("attribute", "")
            found.append(
                {"id": name, **head, "attribute": moved, "rule": one["rule"], "rows": one["rows"] or [], "error": ""}
            )
    return found


def _readers(kind: str, root: Path) -> list[dict[str, Any]]:
    """Judges of attributes, or landmark sources: the suite's, then those of the project and of other packages."""
    from bench.predictors import attributes, landmarks

    own = attributes.SOURCES if kind == "judges" else landmarks.SOURCES
    rows = [(name, "package", source, "") for name, source in own.items()]
    for name, entry in registry.KINDS[kind](root).entries().items():
        twice = f"defined twice: here and {entry.where}" if name in own else ""
        rows.append((name, entry.origin, None if entry.error else entry, entry.error or twice))
    return [_reader(name, origin, source, error) for name, origin, source, error in rows]


def _reader(name: str, origin: str, source: Any, error: str) -> dict[str, Any]:
    have = source.attributes if isinstance(source, registry.Entry) else vars(source) if source else {}
    return {
        "id": name,
        "domains": list(have.get("domains", ())),
        "weights": list(have.get("weights", ())),
        "origin": origin,
        "error": error,
    }


def _method(entry: registry.Entry, config: Config, states: Mapping[str, str]) -> dict[str, Any]:
    """One method; its weights by id with their state here, "unknown" for ids that no list has.

    Without weights it covers any domain, unless it could have some (its networks may be left untrained).
    """
    have = entry.attributes
    domains = have.get("weights", {})
    try:
        ids, error = [i for domain in domains for i in declared(domains, domain)], entry.error
    except WeightsError as wrong:
        ids, error = [], entry.error or str(wrong)
    return {
        "id": entry.name,
        "title": have.get("title", ""),
        "source": have.get("source", ""),
        "domains": sorted(domains) or ["none" if "untrained" in have.get("options", {}) else "any"],
        "weights": domains,
        "weight_status": {i: states.get(i, "unknown") for i in ids},
        "options": have.get("options", {}),
        "control": have.get("control", False),
        "cost": have.get("cost", "fast"),
        "published": entry.name in config.methods,
        "origin": entry.origin,
        "error": error,
    }


def _metric(entry: registry.Entry, config: Config) -> dict[str, Any]:
    have = entry.attributes
    return {
        "id": entry.name,
        "title": have.get("title", ""),
        "source": have.get("source", ""),
        "unit": have.get("unit", ""),
        "better": "higher" if have.get("higher_is_better") else "lower",
        "version": have.get("version", "v1"),
        "used": entry.name in config.settings.metrics,
        "origin": entry.origin,
        "error": entry.error,
    }


def _dataset(name: str, config: Config) -> dict[str, Any]:
    try:
        manifest = load_manifest(config.root, name, allow_empty=True)
    except BenchError as error:
        return {"id": name, "error": str(error)}
    return {
        "id": name,
        "title": manifest.title,
        "kind": manifest.kind,
        "domain": manifest.domain,
        "resolution": manifest.resolution,
        "count": manifest.count,
        "licence": manifest.licence,
        "prepared": PreparedPaths.of(config.root, name).done.is_file(),
        "used": name in config.settings.datasets,
        "error": "" if manifest.images else _unknown_pictures(manifest),
    }


def _unknown_pictures(manifest: Manifest) -> str:
    if manifest.numbers is not None:
        return f"needs your copy of its pictures: `bench prepare --dataset {manifest.id} --images DIR`"
    return f"has no hashes yet: run `bench prepare --dataset {manifest.id} --update`"


MANY = 20  # directions of one set

_SHOWN = {
    "methods": ("id", "title", "domains", "weight_status", "cost", "published", "source"),
    "metrics": ("id", "title", "unit", "better", "used", "source"),
    "datasets": ("id", "kind", "domain", "resolution", "count", "prepared", "used"),
    "weights": ("id", "kind", "domain", "status", "file", "size_bytes", "licence"),
    "directions": ("id", "set", "domain", "attribute", "rule", "rows"),
    "judges": ("id", "domains", "weights", "origin"),
    "landmarks": ("id", "domains", "weights", "origin"),
    "ablations": ("id", "method", "title", "options"),
    "profiles": ("id", "used"),
}


def _print(listing: dict[str, list[dict[str, Any]]]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = wide_console()
    for kind, entries in listing.items():
        console.print(Text(f"{kind} ({len(entries)})", style="bold"))
        table = Table(box=None, pad_edge=False)
        for column in _SHOWN[kind]:
            table.add_column(column, no_wrap=column == "id")
        for entry in _short(entries) if kind == "directions" else entries:
            table.add_row(*(Text(_cell(entry.get(column, ""))) for column in _SHOWN[kind]))
        console.print(table)
        for entry in entries:
            if entry.get("error"):
                console.print(Text(f"  ! {entry['id']}: {entry['error']}"))
        console.print()


def _short(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sets of many directions as one row, which names the first and the last."""
    sets: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        sets.setdefault(entry["set"], []).append(entry)
    return [
        row
        for rows in sets.values()
        for row in ([{**rows[0], "id": f"{rows[0]['id']} ... {rows[-1]['id']}"}] if len(rows) > MANY else rows)
    ]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "-"
    if isinstance(value, list):
        return ", ".join(str(v) for v in value)
    return ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
