"""Pairs of source and reconstruction -> tidy rows, one per image and metric, and values of set metrics. No means here.

Pictures are read back from the store, so what is scored is what anyone can look at. Rows cover exactly the images that
have a reconstruction; those that failed are named in run.json and counted by bench/analysis/summary.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import api, registry
from bench.config.project import Config
from bench.config.sections import StepSettings
from bench.data.dataset import PreparedDataset
from bench.device import resolve_device
from bench.engine import SERIAL, Execution, Work, make_shards, map_on_device
from bench.errors import BenchError, DataError, name_some
from bench.files import read_table, write_table
from bench.names import config_hash
from bench.scoring.build import lacking, signature
from bench.scoring.pair_metrics import ScoreJob, ShardScores, loaded, score_shard
from bench.scoring.set_metrics import SetScores, SetValue, evaluate, update_sets
from bench.store.paths import Run, RunStore
from bench.store.steps import steps_path, write_steps

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["run_id", "dataset", "method", "variant", "image_id", "task", "metric", "signature", "value"]
TASK = "inversion"
STATES = "run_states"  # metadata of a score file: run_id -> hash of the run.json its rows were computed from
SHARD = 24  # images


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
    execution: Execution = SERIAL,
) -> ScoreResult:
    """Score one run with every metric and put its rows into the method's score file of the scope.

    Where it keeps the steps of its method, its first images are scored after each of them as the profile says.
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
    classes = {name: known.load(name) for name in (metrics or config.metrics_for(variant))}
    missing = {name: why for name, cls in classes.items() if (why := lacking(config.root, cls))}
    usable = {name: cls for name, cls in classes.items() if name not in missing}
    signatures = {name: signature(config.root, name, cls) for name, cls in usable.items()}
    ids = [i for i in record["ids"] if i not in record["failures"]]
    found = _compute(config, prepared, run, usable, ids, device, execution)
    of_run = {n: [cls().from_run(record)] * len(ids) for n, cls in usable.items() if issubclass(cls, api.RunMetric)}
    rows = [
        row for name, values in {**found.values, **of_run}.items() for row in _rows(ids, name, signatures[name], values)
    ]
    path = store.scores_path(scope, run.name.label)
    head = {"run_id": str(run.name), "dataset": dataset, "method": method, "variant": variant}
    stale = _write(path, head, rows, usable, config_hash(record))
    values = _set_values(usable, signatures, ids, found, config.seed)
    scores = SetScores(**head, state=config_hash(record), ids=ids, values=values)
    stale += update_sets(store.sets_dir(scope, run.name.label, dataset), scores, usable, found.features, found.sources)
    of_steps = steps_path(store, scope, run.name.label, dataset)
    of_steps.unlink(missing_ok=True)
    if config.settings.steps and (kept := run.read_steps()):
        table, lacks = _steps(config, config.settings.steps, prepared, record, kept, device, execution.quiet())
        missing |= lacks
        if len(table):
            write_steps(of_steps, table.assign(**head), config_hash(record))
    return ScoreResult(path, len(rows), missing, sorted(set(stale)))


def _steps(
    config: Config,
    asked: StepSettings,
    prepared: PreparedDataset,
    record: Mapping[str, Any],
    kept: tuple[list[str], np.ndarray],
    device: str,
    execution: Execution,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Rows of the first images after each step of the run, and the metrics that lack something here."""
    from bench.scoring.refinement_steps import (  # loads a generator, which other runs can do without
        StepJob,
        score_steps,
    )

    classes = {name: registry.metrics(config.root).load(name) for name in asked.metrics}
    missing = {name: why for name, cls in classes.items() if (why := lacking(config.root, cls))}
    usable = tuple(name for name in classes if name not in missing)
    ids, codes = (of_all[: asked.limit] for of_all in kept)
    first, precision = dict(zip(ids, codes, strict=True)), record["config"]["precision"]
    where = resolve_device(device).type
    job = StepJob(config.root, prepared.id, prepared.manifest.domain, first, usable, where, precision)
    table = score_steps(job, execution)
    signatures = {name: signature(config.root, name, classes[name]) for name in usable}
    return table.assign(signature=table["metric"].map(signatures)), missing


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


def _set_values(
    usable: Mapping[str, Any], signatures: Mapping[str, str], ids: Sequence[str], found: ShardScores, seed: int
) -> list[SetValue]:
    """The values of all set metrics on the run's images; none where no image has a reconstruction."""
    values: list[SetValue] = []
    for name, cls in usable.items():
        if issubclass(cls, api.SetMetric) and ids:
            features = found.sources[cls.extractor], found.features[cls.extractor]
            values += evaluate(cls, name, signatures[name], ids, *features, seed)
    return values


def _extractors(usable: Mapping[str, Any]) -> dict[str, str]:
    """Extractor -> a metric that has it.

    Raises:
        BenchError: two metrics share an extractor but want its pictures at other sizes.
    """
    chosen: dict[str, str] = {}
    for name, cls in usable.items():
        if issubclass(cls, api.SetMetric):
            first = usable[chosen.setdefault(cls.extractor, name)]
            if (cls.size, cls.resize) != (first.size, first.resize):
                raise BenchError(
                    f"metrics {chosen[cls.extractor]!r} and {name!r} share the extractor {cls.extractor!r}",
                    got=f"sizes {first.size} ({first.resize}) and {cls.size} ({cls.resize})",
                    expected="one size and rule",
                    fix="give one of them an extractor of another name",
                )
    return chosen


def _compute(
    config: Config,
    prepared: PreparedDataset,
    run: Run,
    usable: Mapping[str, Any],
    ids: Sequence[str],
    device: str,
    execution: Execution,
) -> ShardScores:
    """Values of all pair metrics and features of all set metrics, in shards, joined in the order of ``ids``."""
    pairwise = tuple(name for name, cls in usable.items() if issubclass(cls, api.PairMetric))
    extractors = _extractors(usable)
    if not (pairwise or extractors) or not ids:
        return ShardScores({name: [] for name in pairwise}, {}, {})
    where = resolve_device(device)
    side = prepared.manifest.resolution
    job = ScoreJob(config.root, prepared.id, run.images, side, pairwise, where.type, run.command, extractors)
    shards = make_shards(ids, SHARD)
    try:
        parts = map_on_device(where, Work(score_shard, {"job": job}), shards, execution)
    finally:
        loaded.cache_clear()
    return ShardScores(
        {name: [v for part in parts for v in part.values[name]] for name in pairwise},
        {name: np.concatenate([part.features[name] for part in parts]) for name in extractors},
        {name: np.concatenate([part.sources[name] for part in parts]) for name in extractors},
    )


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
    write_table(path, table)
    return stale


def _read_scores(path: Path) -> pd.DataFrame:
    return read_table(path, COLUMNS, "score file", fix="delete it and run `bench score` again")
