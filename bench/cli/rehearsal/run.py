"""The rehearsal itself, step by step, each with its time and the most memory the process has held so far."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import registry
from bench.api import DatasetInfo
from bench.cli.rehearsal import files, marking, project
from bench.config.project import Config, load_config
from bench.errors import BenchError
from bench.inversion.plan import plan_run
from bench.planning.required_weights import metric_weights, weights_needed
from bench.store import provenance
from bench.store.paths import RunStore, write_json
from bench.weights import fetch
from bench.weights.listing import PublishedList, declared, read_published

SAY = Callable[[str], None]


@dataclass
class Step:
    """One step: seconds by the clock and of processor time (all cores), peak memory of the process after it (GiB)."""

    what: str
    seconds: float
    cpu_s: float
    peak_gib: float


@dataclass
class Rehearsal:
    """What was done. ``left_out``: method or metric id -> why it was not part of it."""

    root: Path
    steps: list[Step] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reports: list[Path] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps)

    @property
    def cpu_s(self) -> float:
        return sum(step.cpu_s for step in self.steps)

    @property
    def peak_gib(self) -> float:
        return max((step.peak_gib for step in self.steps), default=0.0)


def peak_gib() -> float:
    """Most memory (resident set, mapped files included) this process has held; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 30 if sys.platform == "darwin" else 1 << 20)


def processor_seconds() -> float:
    """Processor time of this process, all threads, and of its finished children: what other work cannot stretch."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def rehearse(
    config: Config, domain: str, into: Path, images: int = 2, methods: Sequence[str] | None = None, say: SAY = print
) -> Rehearsal:
    """Run a profile from published files to the report, in a project folder of its own.

    Args:
        config: the real project with the profile to rehearse; nothing in it is changed.
        domain: whose published generator and encoders are filled by rule.
        into: folder of the rehearsal; finished steps in it are not done again.
        images: pictures to invert. methods: ids; None takes all that can run in the domain.
    Raises:
        BenchError: no such published domain; ``into`` holds something else; a step fails.
    """
    known = read_published(config.root)
    if domain not in known.domains:
        raise BenchError(
            f"domain {domain!r} has no published generator", expected=f"one of: {', '.join(known.domains) or 'none'}"
        )
    if into.resolve() == config.root:
        raise BenchError("a rehearsal needs a folder of its own", got=str(into), fix="choose another --into")
    size = known.domains[domain].resolution
    chosen, left_out = able(config, DatasetInfo(project.DATASET, domain, size, images), known, methods)
    metrics, without = able_metrics(config, known)
    left_out.update(without)
    options = {m: options_of(config, m) for m in chosen}
    ids = [i for i in weights_needed(config, [domain], options, metrics) if i in known.ids]
    root = project.create(config, into, project.without_hashes(known, ids), options, metrics)
    done = Rehearsal(root, left_out=left_out)
    registry.forget()  # the new folder may hold plug-ins of the project
    for weights_id in ids:
        with _step(done, f"file and conversion: {weights_id}", say):
            done.notes += bring(root, weights_id)
    with _step(done, "comparison of generator copies", say):
        done.notes += fetch.compare_all(root)
    there = load_config(root)
    with _step(done, f"{images} pictures of {size} px", say):
        project.prepare_images(there, domain, size, images)
    _results(there, chosen, done, say)
    steps = [{"step": s.what, **{k: round(v, 2) for k, v in asdict(s).items() if k != "what"}} for s in done.steps]
    write_json(root / project.STEPS, {"steps": steps, "machine": provenance.machine(), "left_out": done.left_out})
    return done


def able(
    config: Config, dataset: DatasetInfo, known: PublishedList, requested: Sequence[str] | None
) -> tuple[list[str], dict[str, str]]:
    """Methods that can take part, those of the published table first, and why the others cannot."""
    adapters = registry.methods(config.root)
    for name in requested or []:
        adapters.entry(name)
    names = requested or [*config.methods, *(n for n in adapters.names() if n not in config.methods)]
    chosen: list[str] = []
    left_out: dict[str, str] = {}
    for name in names:
        try:
            reason = adapters.load(name).skip(dataset) or _no_stand_in(adapters.load(name), dataset.domain, known)
        except BenchError as error:
            reason = str(error)
        if reason:
            left_out[name] = reason
        else:
            chosen.append(name)
    if not chosen:
        raise BenchError("no method can take part", got="; ".join(f"{k}: {v}" for k, v in left_out.items()))
    return chosen, left_out


def _no_stand_in(cls: Any, domain: str, known: PublishedList) -> str | None:
    """None, or which of a method's weights cannot be filled by rule."""
    for weights_id in declared(cls.weights, domain):
        if weights_id not in known.ids:
            return f"{weights_id} is no published file"
        if reason := files.can_stand_in(known.entry(weights_id)):
            return f"{weights_id}: {reason}"
    return None


