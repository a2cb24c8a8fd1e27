"""Scores after each step of a method that keeps its steps: their codes are rendered as they would be as results.

The pictures come from the domain's shared generator, are 8-bit like those of a run, and are not stored: they follow
from the codes that the run keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import registry
from bench.api import PairMetric
from bench.data.dataset import PreparedDataset
from bench.device import autocast, resolve_device
from bench.engine import SERIAL, Execution, Shard, Work, even_shards, map_on_device
from bench.errors import BenchError
from bench.generator import SharedGenerator
from bench.images import to_uint8
from bench.scoring.build import build
from bench.scoring.pair_metrics import Views, batch_size, score_views

if TYPE_CHECKING:
    import pandas as pd

SHARD = 24  # images, at most


@dataclass(frozen=True, eq=False)
class StepJob:
    """What a worker needs. Args: codes: id -> (S, L, D). metrics: ids of pair metrics. precision: the run's."""

    root: Path
    dataset: str
    domain: str
    codes: Mapping[str, np.ndarray]
    metrics: tuple[str, ...]
    device: str
    precision: str


@lru_cache(maxsize=1)
def _loaded(job: StepJob) -> tuple[PreparedDataset, SharedGenerator, dict[str, PairMetric]]:
    device, known = resolve_device(job.device), registry.metrics(job.root)
    generator = SharedGenerator.load(job.domain, device, job.root)
    metrics = {name: build(job.root, known.load(name), device) for name in job.metrics}
    return PreparedDataset.open(job.root, job.dataset), generator, metrics


def score_steps(job: StepJob, execution: Execution = SERIAL) -> pd.DataFrame:
    """Rows (image_id, step from 1, metric, value), one for each image, step and metric, in a fixed order.

    Args:
        execution: rows do not depend on it.
    Raises:
        BenchError: a metric compares no pair of pictures.
    """
    import pandas as pd

    for name in job.metrics:
        if not issubclass(registry.metrics(job.root).load(name), PairMetric):
            raise BenchError(f"metric {name!r} compares no pair of pictures", fix="correct `steps: metrics`")
    shards = even_shards(list(job.codes), SHARD)
    try:
        parts = map_on_device(resolve_device(job.device), Work(score_shard, {"job": job}), shards, execution)
    finally:
        _loaded.cache_clear()
    rows = [row for part in parts for row in part]
    table = pd.DataFrame(rows, columns=["image_id", "step", "metric", "value"])
    return table.astype({"step": "int64", "value": "float64"})


def score_shard(shard: Shard, job: StepJob) -> list[tuple[str, int, str, float]]:
    """All steps of a shard's images."""
    import torch

    dataset, generator, metrics = _loaded(job)
    rows: list[tuple[str, int, str, float]] = []
    size = batch_size(generator.resolution)
    for start in range(0, len(shard.ids), size):
        ids = shard.ids[start : start + size]
        source = Views(dataset.stack(ids))
        codes = torch.from_numpy(np.stack([job.codes[i] for i in ids])).to(generator.device)
        for step in range(codes.shape[1]):
            with torch.no_grad(), autocast(generator.device, job.precision):
                x_hat = generator.synthesize(codes[:, step])
            view = Views(to_uint8(x_hat))
            for name, metric in metrics.items():
                values = score_views(metric, name, source, view)
                rows += [(i, step + 1, name, value) for i, value in zip(ids, values, strict=True)]
    return rows
