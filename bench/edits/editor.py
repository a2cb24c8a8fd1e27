"""What a worker needs to edit pictures with one method and to judge them; calibration of strengths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import api, registry
from bench.config.sections import EditSettings
from bench.data.dataset import PreparedDataset
from bench.device import autocast
from bench.directions import files
from bench.edits.targets import Targets, Wanted, exact
from bench.engine import Shard, map_images, tick
from bench.errors import BenchError
from bench.images import to_tensor, to_uint8
from bench.inversion.plan import RunPlan
from bench.inversion.runner import image_seed, load_method
from bench.predictors.attributes import judge
from bench.scoring.build import build

if TYPE_CHECKING:
    from torch import Tensor

    from bench.api import Inversion, Method
    from bench.directions.direction import Direction
    from bench.generator import SharedGenerator


@dataclass(frozen=True, eq=False)
class EditJob:
    """What a worker needs.

    Args:
        plan: the method and its settings. dataset: whose pictures. edits: to score. masks: the user's, or None.
        degrees: edit -> matched degree, of those that are reached. spread: attribute -> standard deviation.
        again: ids of pictures that are inverted again. shown: image id -> edit shown of it.
        brief: edits at their strength alone, without curves and sweeps.
    """

    plan: RunPlan
    dataset: str
    edits: tuple[Wanted, ...]
    settings: EditSettings
    masks: Path | None = None
    degrees: Mapping[str, float] = field(default_factory=dict)
    spread: Mapping[str, float] = field(default_factory=dict)
    again: tuple[str, ...] = ()
    shown: Mapping[str, str] = field(default_factory=dict)
    brief: bool = False


@dataclass
class Part:
    """Results of some pictures.

    Args:
        rows: tidy, without dataset, method and variant. failures: id -> reason. pictures: (kind, id) -> picture.
        judged: calibration: "source", edit, or (edit, degree) -> id -> values.
        features: extractor -> (edit, id, of the edit, of what it is compared with).
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    pictures: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    judged: dict[Any, dict[str, Any]] = field(default_factory=dict)
    features: dict[str, list[tuple[str, str, np.ndarray, np.ndarray]]] = field(default_factory=dict)

    def join(self, other: Part) -> None:
        """Take in another part's results."""
        self.rows += other.rows
        self.failures |= other.failures
        self.pictures |= other.pictures
        for key, found in other.judged.items():
            self.judged.setdefault(key, {}).update(found)
        for name, more in other.features.items():
            self.features.setdefault(name, []).extend(more)


def joined(parts: Iterable[Part]) -> Part:
    """All results of some parts, in their order."""
    done = Part()
    for part in parts:
        done.join(part)
    return done


@dataclass(frozen=True)
class _Tools:
    """What calibration and scoring have in common, loaded once per process; equal where it would be loaded alike.

    Args:
        plan: not compared: its hash says what it fixes.
    """

    root: Path
    config_hash: str
    device: str
    judge: str
    fixed: bool
    metrics: tuple[str, ...]
    sets: tuple[str, ...]
    plan: RunPlan = field(compare=False)

    @classmethod
    def of(cls, job: EditJob) -> _Tools:
        plan, settings = job.plan, job.settings
        names = tuple(dict.fromkeys([*settings.metrics, *filter(None, [settings.identity])]))
        fixed = settings.policy == "fixed"
        return cls(plan.root, plan.config_hash, plan.device, settings.judge, fixed, names, tuple(settings.sets), plan)


@lru_cache(maxsize=1)
def _loaded(
    tools: _Tools,
) -> tuple[Method, Callable | None, dict[str, api.PairMetric], dict[str, tuple[api.SetMetric, Callable]]]:
    """The method, what the judge reads (None under fixed degrees), metrics, and extractor -> (metric, network)."""
    plan, known = tools.plan, registry.metrics(tools.root)
    method = load_method(plan.root, plan.method, plan.domain, plan.options, plan.device, plan.precision)
    device = method.device
    read = None if tools.fixed else judge(plan.root, plan.domain, device, tools.judge)[0]
    metrics = {name: build(plan.root, known.load(name), device) for name in tools.metrics}
    sets: dict[str, tuple[api.SetMetric, Callable]] = {}
    for name in tools.sets:
        metric = build(plan.root, known.load(name), device)
        sets.setdefault(metric.extractor, (metric, metric.network()))
    return method, read, metrics, sets


@lru_cache(maxsize=1)
def editor_of(job: EditJob) -> Editor:
    """Return this process's editor of a job, made once."""
    return Editor(job)


def forget() -> None:
    """Free what this process keeps between shards."""
    _loaded.cache_clear()
    editor_of.cache_clear()


