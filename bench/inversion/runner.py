"""Pictures -> method -> store. Knows no metric and no plot.

Every picture counts: one that makes its method fail, or whose output is not finite, is tried again alone and then
recorded with its reason; nothing is dropped. A damaged input, a full disk or a missing weight stops the run instead:
that is for the user to mend, and the shards finished by then stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import registry
from bench.api import Context, Inversion, Method
from bench.data.dataset import PreparedDataset
from bench.device import ACCELERATOR_BATCH, autocast, resolve_device
from bench.engine import SERIAL, Execution, Shard, Work, check_failures, make_shards, map_images, map_shards, tick
from bench.errors import BenchError, ShapeError, name_some
from bench.files import write_png
from bench.images import to_uint8
from bench.inversion.plan import RunPlan
from bench.predictors import landmarks
from bench.seeds import seed_for
from bench.store.latents import joined, write_codes
from bench.store.provenance import versions
from bench.weights import manifest as weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

NOT_FINITE = "the output is not finite"


@dataclass
class Inverted:
    """Results of some pictures: id -> uint8 picture, id -> w_plus (L, D), id -> reason for those that failed.

    ``steps``: id -> (S, L, D), of methods that keep them.
    """

    images: dict[str, np.ndarray] = field(default_factory=dict)
    codes: dict[str, np.ndarray] = field(default_factory=dict)
    steps: dict[str, np.ndarray] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    rates: set[int] = field(default_factory=set)


def run(
    plan: RunPlan,
    execution: Execution = SERIAL,
    overwrite: bool = False,
    fresh: bool = False,
    on_plan: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Carry out a plan, resuming what an earlier process left.

    Args:
        execution: its progress is told in finished images.
        overwrite, fresh: see :meth:`bench.store.run.Run.begin`.
        on_plan: called once with (images to do, images in all).
    Returns:
        The content of run.json.
    Raises:
        BenchError: input, disk, weights, or every picture failed.
    """
    execution = execution.on(resolve_device(plan.device))
    PreparedDataset.open(plan.root, plan.dataset)
    folder = plan.run
    with folder.lock():
        if not folder.begin(plan.config_hash, plan.config, overwrite, fresh, versions()):
            return folder.read()
        shards = make_shards(plan.ids, plan.shard_size)
        todo = [shard for shard in shards if not folder.has_shard(shard.index, shard.ids)]
        if on_plan:
            on_plan(sum(len(shard.ids) for shard in todo), len(plan.ids))
        try:
            map_shards(Work(invert_shard, {"plan": plan}), todo, execution)
        finally:
            _loaded.cache_clear()
        result = folder.finish([shard.ids for shard in shards], plan.record())
        if result["n"] == 0:
            folder.discard()
        check_failures(result["failures"], plan.ids, plan.method, f"images of {plan.dataset!r}")
    return result


def load_method(
    root: Path,
    method: str,
    domain: str,
    options: dict[str, Any] | None = None,
    device: str = "cpu",
    precision: str = "fp32",
) -> Method:
    """A method ready for pictures: generator of the domain, verified weights, networks built.

    Args:
        options: overrides of its defaults. device: as in :func:`bench.device.resolve_device`.
    """
    from bench.generator import SharedGenerator

    cls = registry.methods(root).load(method)
    where = resolve_device(device)
    context = Context(
        domain=domain,
        generator=SharedGenerator.load(domain, where, root),
        device=where,
        load_weights=lambda weights_id: weights.load(root, weights_id),
        precision=precision,
        weights_file=lambda weights_id, part: weights.file_path(root, weights_id, part),
        landmark_sources=lambda: landmarks.plugged(registry.landmarks(root)),
    )
    return cls(context, **(options or {}))


