"""Pairs of source and reconstruction -> tidy rows, one per image and metric. No mean is taken here.

Pictures are read back from the store, so what is scored is what anyone can look at. Rows cover exactly the images that
have a reconstruction; those that failed are named in run.json and counted by bench/tables.py.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import api, registry
from bench.config import Config
from bench.device import engine_for, resolve_device
from bench.engine import Shard, Work, make_shards, map_shards, tick
from bench.errors import BenchError, DataError
from bench.images import atomic_write, read_rgb, resize
from bench.loading import PreparedDataset
from bench.manifest import name_some
from bench.runid import config_hash
from bench.store import Run, RunStore

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

COLUMNS = ["run_id", "dataset", "method", "variant", "image_id", "task", "metric", "signature", "value"]
TASK = "inversion"
STATES = "run_states"  # metadata of a score file: run_id -> hash of the run.json its rows were computed from
BATCH, SHARD = 16, 64


@dataclass(frozen=True, eq=False)
class ScoreJob:
    """What a worker needs to score shards of one run. ``mend``: the command that makes its pictures anew."""

    root: Path
    dataset: str
    images: Path
    resolution: int
    metrics: tuple[str, ...]
    device: str
    mend: str


@dataclass(frozen=True)
class ScoreResult:
    """Where rows went.

    Args:
        rows: written for this run now. missing: metric id -> the command that brings what it lacks, for those left out.
        stale: metrics whose earlier rows were dropped, because they were computed from another state of the run.
    """

    path: Path
    rows: int
    missing: Mapping[str, str]
    stale: Sequence[str] = ()


def score_run(
    config: Config,
    store: RunStore,
    scope: str,
    method: str,
    variant: str,
    dataset: str,
    metrics: Sequence[str] | None = None,
    device: str = "auto",
    engine: str = "serial",
    workers: int | None = None,
    engine_asked: bool = False,
    on_tick: Callable[[float], None] | None = None,
) -> ScoreResult:
    """Score one run with every metric and put its rows into the method's score file of the scope.

    Rows of the run's other metrics stay, unless they belong to another state of it (its run.json has changed).

    Args:
        metrics: metric ids; None takes the profile's.
    Raises:
        UnknownName: a metric. DataError: the run is not complete, or belongs to another state of the dataset.
    """
    run = store.run(scope, method, dataset, variant)
    record = run.read()
    prepared = PreparedDataset.open(config.root, dataset)
    _check_run(record, prepared, str(run.name))
    run.check_complete(record["ids"], record["failures"])
    known = registry.metrics(config.root)
    classes = {name: known.load(name) for name in (metrics or config.settings.metrics)}
    missing = {name: why for name, cls in classes.items() if (why := cls.missing())}
    usable = {name: cls for name, cls in classes.items() if name not in missing}
    ids = [i for i in record["ids"] if i not in record["failures"]]
    table = _pair_rows(config, prepared, run, usable, ids, device, engine, workers, engine_asked, on_tick)
    for name, cls in usable.items():
        if issubclass(cls, api.RunMetric):
            table.append(_rows(ids, name, cls.signature(name), [cls().from_run(record)] * len(ids)))
    path = store.scores_path(scope, run.name.label)
    head = {"run_id": str(run.name), "dataset": dataset, "method": method, "variant": variant}
    rows = [row for part in table for row in part]
    stale = _write(path, head, rows, usable, config_hash(record))
    return ScoreResult(path, len(rows), missing, stale)


def _check_run(record: Mapping[str, Any], prepared: PreparedDataset, run_id: str) -> None:
    """The run was made from the dataset as it is now."""
    made_from = record["config"]["manifest_sha256"]
    if made_from != prepared.manifest.sha256:
        raise DataError(
            f"run {run_id} was made from another state of dataset {prepared.id!r}",
            got=made_from[:12],
            expected=prepared.manifest.sha256[:12],
            fix="run the method again with --overwrite",
        )
    if unknown := set(record["ids"]) - set(prepared.manifest.ids):
        raise DataError(f"run {run_id} has images that dataset {prepared.id!r} has not", got=name_some(sorted(unknown)))


def _pair_rows(
    config: Config,
    prepared: PreparedDataset,
    run: Run,
    usable: Mapping[str, Any],
    ids: Sequence[str],
    device: str,
    engine: str,
    workers: int | None,
    engine_asked: bool,
    on_tick: Callable[[float], None] | None,
) -> list[list[dict[str, Any]]]:
    """Rows of all pair metrics, computed in shards."""
    pairwise = tuple(name for name, cls in usable.items() if issubclass(cls, api.PairMetric))
    if not pairwise or not ids:
        return []
    where = resolve_device(device)
    side = prepared.manifest.resolution
    job = ScoreJob(config.root, prepared.id, run.images, side, pairwise, where.type, run.command)
    shards = make_shards(ids, SHARD)
    engine = engine_for(where, engine if len(shards) > 1 else "serial", engine_asked)
    try:
        parts = map_shards(Work(score_shard, {"job": job}), shards, engine, workers, on_tick=on_tick)
    finally:
        _loaded.cache_clear()
    values = {name: [v for part in parts for v in part[name]] for name in pairwise}
    return [_rows(ids, name, usable[name].signature(name), values[name]) for name in pairwise]


@lru_cache(maxsize=1)
def _loaded(job: ScoreJob) -> tuple[dict[str, api.PairMetric], PreparedDataset]:
    known = registry.metrics(job.root)
    device = resolve_device(job.device)
    return {name: known.load(name)(device) for name in job.metrics}, PreparedDataset.open(job.root, job.dataset)


def score_shard(shard: Shard, job: ScoreJob) -> dict[str, list[float]]:
    """metric id -> one value per image of the shard, in order."""
    metrics, dataset = _loaded(job)
    values: dict[str, list[float]] = {name: [] for name in metrics}
    for start in range(0, len(shard.ids), BATCH):
        ids = shard.ids[start : start + BATCH]
        x = dataset.stack(ids)
        x_hat = np.stack([_reconstruction(job, i) for i in ids])
        for name, metric in metrics.items():
            values[name] += score_batch(metric, name, x, x_hat)
        tick(len(ids))
    return values


def _reconstruction(job: ScoreJob, image_id: str) -> np.ndarray:
    """(R, R, 3) uint8 of the run; a damaged one is the method's to make again, no dataset's to prepare."""
    try:
        return read_rgb(job.images / f"{image_id}.png", job.resolution)
    except DataError as error:
        fix = f"compute the run anew: `{job.mend} --fresh`"
        raise DataError(error.what, got=error.got, expected=error.expected, fix=fix) from None


def score_batch(metric: api.PairMetric, name: str, x: np.ndarray, x_hat: np.ndarray) -> list[float]:
    """Values of one metric for a batch.

    Args:
        x, x_hat: (B, H, W, 3) uint8.
    Raises:
        BenchError: the metric did not return one number per pair.
    """
    import torch

    with torch.no_grad():
        result = metric(*(to_metric(metric, array) for array in (x, x_hat)))
    if tuple(result.shape) != (len(x),):
        raise BenchError(f"metric {name!r} returned the wrong shape", got=tuple(result.shape), expected=(len(x),))
    return [float(v) for v in result.detach().cpu().double()]


def to_metric(metric: api.PairMetric, array: np.ndarray) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, h, w) float64 in the metric's range and at its size (clamped after resizing)."""
    import torch

    low, high = metric.value_range
    x = torch.from_numpy(np.ascontiguousarray(array)).movedim(-1, 1).to(torch.float64)
    x = x * ((high - low) / 255.0) + low
    if metric.size is not None:
        x = resize(x, metric.size, metric.resize).clamp(low, high)
    return x


