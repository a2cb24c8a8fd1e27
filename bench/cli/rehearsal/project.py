"""The folder a rehearsal happens in: a project of its own, so that nothing of it can be taken for a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench.config.project import Config
from bench.contract.toy import toy_images
from bench.data.import_folder import FolderRequest
from bench.errors import BenchError
from bench.files import atomic_write, write_png
from bench.weights.listing import FILE, FOLDER, Published, PublishedList

MARKER = "rehearsal.json"
STEPS = "steps.json"  # what the last call did, with seconds and memory
TIME_BUDGET = 5.0  # seconds a method; a warm-up call and one sample are always taken
PROFILE = DATASET = "rehearsal"
TITLE = "REHEARSAL (weights filled by rule; numbers mean nothing)"


def create(
    source: Config, into: Path, known: PublishedList, options: dict[str, dict[str, Any]], metrics: list[str]
) -> Path:
    """Lay out the project, or go on in one laid out earlier from the same settings.

    Args:
        source: settings of the real project and the profile to rehearse.
        known: published weights; those that are filled by rule without the hashes of the real files.
        options: ids of the methods to run -> overrides. metrics: ids to score with.
    Raises:
        BenchError: the folder holds something else, or a rehearsal of other settings.
    """
    into = into.resolve()
    settings = {
        **source.settings.model_dump(mode="json"),
        "protocol": f"rehearsal-{source.settings.protocol}",
        "datasets": [DATASET],
        "methods": [],
        "metrics": metrics,
        "engine": "serial",
        "batch_size": 1,
        "device": "cpu",
        "limits": {},
        "options": options,
        "ablations": {},
        "edits": None,
        "video": None,
        "time": {"images": 2, "budget_s": min(TIME_BUDGET, source.settings.time.budget_s)},
    }
    texts = {
        "params.yaml": _yaml({"profile": PROFILE, "seed": source.seed, "methods": list(options)}),
        f"profiles/{PROFILE}.yaml": _yaml(settings),
        f"{FOLDER}/{FILE}": _yaml(known.model_dump(mode="json", exclude_defaults=True)),
    }
    marker = json.dumps({"rehearsal_of": source.profile, "note": TITLE, "files": sorted(texts)}, indent=1) + "\n"
    _refuse_foreign(into, marker, texts)
    for name, text in texts.items():
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        atomic_write(into / name, text)
    _copy_plugins(source.root, into)
    atomic_write(into / MARKER, marker)
    return into


def _yaml(data: Any) -> str:
    return f"# {TITLE}\n" + yaml.safe_dump(data, sort_keys=False, width=110)


def _refuse_foreign(into: Path, marker: str, texts: dict[str, str]) -> None:
    if not into.exists() or not any(into.iterdir()):
        into.mkdir(parents=True, exist_ok=True)
        return
    fix = "choose another folder with --into, or remove this one"
    if not (into / MARKER).is_file():
        raise BenchError(f"{into} holds something else than a rehearsal", expected="a new or empty folder", fix=fix)
    old = {name: (into / name).read_text(encoding="utf-8") if (into / name).is_file() else "" for name in texts}
    if old != texts or (into / MARKER).read_text(encoding="utf-8") != marker:
        raise BenchError(f"{into} holds a rehearsal of other settings", fix=fix)


def _copy_plugins(root: Path, into: Path) -> None:
    """The project's own methods, metrics, ..., where they do not come with the package."""
    from bench import registry

    for kind, known in registry.KINDS.items():
        for entry in known(root).entries().values():
            if entry.origin == "project" and entry.path:
                (into / kind).mkdir(exist_ok=True)
                atomic_write(into / kind / entry.path.name, entry.path.read_text(encoding="utf-8"))


def without_hashes(known: PublishedList, filled: list[str]) -> PublishedList:
    """The list with what is known of the real files' bytes removed for ids that are filled by rule."""

    def bare(entry: Published) -> Published:
        files = [f.model_copy(update={"sha256": "", "size_bytes": None}) for f in entry.files]
        return entry.model_copy(update={"files": files})

    entries = [bare(e) if e.id in filled else e for e in known.published]
    return known.model_copy(update={"published": entries})


def prepare_pictures(config: Config, domain: str, resolution: int, count: int) -> None:
    """``count`` pictures of soft gradients and discs as the dataset of the rehearsal."""
    from bench.data import prepare
    from bench.data.manifest import load_manifest, manifest_path, save_manifest
    from bench.engine import SERIAL

    folder = config.root / "pictures"
    if not manifest_path(config.root, DATASET).is_file():
        folder.mkdir(exist_ok=True)
        for n, picture in enumerate(toy_images(resolution, count)):
            write_png(folder / f"{n:06d}.png", np.ascontiguousarray(picture))
        asked = FolderRequest(folder, domain, resolution, licence="none: drawn by rule")
        prepare.prepare(config, DATASET, asked, execution=SERIAL)
        made = load_manifest(config.root, DATASET)
        save_manifest(config.root, made.model_copy(update={"title": TITLE}))
    prepare.prepare(config, DATASET, execution=SERIAL)
