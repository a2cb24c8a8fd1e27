"""Seconds per image on this machine: embed and render apart, warmed up, synchronised, every sample kept.

The clock covers ``embed`` and ``render`` of pictures that are already in memory on the device: no disk, no rounding to
8 bit, no scoring, no set-up. Within a budget of seconds each batch size gets as many repetitions as fit. For batch 1 these
are LEAST at least, for which a slow method may take STRETCH times the budget, and one however slow it is; how many there
were stands beside every number. Wall-clock never enters a run's own files.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.config.project import Config
from bench.data.dataset import PreparedDataset
from bench.device import autocast, resolve_device
from bench.errors import BenchError
from bench.inversion import machine
from bench.inversion.plan import Overrides, plan_run
from bench.inversion.runner import image_seed, load_method
from bench.store import provenance
from bench.store.paths import RunStore, write_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.api import Method

SWEEP = (1, 4, 16, 64)  # batch sizes tried, 64 on accelerators only
STABLE = 1.10  # warm when the last three calls lie within 10 % of each other
MAX_WARMUP, MAX_SAMPLES = 12, 50
SINGLE_SHARE = 0.6  # of the budget goes to batch 1, the rest in equal parts to the larger ones
WARMUP_SHARE = 0.4  # of a batch size's seconds, at most, is warm-up
LEAST = 3  # repetitions at batch 1: one has no spread, so no ratio of it has an interval
STRETCH = 2.0  # times the budget, at most, for these
FLOPS_UP_TO = 60.0  # seconds a picture: slower methods are not run once more only to be counted
CLOCK_SCOPE = "embed and render of pictures in device memory; no set-up, disk, 8-bit rounding or scoring"


@dataclass
class Stopwatch:
    """Reads a clock only after the device has finished what it was given.

    Args:
        device: what to wait for. clock: seconds, monotonic; tests pass their own.
    """

    device: torch.device
    clock: Callable[[], float] = time.perf_counter

    def read(self) -> float:
        """Return seconds so far, once the device has finished what it was given."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
        return self.clock()


@dataclass
class BatchTiming:
    """All samples of one batch size. Seconds are per call of the whole batch; the medians in ``to_json`` per image."""

    size: int
    warmup: int = 0
    stable: bool = False
    samples: list[tuple[float, float]] = field(default_factory=list)  # (embed, render)
    memory: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Medians per image, images per second, and every sample."""
        totals = [e + r for e, r in self.samples]
        return {
            "size": self.size,
            "repetitions": len(self.samples),
            "warmup": self.warmup,
            "warmup_stable": self.stable,
            "embed_s": median(e for e, _ in self.samples) / self.size,
            "render_s": median(r for _, r in self.samples) / self.size,
            "total_s": median(totals) / self.size,
            "images_per_s": self.size / median(totals),
            "samples": [{"embed_s": e, "render_s": r, "total_s": e + r} for e, r in self.samples],
            "memory": self.memory,
        }


def time_run(
    method_id: str,
    dataset: str,
    config: Config,
    store: RunStore,
    device: str | None = None,
    precision: str | None = None,
    ablation: str | None = None,
) -> Path:
    """Time one method on one dataset and write results/timing/<scope>/<label>/<machine>/<run_id>.json.

    Args:
        device, precision: as in :func:`bench.inversion.plan.plan_run`; None for the profile's.
        ablation: a named variant from ablations.yaml.
    Raises:
        BenchError: what :func:`bench.inversion.plan.plan_run` and loading raise.
    """
    plan = plan_run(config, method_id, dataset, Overrides(ablation=ablation, precision=precision, device=device))
    where = resolve_device(plan.device)
    prepared = PreparedDataset.open(config.root, dataset)
    ids = plan.ids[: config.settings.time.images]
    method = load_method(config.root, plan.method, plan.domain, plan.options, plan.device, plan.precision)
    x = prepared.tensor(ids).to(where)
    seeds = [image_seed(plan.seed, dataset, i) for i in ids]
    started, load = provenance.now(), machine.load_average()
    found = sweep(method, x, seeds, plan.precision, config.settings.time.budget_s)
    threads = machine.threads()
    record = {
        "run_id": plan.run_id,
        "method": plan.method,
        "variant": plan.variant,
        "dataset": dataset,
        "config_hash": plan.config_hash,
        "options": plan.options,
        "clock": CLOCK_SCOPE,
        "device": where.type,
        "device_name": machine.device_name(where),
        "precision": plan.precision,
        "resolution": int(x.shape[-1]),
        "images": list(ids),
        "started": started,
        "load_average": load,
        "threads": threads,
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "parameters": machine.count_parameters(method),
        "flops": count_flops(method, x, seeds, plan.precision, found["batches"][0]["total_s"]),
        "fingerprint": machine.fingerprint(where, plan.precision, threads),
        **found,
    }
    path = store.timing_path(plan.scope, machine.machine_slug(where, plan.precision, threads), plan.run_id)
    write_json(path, record)
    return path


def count_flops(method: Method, x: Tensor, seeds: Sequence[int], precision: str, total_s: float) -> dict[str, Any]:
    """Work for one picture, after the clock has stopped: {"embed", "render"} in FLOP, or {"skipped": reason}.

    Counted by torch.utils.flop_counter: convolutions and matrix products, also of gradients, 2 per multiply-add.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    if total_s > FLOPS_UP_TO:
        return {"skipped": f"one picture takes {total_s:.1f} s"}
    method.context.image_seeds = list(seeds[:1])
    with torch.no_grad(), autocast(x.device, precision):
        with FlopCounterMode(display=False) as embed:
            inversion = method.embed(x[:1])
        with FlopCounterMode(display=False) as render:
            method.render(inversion.w_plus, inversion)
    return {"embed": embed.get_total_flops(), "render": render.get_total_flops()}


