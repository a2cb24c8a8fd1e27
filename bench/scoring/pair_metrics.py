"""What a worker does to score: read pictures ahead, bring them to each metric's size once, compute. No mean is taken.

Pictures are decoded in one thread while metrics compute in another. Only a few batches are in memory at a time, so
memory does not grow with their number.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import api, registry
from bench.data.dataset import PreparedDataset
from bench.device import resolve_device
from bench.engine import Shard, tick
from bench.errors import BenchError, DataError
from bench.files import atomic_write, read_rgb
from bench.images import PIL_RESIZES, resize, resize_pil
from bench.scoring.build import build, signature

if TYPE_CHECKING:
    from torch import Tensor

BATCH, PIXELS = 16, 1 << 20  # pairs at a time: at most so many, and at most so many pixels
FEATURES = "features"  # folder beside a prepared dataset's pictures: features of its sources


@dataclass(frozen=True, eq=False)
class ScoreJob:
    """What a worker needs to score shards of one run.

    Args:
        images: folder of the reconstructions. metrics: ids of pair metrics.
        mend: the command that makes the reconstructions anew.
        extractors: extractor -> a set metric that has it.
    """

    root: Path
    dataset: str
    images: Path
    resolution: int
    metrics: tuple[str, ...]
    device: str
    mend: str
    extractors: Mapping[str, str] = field(default_factory=dict)


@dataclass
class ShardScores:
    """Results of one shard, in the order of its ids.

    Args:
        values: pair metric -> a value per image. features: extractor -> (n, D) float32 of the reconstructions.
        sources: extractor -> the same of the sources.
    """

    values: dict[str, list[float]]
    features: dict[str, np.ndarray]
    sources: dict[str, np.ndarray]


@dataclass
class _Loaded:
    """Metrics and networks of a job, made once per process."""

    dataset: PreparedDataset
    metrics: dict[str, api.PairMetric]
    sets: dict[str, tuple[api.SetMetric, Callable[[Tensor], Tensor], str]]


@lru_cache(maxsize=1)
def loaded(job: ScoreJob) -> _Loaded:
    """See :class:`_Loaded`; ``loaded.cache_clear()`` frees it."""
    known, device = registry.metrics(job.root), resolve_device(job.device)
    dataset = PreparedDataset.open(job.root, job.dataset)
    sets = {}
    for extractor, name in job.extractors.items():
        metric = build(job.root, known.load(name), device)
        what = "|".join(signature(job.root, "", type(metric)).split("|")[1:]) + dataset.manifest.sha256
        sets[extractor] = (metric, metric.network(), hashlib.sha256(what.encode()).hexdigest()[:16])
    return _Loaded(dataset, {name: build(job.root, known.load(name), device) for name in job.metrics}, sets)


def score_shard(shard: Shard, job: ScoreJob) -> ShardScores:
    """All pair metrics and features of a shard, in one pass over its pictures."""
    have = loaded(job)
    out = ShardScores({name: [] for name in have.metrics}, {}, {})
    cached = {name: cache_path(have, name, shard) for name in have.sets}
    out.sources = {name: np.load(path) for name, path in cached.items() if path.is_file()}
    parts: dict[tuple[str, bool], list[np.ndarray]] = {}
    for x, x_hat in ahead(image_batches(shard.ids, have.dataset, job)):
        views = Views(x), Views(x_hat)
        for name, metric in have.metrics.items():
            out.values[name] += score_views(metric, name, *views)
        for name, (set_metric, network, _) in have.sets.items():
            for is_source in (False,) if name in out.sources else (False, True):
                view = views[0 if is_source else 1].eight_bit(set_metric.size, set_metric.resize)
                parts.setdefault((name, is_source), []).append(network(view).cpu().numpy())
        tick(len(x))
    for (name, is_source), scores in parts.items():
        (out.sources if is_source else out.features)[name] = np.concatenate(scores)
        if is_source:
            buffer = io.BytesIO()
            np.save(buffer, out.sources[name])
            atomic_write(cached[name], buffer.getvalue())
    return out


def cache_path(have: _Loaded, extractor: str, shard: Shard) -> Path:
    """File for the source features of a shard: other ids, pictures, sizes or weights have another name."""
    metric, _, what = have.sets[extractor]
    ids = hashlib.sha256("\n".join(shard.ids).encode()).hexdigest()[:16]
    return have.dataset.paths.done.parent / FEATURES / f"{extractor}-{what}" / f"{ids}.npy"


def image_batches(
    ids: Sequence[str], dataset: PreparedDataset, job: ScoreJob
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sources and reconstructions, (B, R, R, 3) uint8 each, in order."""
    size = batch_size(job.resolution)
    for start in range(0, len(ids), size):
        part = ids[start : start + size]
        yield dataset.stack(part), np.stack([_reconstruction(job, i) for i in part])