@lru_cache(maxsize=1)  # one plan per process at a time; plans compare by identity
def _loaded(plan: RunPlan) -> tuple[Method, PreparedDataset]:
    dataset = PreparedDataset.open(plan.root, plan.dataset)
    method = load_method(plan.root, plan.method, plan.domain, plan.options, plan.device, plan.precision)
    expected = method.generator.resolution
    if dataset.manifest.resolution != expected:
        raise BenchError(
            f"dataset {plan.dataset!r} does not fit the generator of domain {plan.domain!r}",
            got=f"{dataset.manifest.resolution} px",
            expected=f"{expected} px",
            fix=f"prepare it with --resolution {expected}",
        )
    return method, dataset


def invert_shard(shard: Shard, plan: RunPlan) -> int:
    """The unit of work: invert one shard's pictures and commit them. Returns the number of failures."""
    method, dataset = _loaded(plan)
    size = batch_on(plan, method.device.type)
    done = Inverted()
    others = partners(plan.ids, plan.seed) if method.shown == "another" else None
    for ids, x in dataset.batches(shard.ids, size):
        if others is not None:
            x = dataset.tensor([others[i] for i in ids])
        seeds = [image_seed(plan.seed, plan.dataset, i) for i in ids]
        with _ticking(method, len(ids)):
            invert_isolated(method, ids, x.to(method.device), seeds, plan.precision, done)

    def fill(folder: Path) -> dict[str, Any]:
        (folder / "images").mkdir()
        for image_id, image in done.images.items():
            write_png(folder / "images" / f"{image_id}.png", image)
        kept = [i for i in shard.ids if i in done.codes]
        w_plus = np.stack([done.codes[i] for i in kept]) if kept else np.zeros((0, 1, 1), np.float32)
        write_codes(folder / plan.run.codes.name, kept, w_plus)
        if done.steps:
            traced = [i for i in kept if i in done.steps]
            steps = joined([done.steps[i] for i in traced], np.stack, f"steps of method {plan.method!r}")
            write_codes(folder / plan.run.steps.name, traced, steps, "steps")
        return {"failures": done.failures, "rate_floats": _one_rate(done.rates)}

    plan.run.commit_shard(shard.index, shard.ids, fill)
    return len(done.failures)


def batch_on(plan: RunPlan, device: str) -> int:
    """Pictures computed together: as many as the user said, else the profile's number, on accelerators more."""
    least = 1 if plan.batch_asked or device == "cpu" else ACCELERATOR_BATCH
    return max(plan.batch_size, least)


def partners(ids: Sequence[str], seed: int) -> dict[str, str]:
    """image id -> another of ``ids`` (itself if it is the only one), each taken once: one cycle in a seeded order."""
    order = [ids[n] for n in np.random.default_rng(seed_for(seed, "partners", len(ids))).permutation(len(ids))]
    return dict(zip(order, order[1:] + order[:1], strict=True))


def image_seed(seed: int, dataset: str, image_id: str) -> int:
    """The seed of one picture's random numbers: the same for every method, batch split and worker."""
    return seed_for(seed, "image", dataset, image_id)


def invert_isolated(
    method: Method, ids: Sequence[str], x: Tensor, seeds: Sequence[int], precision: str, into: Inverted
) -> None:
    """Invert a batch of images; one that fails, or whose output is not finite, is tried again alone.

    Args:
        x: (B, 3, R, R) in [-1, 1] on the method's device.
        into: gains one image and its latents, or one failure, for every id.
    Raises:
        BenchError: see :func:`bench.engine.map_images`.
    """
    row = {image_id: n for n, image_id in enumerate(ids)}

    def invert(part: Sequence[str]) -> tuple[Sequence[str], list[str]]:
        """Returns ``part`` and those of its ids whose output is not finite."""
        here = slice(row[part[0]], row[part[-1]] + 1)
        images, inversion, finite = invert_batch(method, x[here], seeds[here], precision)
        for n, image_id in enumerate(part):
            if finite[n]:
                _keep(image_id, images[n], inversion, n, into)
        return part, [image_id for image_id, good in zip(part, finite, strict=True) if not good]

    parts, failures = map_images(ids, invert)
    again = [image_id for tried, bad in parts if len(tried) > 1 for image_id in bad]
    for image_id in again:
        alone, failed = map_images([image_id], invert)
        parts += alone
        failures |= failed
    for tried, bad in parts:
        if len(tried) == 1:
            failures |= dict.fromkeys(bad, NOT_FINITE)
    into.failures |= {image_id: failures[image_id] for image_id in ids if image_id in failures}


