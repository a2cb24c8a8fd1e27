"""Rate against distortion: pictures rendered from quantised inversions, and the bits those take.

What a method keeps is what its :class:`bench.api.Inversion` holds. Each picture is inverted once, or its codes are
taken from the method's run where that keeps nothing else; then every point of a sweep is coded, rendered and scored,
and edited from there: the strength is the one matched for the method as it is, the picture is compared with what the
edit must show (bench/rate/edits.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import registry
from bench.api import Inversion, Method, PairMetric
from bench.config.project import Config
from bench.config.sections import RateSettings
from bench.data.dataset import PreparedDataset
from bench.device import autocast, resolve_device
from bench.edits.apply import of_dataset
from bench.engine import Execution, Shard, Work, check_failures, make_shards, map_images, map_on_device, tick
from bench.errors import BenchError
from bench.images import to_uint8
from bench.inversion.plan import RunPlan
from bench.inversion.runner import check_shapes, image_seed, load_method, partners
from bench.rate.edits import Move, Scene, scenes_of
from bench.rate.entropy import Coded
from bench.rate.quantise import can_pool, codes_at, joined, memory_at, unit_of
from bench.scoring.build import build, lacking
from bench.scoring.pair_metrics import score_batch
from bench.store.rate import COLUMNS, KEPT, MAPS

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

SHARD = 4  # pictures: few are measured, and two processes should share them evenly


@dataclass(frozen=True)
class Point:
    """One operating point: steps of the codes and of the memory, 0 for numbers as they are; side of pooled squares."""

    codes: float
    memory: float
    pool: int = 1


@dataclass(frozen=True)
class Steps:
    """A sweep.

    Args:
        codes: steps where codes are all there is. beside: the one step of codes beside a memory. memory: its steps.
        pools: of the memory's maps, at its smallest step.
    """

    codes: tuple[float, ...]
    memory: tuple[float, ...]
    beside: float
    pools: tuple[int, ...] = ()

    def points(self, keeps_memory: bool) -> list[Point]:
        """Numbers as they are, then every step, then every pooling."""
        if not keeps_memory:
            return [Point(0.0, 0.0), *(Point(step, 0.0) for step in self.codes)]
        pooled = [Point(self.beside, min(self.memory), pool) for pool in self.pools]
        return [Point(0.0, 0.0), *(Point(self.beside, step) for step in self.memory), *pooled]


@dataclass(frozen=True, eq=False)
class RateJob:
    """What a worker needs. Args: codes: id -> (L, D) of a run that keeps nothing else. moves: edits to make."""

    plan: RunPlan
    ids: tuple[str, ...]
    metrics: tuple[str, ...]
    steps: Steps
    codes: Mapping[str, np.ndarray] = field(default_factory=dict)
    moves: tuple[Move, ...] = ()


@dataclass
class Measured:
    """Results of some pictures.

    Args:
        rows: tidy, (form, Point, image_id, task, edit, metric, value). failures: id -> reason.
    """

    rows: list[tuple[str, Point, str, str, str, str, float]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Held:
    """A batch at one point. Args: decoded: what a decoder has. bits: each picture's. floats: numbers they stand for."""

    point: Point
    decoded: Inversion
    bits: list[Coded]
    floats: int


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
    asked: RateSettings,
    moves: Sequence[Move],
    execution: Execution,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Measure one method on the first ``asked.images`` pictures of its plan.

    Args:
        moves: edits to make at every point (bench.rate.edits.moves_of).
    Returns:
        tidy rows (COLUMNS) in a fixed order, whatever the execution; id -> reason of pictures that failed.
    Raises:
        BenchError: a metric lacks something, or every picture failed.
    """
    import pandas as pd

    ids = plan.ids[: asked.images]
    check_metrics(config.root, asked.metrics)
    prepared = PreparedDataset.open(config.root, plan.dataset)
    codes = of_dataset(prepared, list(ids), plan.run, plan.config_hash).codes
    here = {i: codes[i] for i in ids if i in codes}
    job = RateJob(plan, tuple(ids), tuple(asked.metrics), steps_of(asked, plan.variant), here, tuple(moves))
    shards = make_shards(ids, SHARD)
    device = resolve_device(plan.device)
    try:
        parts = map_on_device(device, Work(measure_shard, {"job": job}), shards, execution)
    finally:
        _loaded.cache_clear()
    failures = {i: why for part in parts for i, why in part.failures.items()}
    head = (plan.dataset, plan.method, plan.variant)
    rows = [(*head, form, *astuple(point), *rest) for part in parts for form, point, *rest in part.rows]
    check_failures(failures, ids, plan.method, f"images of {plan.dataset!r}")
    return pd.DataFrame(rows, columns=COLUMNS).astype({"value": "float64"}), failures


def steps_of(asked: RateSettings, variant: str) -> Steps:
    """The sweep of a method, or the shorter one of a variant."""
    if variant and asked.of_ablations:
        return Steps(tuple(asked.codes), tuple(asked.of_ablations), asked.beside)
    return Steps(tuple(asked.codes), tuple(asked.memory), asked.beside, tuple(asked.pools))


def check_metrics(root: Path, names: Sequence[str]) -> None:
    """BenchError for a metric that compares no pair of pictures, or lacks its weights or packages here."""
    for name in names:
        cls = registry.metrics(root).load(name)
        if not issubclass(cls, PairMetric):
            raise BenchError(f"metric {name!r} compares no pair of pictures", fix="correct `rate: metrics`")
        missing = lacking(root, cls)
        if missing:
            raise BenchError(f"metric {name!r} lacks something", fix=missing)


def measure_shard(shard: Shard, job: RateJob) -> Measured:
    """All points of a shard's pictures."""
    have = _loaded(job)
    others = partners(job.ids, job.plan.seed) if have.method.shown == "another" else {i: i for i in shard.ids}
    source = have.dataset.stack(shard.ids)
    x = have.dataset.tensor([others[i] for i in shard.ids]).to(have.method.device)

    def measure(ids: Sequence[str]) -> list[tuple]:
        here = slice(shard.ids.index(ids[0]), shard.ids.index(ids[-1]) + 1)
        return list(_rows(have, job, list(ids), x[here], source[here]))

    parts, failures = map_images(shard.ids, measure)
    tick(len(shard.ids))
    return Measured([row for rows in parts for row in rows], failures)


