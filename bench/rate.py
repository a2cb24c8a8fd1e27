"""Rate against distortion: pictures rendered from quantised inversions, and the bits those take.

What a method keeps is what its :class:`bench.api.Inversion` holds. Each picture is inverted once, or its codes are
taken from the method's run where that keeps nothing else; then every point of a sweep is coded, rendered and scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import registry
from bench.api import Inversion, Method, PairMetric
from bench.config import Config
from bench.device import autocast, engine_for, resolve_device
from bench.edits import of_dataset
from bench.engine import Shard, Work, make_shards, map_shards, tick
from bench.errors import BenchError
from bench.images import to_uint8
from bench.loading import PreparedDataset
from bench.metric_build import build, lacking
from bench.pairs import score_batch
from bench.plan import RunPlan
from bench.rate_coding import Coded
from bench.rate_quantise import codes_at, joined, memory_at, unit_of
from bench.runner import check_shapes, image_seed, load_method, partners

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

COLUMNS = ["dataset", "method", "variant", "form", "codes_step", "memory_step", "image_id", "task", "metric", "value"]
SHARD = 8  # pictures: few are measured, and two processes should share them evenly
KEPT, MAPS = "kept", "latent maps"  # forms: the method's own inversion; feature maps in place of its memory


@dataclass(frozen=True)
class Point:
    """One operating point: steps of the codes and of the memory, 0 for numbers as they are."""

    codes: float
    memory: float


@dataclass(frozen=True)
class Steps:
    """A sweep. Args: codes: steps where codes are all there is. beside: the one step of codes beside a memory."""

    codes: tuple[float, ...]
    memory: tuple[float, ...]
    beside: float

    def points(self, keeps_memory: bool) -> list[Point]:
        """Numbers as they are, then every step."""
        pairs = [(self.beside, m) for m in self.memory] if keeps_memory else [(c, 0.0) for c in self.codes]
        return [Point(0.0, 0.0), *(Point(c, m) for c, m in pairs)]


@dataclass(frozen=True, eq=False)
class RateJob:
    """What a worker needs. Args: codes: id -> (L, D) of a run that keeps nothing else."""

    plan: RunPlan
    ids: tuple[str, ...]
    metrics: tuple[str, ...]
    steps: Steps
    codes: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Measured:
    """Results of some pictures.

    Args:
        rows: tidy, (form, Point, image_id, task, metric, value). failures: id -> reason.
    """

    rows: list[tuple[str, Point, str, str, str, float]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass
class _Loaded:
    method: Method
    dataset: PreparedDataset
    metrics: dict[str, PairMetric]
    unit: float


@lru_cache(maxsize=1)
def _loaded(job: RateJob) -> _Loaded:
    plan = job.plan
    method = load_method(plan.root, plan.method, plan.domain, plan.options, plan.device, plan.precision)
    known = registry.metrics(plan.root)
    metrics = {name: build(plan.root, known.load(name), method.device) for name in job.metrics}
    return _Loaded(method, PreparedDataset.open(plan.root, plan.dataset), metrics, unit_of(method.generator))


def measure_plan(
    config: Config,
    plan: RunPlan,
    images: int,
    engine: str,
    workers: int | None,
    engine_asked: bool = False,
    on_tick: Callable[[float], None] | None = None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Measure one method on the first ``images`` pictures of its plan.

    Returns:
        tidy rows (COLUMNS) in a fixed order, whatever engine and workers; id -> reason of pictures that failed.
    Raises:
        BenchError: a metric lacks something, or every picture failed.
    """
    import pandas as pd

    asked = config.settings.rate
    ids = plan.ids[:images]
    check_metrics(config.root, asked.metrics)
    prepared = PreparedDataset.open(config.root, plan.dataset)
    codes = of_dataset(prepared, list(ids), plan.run, plan.config_hash).codes
    here = {i: codes[i] for i in ids if i in codes}
    steps = Steps(tuple(asked.codes), tuple(asked.memory), asked.beside)
    job = RateJob(plan, tuple(ids), tuple(asked.metrics), steps, here)
    shards = make_shards(ids, SHARD)
    engine = engine_for(resolve_device(plan.device), engine if len(shards) > 1 else "serial", engine_asked)
    try:
        parts = map_shards(Work(measure_shard, {"job": job}), shards, engine, workers, on_tick=on_tick)
    finally:
        _loaded.cache_clear()
    failures = {i: why for part in parts for i, why in part.failures.items()}
    rows = [
        (plan.dataset, plan.method, plan.variant, form, point.codes, point.memory, *rest)
        for part in parts
        for form, point, *rest in part.rows
    ]
    if not rows:
        raise BenchError(
            f"method {plan.method!r} failed on all {len(ids)} images of {plan.dataset!r}",
            got=next(iter(failures.values())),
        )
    return pd.DataFrame(rows, columns=COLUMNS).astype({"value": "float64"}), failures