def calibrate_shard(shard: Shard, job: EditJob) -> Part:
    """Calibration of a shard's images."""
    return isolated(shard.ids, editor_of(job).calibrate)


def isolated(ids: Sequence[str], work: Callable[[Sequence[str]], Part]) -> Part:
    """Work on a batch of images; those that fail alone are failures by name (:func:`bench.engine.map_images`)."""
    parts, failures = map_images(ids, work)
    tick(len(ids))
    done = joined(parts)
    done.failures |= failures
    return done


def direction_of(plan: RunPlan, wanted: Wanted, generator: SharedGenerator, may_set: bool = False) -> Direction:
    """The direction of an edit, checked against the generator's codes.

    Args:
        may_set: one that sets a coordinate will do.

    Raises:
        UnknownName: there is none. BenchError: it sets a coordinate. ShapeError: it is of another space.
    """
    found = files.find(plan.root, plan.domain, wanted.direction)
    if found.rule != "add" and not may_set:
        raise BenchError(
            f"direction {wanted.direction!r} sets a coordinate",
            expected="one that adds, so that degree 0 is the inversion",
            fix="take it out of `directions`, or give degrees under `policy: fixed`",
        )
    found.check(generator.n_latent, generator.style_dim)
    return found


class Editor:
    """A method, its directions, a judge and metrics, loaded once per process."""

    def __init__(self, job: EditJob):
        self.job = job
        self.plan = job.plan
        self.settings = job.settings
        self.method, self.read, self.metrics, self.sets = _loaded(_Tools.of(job))
        self.device = self.method.device
        self.dataset = PreparedDataset.open(job.plan.root, job.dataset)
        fixed = job.settings.policy == "fixed"
        generator = self.method.generator
        self.directions = {one.name: direction_of(job.plan, one, generator, fixed) for one in job.edits}
        self.exact = self.dataset.manifest.render is not None and not fixed

    def embed(self, ids: Sequence[str], pictures: np.ndarray) -> Inversion:
        """Invert 8-bit pictures (B, R, R, 3)."""
        import torch

        self.method.context.image_seeds = [image_seed(self.plan.seed, self.job.dataset, i) for i in ids]
        with torch.no_grad(), autocast(self.device, self.plan.precision):
            return self.method.embed(to_tensor(pictures).to(self.device))

    def render(self, w_plus: Tensor, inversion: Inversion) -> np.ndarray:
        """(B, R, R, 3) uint8 of codes.

        Raises:
            ValueError: some output is not finite.
        """
        import torch

        with torch.no_grad(), autocast(self.device, self.plan.precision):
            x_hat = self.method.render(w_plus, inversion).float()
        if not bool(x_hat.isfinite().all()):
            raise ValueError("the output is not finite")
        return to_uint8(x_hat)

    def edit(self, inversion: Inversion, wanted: Wanted, degree: float) -> np.ndarray:
        """Pictures of codes moved along the edit's direction."""
        return self.render(self.directions[wanted.name].apply(inversion.w_plus, degree), inversion)

    def look(self, pictures: np.ndarray) -> list[dict[str, float]]:
        """What the judge reads off each picture; nothing without a judge."""
        import torch

        if self.read is None:
            return [{} for _ in pictures]
        with torch.no_grad():
            found = self.read(to_tensor(pictures).to(self.device))
        columns = {name: values.double().cpu().tolist() for name, values in found.items()}
        return [{name: column[n] for name, column in columns.items()} for n in range(len(pictures))]

    def targets(self, ids: Sequence[str], wanted: Wanted) -> Targets | None:
        """Exact targets; None where the dataset is not rendered, or degrees say nothing about a change."""
        return exact(self.dataset, ids, wanted) if self.exact else None

    def calibrate(self, ids: Sequence[str]) -> Part:
        """What the judge sees in sources, exact targets, and edits at all degrees."""
        sources = self.dataset.stack(ids)
        inversion = self.embed(ids, sources)
        start = self.look(self.render(inversion.w_plus, inversion))
        done = Part(judged={"source": dict(zip(ids, self.look(sources), strict=True))})
        for wanted in self.job.edits:
            name = wanted.attribute
            exact_ones = self.targets(ids, wanted)
            images = exact_ones.images if exact_ones else {}
            found = self.look(np.stack(list(images.values()))) if images else []
            done.judged[wanted.name] = {i: one[name] for i, one in zip(images, found, strict=True)}
            for degree in self.settings.degrees:
                signed = degree if wanted.change > 0 else -degree
                seen = self.look(self.edit(inversion, wanted, signed))
                changes = {i: after[name] - before[name] for i, before, after in zip(ids, start, seen, strict=True)}
                done.judged[wanted.name, signed] = changes
        return done