def sweep(
    method: Method,
    x: Tensor,
    seeds: Sequence[int],
    precision: str,
    budget_s: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Time batch 1, then larger batches while the budget lasts.

    Args:
        x: (N, 3, R, R) in [-1, 1] on the method's device; batches above N repeat pictures.
        seeds: one per picture. budget_s: seconds for everything, warm-up included.
    Returns:
        {"budget_s", "spent_s", "batches": [...], "skipped": [{"size", "reason"}], "best_batch": size}.
    """
    import torch

    watch = Stopwatch(x.device, clock)
    begin = watch.read()
    done: list[BatchTiming] = []
    skipped: list[dict[str, Any]] = []
    sizes = [b for b in SWEEP if x.device.type != "cpu" or b <= min(16, len(x))]
    for n, size in enumerate(sizes):
        left = budget_s - (watch.read() - begin)
        if done:
            last = done[-1].to_json()
            guess = last["total_s"] * size  # per image it will rather be faster than slower
            if 2 * guess > left:  # a warm-up and one sample
                skipped.append({"size": size, "reason": f"needs about {2 * guess:.1f} s, {max(left, 0):.1f} s left"})
                continue
        share = SINGLE_SHARE * budget_s if not done else left / (len(sizes) - n)
        try:
            must = (1, share) if done else (LEAST, STRETCH * budget_s)
            done.append(time_batch(method, x, seeds, precision, size, share, watch, *must))
        except torch.OutOfMemoryError:  # larger batches would fail too
            if not done:
                raise BenchError("the device has too little memory for one picture", fix="pass --device cpu") from None
            skipped.append({"size": size, "reason": "out of memory"})
            break
    batches = [b.to_json() for b in done]
    best = min(batches, key=lambda b: b["total_s"])
    return {
        "budget_s": budget_s,
        "spent_s": watch.read() - begin,
        "batches": batches,
        "skipped": skipped,
        "best_batch": best["size"],
    }


def time_batch(
    method: Method,
    x: Tensor,
    seeds: Sequence[int],
    precision: str,
    size: int,
    seconds: float,
    watch: Stopwatch,
    least: int = 1,
    stretch: float = 0.0,
) -> BatchTiming:
    """Warm up until stable, then sample, within ``seconds``: at least one call of each, at most MAX_SAMPLES.

    Args:
        least: samples that are taken even beyond ``seconds``, as long as the next is expected to end by ``stretch``.
    """
    timing = BatchTiming(size)
    calls = 0

    def call() -> tuple[float, float]:
        nonlocal calls
        chosen = [(calls * size + k) % len(x) for k in range(size)]
        calls += 1
        return _timed_call(method, x[chosen], [seeds[i] for i in chosen], precision, watch)

    gc.collect()  # before the clock starts: a large heap takes a tenth of a second
    begin = watch.read()
    recent: list[float] = []
    while not timing.stable and timing.warmup < MAX_WARMUP:
        recent = [*recent[-2:], sum(call())]
        timing.warmup += 1
        timing.stable = len(recent) == 3 and max(recent) <= STABLE * min(recent)
        if watch.read() - begin + recent[-1] > WARMUP_SHARE * seconds:
            break
    machine.reset_peak(x.device)
    gc.disable()
    try:
        while len(timing.samples) < MAX_SAMPLES:
            timing.samples.append(call())
            limit = seconds if len(timing.samples) >= least else max(seconds, stretch)
            if watch.read() - begin + sum(timing.samples[-1]) > limit:
                break
    finally:
        gc.enable()
    timing.memory = machine.peak_memory(x.device)
    return timing


def _timed_call(
    method: Method, x: Tensor, seeds: Sequence[int], precision: str, watch: Stopwatch
) -> tuple[float, float]:
    """(embed seconds, render seconds) of one batch."""
    import torch

    method.context.image_seeds = list(seeds)
    with torch.no_grad(), autocast(x.device, precision):
        start = watch.read()
        inversion = method.embed(x)
        middle = watch.read()
        method.render(inversion.w_plus, inversion)
        return middle - start, watch.read() - middle