def _rows(have: _Loaded, job: RateJob, ids: list[str], x: Tensor, source: np.ndarray) -> Iterator[tuple]:
    import torch

    method, plan = have.method, job.plan
    seeds = [image_seed(plan.seed, plan.dataset, i) for i in ids]
    scenes = scenes_of(method, plan, have.dataset, job.moves, ids, source)
    with torch.no_grad(), autocast(x.device, plan.precision):
        method.context.image_seeds = seeds
        inversion = _inverted(job, method, ids, x)
        maps = method.latent_maps(inversion)
        forms = [(KEPT, inversion)]
        if maps:
            forms.append((MAPS, maps))
        for form, one in forms:
            held = list(_held(have, job, one))
            for h in held:
                for i, b in zip(ids, h.bits, strict=True):
                    for name, value in (("floats", float(h.floats)), ("bits", b.bits), ("side_bits", b.side)):
                        yield form, h.point, i, "rate", "", name, value
            for scene in scenes:  # the outer loop: points of equal codes follow each other, and methods remember those
                method.context.image_seeds = [seeds[n] for n in scene.rows]
                yield from _seen(have, form, held, scene, ids, x)


def _seen(
    have: _Loaded, form: str, held: Sequence[Held], scene: Scene, ids: list[str], x: Tensor
) -> Iterator[tuple[str, Point, str, str, str, str, float]]:
    """Distances of a scene's pictures from what they are to show, at every point."""
    task = "edit" if scene.edit else "inversion"
    shown = [ids[n] for n in scene.rows]
    for h in held:
        decoded = picked(h.decoded, scene.rows)
        x_hat = have.method.render(scene.moved(decoded.w_plus), decoded)
        check_shapes(have.method, x[scene.rows], decoded, x_hat)
        if not bool(x_hat.isfinite().all()):
            raise ValueError("the output is not finite")
        pictures = to_uint8(x_hat)
        for name, metric in have.metrics.items():
            values = score_batch(metric, name, scene.meant, pictures)
            yield from ((form, h.point, i, task, scene.edit, name, v) for i, v in zip(shown, values, strict=True))


def picked(inversion: Inversion, rows: list[int]) -> Inversion:
    """Some pictures of a batch."""
    return Inversion(inversion.w_plus[rows], {name: kept[rows] for name, kept in inversion.memory.items()})


def _inverted(job: RateJob, method: Method, ids: list[str], x: Tensor) -> Inversion:
    if not all(i in job.codes for i in ids):
        return method.embed(x)
    import torch

    return Inversion(torch.from_numpy(np.stack([job.codes[i] for i in ids])).to(x.device))


def _held(have: _Loaded, job: RateJob, inversion: Inversion) -> Iterator[Held]:
    """The batch at each point; tensors of one step are quantised once."""
    points = job.steps.points(bool(inversion.memory))
    codes = {p.codes: codes_at(inversion.w_plus, p.codes, have.method.generator, have.unit) for p in points}
    for point in points:
        if point.pool > 1 and not any(can_pool(kept, point.pool) for kept in inversion.memory.values()):
            continue
        memory = {name: memory_at(kept, point.memory, point.pool) for name, kept in inversion.memory.items()}
        yield Held(point, *joined(codes[point.codes], memory))
