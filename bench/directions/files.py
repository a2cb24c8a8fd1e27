"""A set of learned directions as one safetensors file, entered in weights/manifest.yaml under kind ``directions``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.directions.direction import Direction
from bench.errors import BenchError, UnknownName, WeightsError
from bench.weights import manifest as weights

KIND = "directions"


def write_set(path: Path, directions: Sequence[Direction], about: Mapping[str, Any]) -> str:
    """Write directions in float32 with all that their rules need; returns the file's SHA-256."""
    tensors, described = {}, {}
    for one in directions:
        tensors[f"{one.name}.vector"] = one.vector
        if one.mean is not None:
            tensors["mean"] = one.mean
        described[one.name] = {"rule": one.rule, "rows": one.rows, "std": one.std, "about": dict(one.about)}
    return weights.save(path, tensors, {**about, "directions": described}, half=False)


def read_set(root: Path, weights_id: str) -> dict[str, Direction]:
    """name -> direction, verified against the manifest.

    Raises:
        WeightsError: missing, changed, or no set of directions.
    """
    tensors, meta = weights.load_with_meta(root, weights_id)
    if "directions" not in meta:
        raise WeightsError(f"weights {weights_id!r} hold no directions", fix="make them with `bench directions`")
    return {
        name: Direction(
            name,
            tensors[f"{name}.vector"],
            one["rule"],
            tuple(one["rows"]) if one["rows"] else None,
            tensors.get("mean") if one["rule"] == "set" else None,
            one["std"],
            {**one["about"], "weights": weights_id},
        )
        for name, one in meta["directions"].items()
    }


def known(root: Path, domain: str) -> dict[str, Direction]:
    """All committed directions of a domain; one of a name that several sets have is called by ``set/name`` too."""
    directions_by_name: dict[str, Direction] = {}
    for entry in weights.read_manifest(root).weights:
        if entry.kind == KIND and entry.domain == domain:
            for name, one in read_set(root, entry.id).items():
                directions_by_name.setdefault(name, one)
                directions_by_name[f"{entry.id}/{name}"] = one
    return directions_by_name


def published(root: Path, requested: str) -> tuple[Path, str] | None:
    """File and choice of ``smile.pt``, ``ffhq_pca.pt:54:7:8``; None for another name.

    A file is looked for where one is, then in weights/directions/ of the project.
    """
    stem, marker_file, pick = requested.partition(".pt")
    if not marker_file or (pick and not pick.startswith(":")):
        return None
    path = Path(stem + marker_file)
    stored = Path(root) / "weights" / "directions" / path
    return (stored if stored.is_file() and not path.is_file() else path), pick.removeprefix(":")


def find(root: Path, domain: str, requested: str) -> Direction:
    """The direction a user names: one of the domain's, or a published file ``smile.pt``, ``ffhq_pca.pt:54:7:8``.

    Raises:
        UnknownName: no such direction, with the nearest names. DataError: a file that cannot be used.
    """
    if chosen := published(root, requested):
        from bench.directions.published import read_pt

        return read_pt(*chosen)
    of_set, _, name = requested.rpartition("/")
    for entry in weights.read_manifest(root).weights:  # most are in the first set: no need to read the others
        if entry.kind == KIND and entry.domain == domain and of_set in ("", entry.id):
            if name in (stored := read_set(root, entry.id)):
                return stored[name]
    here = known(root, domain)
    if not here:
        raise BenchError(
            f"domain {domain!r} has no directions",
            got=requested,
            fix=f"make some with `bench directions --method sefa --domain {domain}`, or name a .pt file",
        )
    raise UnknownName.of("direction", requested, [name for name in here if "/" not in name])