def check_metrics(root: Path, names: Sequence[str]) -> None:
    """BenchError for a metric that compares no pair of pictures, or lacks its weights or packages here."""
    for name in names:
        cls = registry.metrics(root).load(name)
        if not issubclass(cls, PairMetric):
            raise BenchError(f"metric {name!r} compares no pair of pictures", fix="correct `rate: metrics`")
        if missing := lacking(root, cls):
            raise BenchError(f"metric {name!r} lacks something", fix=missing)


def measure_shard(shard: Shard, job: RateJob) -> Measured:
    """All points of a shard's pictures."""
    have, out = _loaded(job), Measured()
    others = partners(job.ids, job.plan.seed) if have.method.shown == "another" else {i: i for i in shard.ids}
    source = have.dataset.stack(shard.ids)
    x = have.dataset.tensor([others[i] for i in shard.ids]).to(have.method.device)
    _measure(have, job, list(shard.ids), x, source, out)
    tick(len(shard.ids))
    return out


def _measure(have: _Loaded, job: RateJob, ids: list[str], x: Tensor, source: np.ndarray, out: Measured) -> None:
    """A batch; if it raises, or a picture is not finite, its pictures one by one."""
    try:
        rows = list(_rows(have, job, ids, x, source))
    except BenchError:
        raise
    except Exception as error:  # a method may raise anything; its other pictures must not suffer
        if len(ids) == 1:
            out.failures[ids[0]] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
            return
        for n, image_id in enumerate(ids):
            _measure(have, job, [image_id], x[n : n + 1], source[n : n + 1], out)
        return
    out.rows += rows


def _rows(have: _Loaded, job: RateJob, ids: list[str], x: Tensor, source: np.ndarray) -> Iterator[tuple]:
    import torch

    method = have.method
    method.context.image_seeds = [image_seed(job.plan.seed, job.plan.dataset, i) for i in ids]
    with torch.no_grad(), autocast(x.device, job.plan.precision):
        inversion = _inverted(job, method, ids, x)
        maps = method.latent_maps(inversion)
        for form, one in ((KEPT, inversion), (MAPS, maps)) if maps else ((KEPT, inversion),):
            for point, held, bits in _points(have, job, one):
                x_hat = method.render(held.w_plus, held)
                check_shapes(method, x, held, x_hat)
                rates = [(("floats", float(one.rate())), ("bits", b.bits), ("side_bits", b.side)) for b in bits]
                yield from ((form, point, i, "rate", *pair) for i, of in zip(ids, rates, strict=True) for pair in of)
                for name, values in _scores(have, source, x_hat).items():
                    yield from ((form, point, i, "inversion", name, v) for i, v in zip(ids, values, strict=True))


def _scores(have: _Loaded, wanted: np.ndarray, x_hat: Tensor) -> dict[str, list[float]]:
    """metric -> a value for each picture; ValueError for pictures that are not finite."""
    if not bool(x_hat.isfinite().all()):
        raise ValueError("the output is not finite")
    return {name: score_batch(metric, name, wanted, to_uint8(x_hat)) for name, metric in have.metrics.items()}


def _inverted(job: RateJob, method: Method, ids: list[str], x: Tensor) -> Inversion:
    if not all(i in job.codes for i in ids):
        return method.embed(x)
    import torch

    return Inversion(torch.from_numpy(np.stack([job.codes[i] for i in ids])).to(x.device))


def _points(have: _Loaded, job: RateJob, inversion: Inversion) -> Iterator[tuple[Point, Inversion, list[Coded]]]:
    """Each point with what a decoder has there; tensors of one step are quantised once."""
    points = job.steps.points(bool(inversion.memory))
    codes = {p.codes: codes_at(inversion.w_plus, p.codes, have.method.generator, have.unit) for p in points}
    for step in dict.fromkeys(p.memory for p in points):
        memory = {name: memory_at(kept, step) for name, kept in inversion.memory.items()}
        for point in (p for p in points if p.memory == step):
            yield point, *joined(codes[point.codes], memory)