def _keep(image_id: str, image: np.ndarray, inversion: Inversion, n: int, into: Inverted) -> None:
    """Keep row ``n`` of an inverted batch."""
    into.images[image_id] = image
    into.codes[image_id] = inversion.w_plus[n].detach().float().cpu().numpy()
    if inversion.steps is not None:
        into.steps[image_id] = inversion.steps[n].detach().float().cpu().numpy()
    into.rates.add(inversion.rate())


def invert_batch(
    method: Method, x: Tensor, seeds: Sequence[int], precision: str
) -> tuple[np.ndarray, Inversion, list[bool]]:
    """embed and render one batch.

    Returns:
        (B, R, R, 3) uint8; the inversion; per picture whether all of its output is finite.
    Raises:
        ShapeError: the method returned something of another shape than its contract says.
    """
    import torch

    method.context.image_seeds = list(seeds)
    with torch.no_grad(), autocast(x.device, precision):
        inversion = method.embed(x)
        x_hat = method.render(inversion.w_plus, inversion)
    check_shapes(method, x, inversion, x_hat)
    finite = _finite(x_hat) & _finite(inversion.w_plus)
    for kept in (*inversion.memory.values(), *([] if inversion.steps is None else [inversion.steps])):
        finite &= _finite(kept)
    return to_uint8(torch.nan_to_num(x_hat.float())), inversion, finite.tolist()


def _finite(values: Tensor) -> torch.Tensor:
    return values.detach().flatten(1).isfinite().all(1).cpu()


def check_shapes(method: Method, x: Tensor, inversion: Inversion, x_hat: Tensor) -> None:
    """The contract's shapes, or a ShapeError that says which one was broken."""
    name = type(method).__module__.rsplit(".", 1)[-1]
    w_plus = inversion.w_plus
    want = (len(x), method.generator.n_latent, method.generator.style_dim)
    if tuple(w_plus.shape) != want:
        raise ShapeError(f"method {name!r} returned codes of the wrong shape", got=tuple(w_plus.shape), expected=want)
    steps = inversion.steps
    if steps is not None and (steps.ndim != 4 or not steps.shape[1] or (len(steps), *steps.shape[2:]) != want):
        expected = f"({want[0]}, S, {want[1]}, {want[2]})"
        raise ShapeError(f"method {name!r} keeps steps of the wrong shape", got=tuple(steps.shape), expected=expected)
    if x_hat.shape != x.shape:
        raise ShapeError(f"method {name!r} rendered the wrong shape", got=tuple(x_hat.shape), expected=tuple(x.shape))
    short = [key for key, kept in inversion.memory.items() if len(kept) != len(x)]
    if short:
        raise ShapeError(
            f"method {name!r} keeps memory that is not per image", got=name_some(short), expected="(B, ...)"
        )


def _one_rate(rates: set[int]) -> int | None:
    return max(rates) if rates else None


class _ticking:
    """Turns a method's own progress (0 to 1 for a batch) into images for the bar; the rest comes at the end."""

    def __init__(self, method: Method, images: int):
        self.method, self.images, self.said = method, images, 0.0

    def __enter__(self) -> None:
        self.method.context.progress = self._say

    def _say(self, fraction: float) -> None:
        fraction = min(max(float(fraction), self.said), 1.0)
        if fraction - self.said >= 0.02 or fraction == 1.0:
            tick((fraction - self.said) * self.images)
            self.said = fraction

    def __exit__(self, *_: object) -> None:
        self.method.context.progress = lambda fraction: None
        tick((1.0 - self.said) * self.images)
