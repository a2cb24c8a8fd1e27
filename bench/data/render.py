"""Preparing rendered datasets: what is missing is rendered, everything is verified against the manifest."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.api.renderer import RenderedImage
from bench.data.dataset import PreparedPaths
from bench.data.fingerprint import coarse, drifted
from bench.data.manifest import INLINE, ImageEntry, Manifest, load_manifest, save_manifest
from bench.engine import PROCESSES, Execution, Shard, Work, make_shards, map_shards, tick
from bench.errors import BenchError, DataError, name_some
from bench.files import (
    file_sha256,
    read_json,
    read_rgb,
    read_table,
    write_csv,
    write_error,
    write_json,
    write_png,
    write_table,
)
from bench.images import pixel_sha256
from bench.renderers.by_name import renderer_of

BATCH = 16  # pictures rendered together
RENDER_AGAIN = "run `bench prepare` again"


@dataclass(frozen=True)
class RenderJob:
    """What a worker needs: where to write, and the recipe of each picture. ``hashes``: id -> expected, or empty."""

    paths: PreparedPaths
    resolution: int
    renderer: str | None
    split: str
    seed: int
    index: dict[str, int]
    hashes: dict[str, str]
    reuse_truth: bool


def image_ids(manifest: Manifest) -> list[str]:
    """The ids of a rendered dataset: ``000017``, or ``03_0017`` (clip, frame) where the manifest says ``clip``."""
    assert manifest.render is not None
    clip = manifest.render.clip
    if clip:
        return [f"{n // clip:02d}_{n % clip:04d}" for n in range(manifest.count)]
    return [f"{n:06d}" for n in range(manifest.count)]


def prepare_rendered(
    root: Path,
    dataset_id: str,
    update: bool = False,
    execution: Execution = PROCESSES,
) -> dict[str, Any]:
    """Render what is missing, verify all, write truth and, last, prepared.json.

    Args:
        update: write ids and hashes of this machine's renders into the manifest instead of verifying against it.
    Returns:
        The content of prepared.json.
    Raises:
        DataError: pictures differ from the manifest; the message names the first ten, problems.csv all.
    """
    manifest = load_manifest(root, dataset_id, images=not update)
    paths = PreparedPaths.of(root, dataset_id)
    version = _check_version(manifest, update)
    ids = image_ids(manifest)
    if not update and manifest.ids != ids:
        raise DataError(
            f"manifest of {dataset_id!r} lists other ids than its renderer makes",
            got=name_some(manifest.ids, 3),
            expected=name_some(ids, 3),
            fix=f"run `bench prepare --dataset {dataset_id} --update`",
        )
    if update:
        _unlink(paths.done)
    _open_parts(paths, manifest)
    assert manifest.render is not None
    job = RenderJob(
        paths=paths,
        resolution=manifest.resolution,
        renderer=manifest.render.renderer,
        split=manifest.render.split,
        seed=manifest.render.seed,
        index={image_id: n for n, image_id in enumerate(ids)},
        hashes={} if update else {**manifest.pixel_hashes(), **_accepted(paths, manifest)},
        reuse_truth=not update and paths.truth.is_file(),
    )
    shards = make_shards(ids, shard_size(len(ids)))
    map_shards(Work(render_shard, {"job": job}), shards, execution.serial_if(len(shards) < 2))
    return _finish(root, manifest, paths, shards, update, version)


def shard_size(count: int) -> int:
    """Pictures per shard: enough to amortise a start, few enough that all cores have work."""
    return min(48, max(8, -(-count // 8)))


def render_shard(shard: Shard, job: RenderJob) -> None:
    """Bring one shard's pictures, labels and truth rows to the disk; what is there and intact is kept."""
    import pandas as pd

    known = _known_rows(shard, job)
    rows: dict[str, dict[str, Any]] = {}
    for image_id in shard.ids:
        row = known.get(image_id)
        if row is not None and _intact(job, image_id, row):
            rows[image_id] = row
    todo = [i for i in shard.ids if i not in rows]
    tick(len(rows))
    if todo and shard.index % 2:
        renderer_of(job.renderer).warm_up(job.resolution)  # while the worker of the shard before compiles the rest
    for start in range(0, len(todo), BATCH):
        chunk = todo[start : start + BATCH]
        for image_id, picture in zip(chunk, _render(job, chunk), strict=True):
            rows[image_id] = _store(job, image_id, picture)
        tick(len(chunk))
    table = pd.DataFrame([rows[i] for i in shard.ids])
    table = table.astype({name: np.float32 for name in table if name.startswith("lm_")})
    write_table(_part(job.paths, shard), table)


def _render(job: RenderJob, ids: Sequence[str]) -> list[RenderedImage]:
    renderer = renderer_of(job.renderer)
    scenes = [renderer.sample(job.split, job.index[i], job.seed) for i in ids]
    return renderer.render(scenes, job.resolution)


def _store(job: RenderJob, image_id: str, picture: Any) -> dict[str, Any]:
    """Write picture and labels; the truth row."""
    write_png(job.paths.image(image_id), picture.image)
    write_png(job.paths.label(image_id), picture.labels)
    row: dict[str, Any] = {"image_id": image_id, **picture.factors}
    for n, (x, y) in enumerate(np.asarray(picture.landmarks, np.float32)):
        row[f"lm_{n:02d}_x"], row[f"lm_{n:02d}_y"] = x, y
    row["sha256"] = pixel_sha256(picture.image)
    row["coarse"] = coarse(picture.image)
    row["label_sha256"] = file_sha256(job.paths.label(image_id))
    return row