def able_metrics(config: Config, known: PublishedList) -> tuple[list[str], dict[str, str]]:
    """Metrics of the profile that can take part, and why the others cannot."""
    entries, chosen, left_out = registry.metrics(config.root).entries(), [], {}
    for name in config.settings.metrics:
        ids = metric_weights(config, [name]).get(name, [])
        reasons = [f"{i}: {why}" for i in ids if i in known.ids and (why := files.can_stand_in(known.entry(i)))]
        reasons += [entries[name].error] if name in entries and entries[name].error else []
        if reasons:
            left_out[name] = "; ".join(reasons)
        else:
            chosen.append(name)
    if not chosen:
        raise BenchError("no metric can take part", got="; ".join(f"{k}: {v}" for k, v in left_out.items()))
    return chosen, left_out


def options_of(config: Config, method: str) -> dict[str, Any]:
    """The profile's options of a method; methods that optimise for each picture do so quickly."""
    cls = registry.methods(config.root).load(method)
    return {**config.options_for(method), **(cls.quick if cls.cost == "slow" else {})}


def bring(root: Path, weights_id: str) -> list[str]:
    """Write one set of files in the published layout and take it as ``bench fetch --from`` does; remarks.

    The originals are removed after conversion, so that the disk holds at most one of them.
    """
    from bench.weights import load

    if load.status(root, weights_id) == "present":
        return [f"{weights_id}: already here"]
    entry = read_published(root).entry(weights_id)
    folder = root / "published_files"
    try:
        for file in entry.files:
            files.write_file(entry, file, folder)
        return fetch.fetch(root, weights_id, folder)
    finally:
        for path in [folder / file.name for file in entry.files]:
            path.unlink(missing_ok=True)


def _results(config: Config, methods: Sequence[str], done: Rehearsal, say: SAY) -> None:
    """Runs, scores, times, means, tables and figures."""
    from bench.analysis.summary import aggregate
    from bench.inversion.runner import run
    from bench.inversion.timing import time_run
    from bench.report import build
    from bench.scoring.score_run import score_run

    store = RunStore(config.root, config.main_profile)
    for name in methods:
        with _step(done, f"run: {name}", say):
            result = run(plan_run(config, name, project.DATASET), overwrite=True)
        done.notes += [f"{name} failed on {i}: {why}" for i, why in result["failures"].items()]
    for name in methods:
        with _step(done, f"score: {name}", say):
            scored = score_run(config, store, config.profile, name, "", project.DATASET, device="cpu")
        done.left_out.update(scored.missing)
    for name in methods:
        with _step(done, f"time: {name}", say):
            time_run(name, project.DATASET, config, store)
    with _step(done, "means, tables and figures, marked", say):
        aggregate(store, config.profile, config)
        done.reports = build(config.root, config.profile, config)
        marking.mark_reports(store.reports_dir(config.profile))


@contextmanager
def _step(done: Rehearsal, what: str, say: SAY) -> Iterator[None]:
    begin, busy = time.perf_counter(), processor_seconds()
    yield
    step = Step(what, time.perf_counter() - begin, processor_seconds() - busy, peak_gib())
    done.steps.append(step)
    say(f"{step.seconds:7.1f} s, {step.cpu_s:7.1f} s of processor, peak {step.peak_gib:5.2f} GiB  {what}")
