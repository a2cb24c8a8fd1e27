"""A set of results that can be compared with another: scores, and all that says what they are scores of.

A baseline is a small project: settings, manifests, run records and score rows, without pictures. It is read from a
folder, or taken out of a git revision, where DVC finds what git does not hold.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.analysis.protocol import Frame, find_protocol
from bench.analysis.score_table import Scores, scope_scores
from bench.config.project import load_config
from bench.data.manifest import load_manifest
from bench.errors import BenchError
from bench.files import atomic_write
from bench.names import parse_run_id
from bench.store.paths import RunStore, read_json

SETTINGS = re.compile(r"(params|ablations|(profiles|protocols)/[^/]+)\.yaml|datasets/[^/]+\.(yaml|csv)")


@dataclass(frozen=True)
class ResultSet:
    """Scores of one scope.

    Args:
        name: for messages. frames: run_id -> what its numbers were measured in.
        ratios: (machine, run_id) -> seconds of a picture over those of the profile's reference method there.
    """

    name: str
    scope: str
    scores: Scores
    frames: dict[str, Frame]
    ratios: dict[tuple[str, str], float] = field(default_factory=dict)


def read_results(root: Path, scope: str | None = None, profile: str | None = None, name: str = "") -> ResultSet:
    """The results of a project folder.

    Args:
        scope: None for the profile's. name: how messages call them; None for the folder.
    Raises:
        DataError: no scores, or scores that are not those of their runs.
    """
    config = load_config(root, profile)
    where = scope or config.profile
    store = RunStore(config.root, config.main_profile)
    scores = scope_scores(store, where, config)
    preset = find_protocol(config.root, config.protocol)
    known = {dataset: load_manifest(config.root, str(dataset)) for dataset in scores.rows["dataset"].unique()}
    frames = {}
    for run_id, part in scores.rows.groupby("run_id"):
        first = part.iloc[0]
        record = store.run(where, first["method"], first["dataset"], first["variant"]).read()
        made_from = record["config"]["manifest_sha256"]
        protocol = preset.id if preset else config.protocol
        frames[str(run_id)] = Frame(protocol, known[first["dataset"]].domain, first["dataset"], made_from)
    return ResultSet(name or str(root), where, scores, frames, time_ratios(store, where, config.time.reference))


def time_ratios(store: RunStore, scope: str, reference: str) -> dict[tuple[str, str], float]:
    """(machine, run_id) -> seconds at batch 1 over the reference's, where both were timed by one fingerprint."""
    ratios = {}
    records = {(p.parent.name, p.stem): read_json(p) for p in store.timing_dir(scope).glob("*/*/*.json")}
    for (machine, run_id), record in records.items():
        base = records.get((machine, f"{reference}-{parse_run_id(run_id).dataset}"))
        if base and record is not base and base.get("fingerprint") == record.get("fingerprint"):
            mine, other = (r["batches"][0]["total_s"] for r in (record, base))
            ratios[machine, run_id] = mine / other
    return ratios


def find_results(reference: str, root: Path, scope: str, profile: str | None = None) -> ResultSet:
    """What ``--baseline`` names: a folder, a path in a project's results, or a git revision of ``root``.

    Raises:
        BenchError: it is none of these; DVC or its cache lacks what the revision needs.
    """
    path = Path(reference)
    if path.exists():
        folder = _project_above(path)
        parts = path.resolve().relative_to(folder).parts
        inside = parts[2] if parts[:2] in (("results", "scores"), ("results", "runs")) and len(parts) > 2 else scope
        return read_results(folder, inside, profile, reference)
    revision = _revision(root, reference)
    if revision is None:
        raise BenchError(
            f"baseline {reference!r} is neither a path nor a git revision",
            expected="a folder written by `bench gate --save`, a project, a path in its results, or a revision",
            fix="correct --baseline",
        )
    with tempfile.TemporaryDirectory(prefix="bench-gate-") as folder_name:
        export_revision(root, revision, scope, Path(folder_name))
        return read_results(Path(folder_name), scope, profile, f"{reference} ({revision[:12]})")


def _project_above(path: Path) -> Path:
    path = path.resolve()
    for folder in (path, *path.parents):
        if (folder / "params.yaml").is_file() and (folder / "profiles").is_dir():
            return folder
    raise BenchError(
        f"baseline {path} belongs to no project",
        expected="params.yaml and profiles/ in it or above it",
        fix="write a baseline with `bench gate --save FOLDER`",
    )


def export_project(root: Path, scope: str, folder: Path) -> list[Path]:
    """Write what a baseline needs from a project's own files to ``folder``."""
    patterns = ["*.yaml", "profiles/*", "protocols/*", "datasets/*", f"results/scores/{scope}/*"]
    patterns += [f"results/runs/{scope}/*/*/run.json", f"results/sets/{scope}/*/*/values.json"]
    patterns += [f"results/timing/{scope}/*/*/*.json"]
    files = [p.relative_to(root).as_posix() for pattern in patterns for p in root.glob(pattern) if p.is_file()]
    return _export(files, scope, lambda name: (root / name).read_bytes(), folder)


def export_revision(root: Path, revision: str, scope: str, folder: Path) -> list[Path]:
    """The same from a git revision: git's files, and DVC's from its cache or remote."""
    try:
        from dvc.api import DVCFileSystem
    except ImportError:
        raise BenchError(
            "a git revision as baseline needs DVC", fix="pip install 'hfgi-bench[pipeline]', or pass a folder"
        ) from None
    try:
        tree = DVCFileSystem(url=str(root), rev=revision)
        folders = [f for f in ("profiles", "protocols", "datasets", f"results/scores/{scope}") if tree.isdir(f)]
        inner = [f"results/{kind}/{scope}" for kind in ("runs", "sets", "timing")]
        folders += [f for f in inner if tree.isdir(f)]
        files = [p.strip("/") for p in tree.ls("", detail=False) if not tree.isdir(p)]
        files += [p.strip("/") for f in folders for p in tree.find(f)]
        return _export(files, scope, lambda name: tree.read_bytes(name), folder)
    except BenchError:
        raise
    except Exception as error:  # DVC has many: no repository, file not in cache, remote out of reach
        raise BenchError(
            f"results of revision {revision[:12]} cannot be read",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            fix="fetch them (`dvc fetch --all-commits`), or pass a folder written by `bench gate --save`",
        ) from None


def _export(files: Iterable[str], scope: str, read: Callable[[str], bytes], folder: Path) -> list[Path]:
    results = re.compile(
        rf"results/(scores/{scope}/[^/]+\.parquet|(runs|sets)/{scope}/[^/]+/[^/]+/(run|values)\.json"
        rf"|timing/{scope}/[^/]+/[^/]+/[^/]+\.json)"
    )
    chosen = sorted(f for f in files if SETTINGS.fullmatch(f) or results.fullmatch(f))
    for name in chosen:
        atomic_write(folder / name, read(name))
    return [folder / name for name in chosen]


def _revision(root: Path, reference: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}"],
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