def _known_rows(shard: Shard, job: RenderJob) -> dict[str, dict[str, Any]]:
    """Truth rows of this shard that an earlier preparation left."""
    part = _part(job.paths, shard)
    try:
        if part.is_file():
            table = read_table(part, what="truth", fix=RENDER_AGAIN)
        elif job.reuse_truth:
            table = read_table(job.paths.truth, what="truth", fix=RENDER_AGAIN, image_ids=shard.ids)
        else:
            return {}
    except DataError:  # damaged: render again
        return {}
    return {row["image_id"]: row for row in table.to_dict("records")}


def _intact(job: RenderJob, image_id: str, row: dict[str, Any]) -> bool:
    """Picture and labels are on the disk as they were rendered, and as the manifest wants them."""
    if row["sha256"] != job.hashes.get(image_id, row["sha256"]):
        return False  # from another state of renderer or manifest
    try:
        same = pixel_sha256(read_rgb(job.paths.image(image_id), job.resolution)) == row["sha256"]
        return same and file_sha256(job.paths.label(image_id)) == row["label_sha256"]
    except (DataError, OSError):
        return False


def _finish(
    root: Path, manifest: Manifest, paths: PreparedPaths, shards: Sequence[Shard], update: bool, version: str
) -> dict[str, Any]:
    import pandas as pd

    truth = pd.concat([read_table(_part(paths, s), what="truth", fix=RENDER_AGAIN) for s in shards], ignore_index=True)
    rendered = dict(zip(truth["image_id"], truth["sha256"], strict=True))
    colours = dict(zip(truth["image_id"], truth["coarse"], strict=True))
    if update:
        keep_coarse = len(rendered) <= INLINE
        entries = [ImageEntry(id=i, sha256=h, coarse=colours[i] if keep_coarse else None) for i, h in rendered.items()]
        assert manifest.render is not None
        render = manifest.render.model_copy(update={"renderer_version": version})
        manifest = manifest.model_copy(update={"images": entries, "render": render, "images_file": None})
        save_manifest(root, manifest)
    differ = [e for e in manifest.images if rendered[e.id] != e.sha256]
    drift = {e.id: rendered[e.id] for e in differ if drifted(e.coarse, colours[e.id])}
    wrong = [e for e in differ if e.id not in drift]
    _write_problems(paths, [(e.id, e.sha256, rendered[e.id]) for e in differ])
    if wrong:
        _unlink(paths.done)
        raise DataError(
            f"{len(wrong)} of {manifest.count} pictures of {manifest.id!r} differ from the manifest",
            got=name_some(e.id for e in wrong),
            expected="the pixels whose SHA-256 the manifest lists",
            fix=f"all are named in {paths.problems}; install the versions of constraints.txt, or accept this renderer "
            f"with `bench prepare --dataset {manifest.id} --update`",
        )
    _drop_strays(paths, set(rendered))
    write_table(paths.truth, truth)
    done = {
        "id": manifest.id,
        "count": manifest.count,
        "manifest_sha256": manifest.sha256,
        "renderer_version": version,
        "drifted": drift,
    }
    write_json(paths.done, done)
    shutil.rmtree(paths.parts, ignore_errors=True)
    return done


def _accepted(paths: PreparedPaths, manifest: Manifest) -> dict[str, str]:
    """Hashes of pictures that an earlier preparation from this manifest accepted as drifted."""
    done = read_json(paths.done) if paths.done.is_file() else {}
    return done.get("drifted", {}) if done.get("manifest_sha256") == manifest.sha256 else {}


def _drop_strays(paths: PreparedPaths, ids: set[str]) -> None:
    """Remove pictures that the dataset no longer has."""
    for folder in (paths.images, paths.labels):
        for path in folder.glob("*.png"):
            if path.stem not in ids:
                _unlink(path)


def _write_problems(paths: PreparedPaths, rows: Sequence[tuple[str, str, str]]) -> None:
    if not rows:
        _unlink(paths.problems)
        return
    write_csv(paths.problems, ("id", "expected_sha256", "got_sha256"), rows)


def _part(paths: PreparedPaths, shard: Shard) -> Path:
    return paths.parts / f"{shard.index:05d}.parquet"


def _open_parts(paths: PreparedPaths, manifest: Manifest) -> None:
    """Make the folders; drop parts that another renderer or recipe left."""
    assert manifest.render is not None
    plan = {
        "code_sha256": renderer_of(manifest.render.renderer).code_sha256(),
        "count": manifest.count,
        "resolution": manifest.resolution,
        "split": manifest.render.split,
        "seed": manifest.render.seed,
    }
    recorded = paths.parts / "plan.json"
    try:
        for folder in (paths.images, paths.labels):
            folder.mkdir(parents=True, exist_ok=True)
        if paths.parts.exists() and (not recorded.is_file() or read_json(recorded) != plan):
            shutil.rmtree(paths.parts)
        paths.parts.mkdir(exist_ok=True)
    except OSError as error:
        raise write_error(paths.folder, error) from None
    write_json(recorded, plan)


def _check_version(manifest: Manifest, update: bool) -> str:
    """The installed renderer's version; refuse to verify renders of another one."""
    if manifest.render is None:
        raise BenchError(f"dataset {manifest.id!r} is not rendered", got=f"kind {manifest.kind!r}")
    installed = renderer_of(manifest.render.renderer).version
    if not update and str(manifest.render.renderer_version) != installed:
        raise DataError(
            f"dataset {manifest.id!r} was made by another renderer",
            got=f"version {manifest.render.renderer_version}",
            expected=f"version {installed}, the installed one",
            fix=f"`bench prepare --dataset {manifest.id} --update` renders it anew and rewrites the manifest",
        )
    return installed


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from None