def _rows(ids: Sequence[str], metric: str, signature: str, values: Sequence[float]) -> list[dict[str, Any]]:
    return [
        {"image_id": i, "task": TASK, "metric": metric, "signature": signature, "value": v}
        for i, v in zip(ids, values, strict=True)
    ]


def _write(
    path: Path, head: Mapping[str, str], rows: Sequence[Mapping[str, Any]], rescored: Collection[str], state: str
) -> list[str]:
    """Replace this run's rows of the metrics ``rescored``; keep those of other datasets, and of its other metrics if
    they were computed from the same ``state`` of the run. Returns the metrics whose rows were dropped as stale.

    The state each run was scored in stands in the file's metadata, so that tidy rows gain no column.
    """
    import pandas as pd

    table = pd.DataFrame([{**head, **row} for row in rows], columns=COLUMNS).astype({"value": "float64"})
    states: dict[str, str] = {}
    stale: list[str] = []
    if path.is_file():
        old = _read_scores(path)
        states = dict(old.attrs.get(STATES, {}))
        others = (old["dataset"] == head["dataset"]) & ~old["metric"].isin(list(rescored))
        same_state = states.get(head["run_id"]) == state
        stale = [] if same_state else sorted(set(old.loc[others, "metric"]))
        kept = old[(old["dataset"] != head["dataset"]) | (others & same_state)]
        table = pd.concat([kept, table], ignore_index=True) if len(kept) else table
    table = table.sort_values(["dataset", "metric", "image_id"], kind="stable").reset_index(drop=True)
    states[head["run_id"]] = state
    table.attrs = {STATES: dict(sorted(states.items()))}
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    atomic_write(path, buffer.getvalue())
    return stale


def _read_scores(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(path)[COLUMNS]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"score file {path} cannot be read",
            got=" ".join(str(error).split())[:200],
            fix="delete it and run `bench score` again",
        ) from None