def batch_size(resolution: int) -> int:
    """Pairs of square pictures that are in work together."""
    return max(1, min(BATCH, PIXELS // resolution**2))


def _reconstruction(job: ScoreJob, image_id: str) -> np.ndarray:
    """(R, R, 3) uint8 of the run; a damaged one is the method's to make again, no dataset's to prepare."""
    try:
        return read_rgb(job.images / f"{image_id}.png", job.resolution)
    except DataError as error:
        fix = f"compute the run anew: `{job.mend} --fresh`"
        raise DataError(error.what, got=error.got, expected=error.expected, fix=fix) from None


def ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """The same items, each made in another thread while the one before is in use."""
    end = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode") as thread:
        coming = thread.submit(next, batches, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, batches, end)
            yield item


class Views:
    """A batch of pictures at the sizes and in the ranges that metrics ask for, each made once.

    Args:
        images: (B, H, W, 3) uint8.
    """

    def __init__(self, images: np.ndarray):
        self.images = images
        self._made: dict[tuple[Any, ...], Tensor] = {}

    def eight_bit(self, size: int | None, how: str) -> Tensor:
        """(B, 3, h, w) uint8; only Pillow's rules keep 8 bits.

        Raises:
            BenchError: another rule.
        """
        import torch

        at = (size, how) if size else ("native",)
        if at not in self._made:
            array = resize_pil(self.images, size, how) if size else self.images
            self._made[at] = torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))
        return self._made[at]

    def floats(self, size: int | None, how: str, value_range: tuple[float, float]) -> Tensor:
        """(B, 3, h, w) float64 in ``value_range``, clamped after resizing."""
        at = (size, how if size else "", value_range)
        if at not in self._made:
            by_pil = how in PIL_RESIZES
            low, high = value_range
            x = self.eight_bit(size if by_pil else None, how).double().mul_((high - low) / 255.0)
            x = x.add_(low) if low else x
            self._made[at] = resize(x, size, how).clamp(low, high) if size and not by_pil else x
        return self._made[at]


def score_batch(metric: api.PairMetric, name: str, x: np.ndarray, x_hat: np.ndarray) -> list[float]:
    """Values of one metric for a batch of pictures (B, H, W, 3) uint8; see :func:`score_views`."""
    return score_views(metric, name, Views(x), Views(x_hat))


def score_views(metric: api.PairMetric, name: str, x: Views, x_hat: Views) -> list[float]:
    """Values of one metric for a batch.

    Raises:
        BenchError: the metric did not return one number per pair.
    """
    import torch

    with torch.no_grad():
        result = metric(*(views.floats(metric.size, metric.resize, metric.value_range) for views in (x, x_hat)))
    count = len(x.images)
    if tuple(result.shape) != (count,):
        raise BenchError(f"metric {name!r} returned the wrong shape", got=tuple(result.shape), expected=(count,))
    return [float(v) for v in result.detach().cpu().double()]
