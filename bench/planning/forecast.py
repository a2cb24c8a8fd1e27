"""What a profile would run, what it lacks, and what it would take: nothing is computed, downloaded or written."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any

from bench import registry
from bench.config.project import Config
from bench.data.dataset import PreparedPaths
from bench.data.manifest import Manifest, load_manifest
from bench.device import resolve_device
from bench.directions.files import published
from bench.errors import BenchError, message_of
from bench.files import load_yaml, read_json
from bench.names import parse_label
from bench.planning import time_estimate
from bench.planning.required_weights import profile_needs
from bench.store.paths import RunStore
from bench.weights import manifest as weights
from bench.weights.listing import read_published

PNG_BYTES = 0.5  # per channel value of a photograph at the compression used here; 0.38 to 0.46 on enlarged photographs
CODE_BYTES = 512 * 4  # per layer
PIPELINE_COPIES = 2  # the result and its copy in DVC's cache


@dataclass(frozen=True)
class Lack:
    """Something that is not there. ``kind``: data, weights, method, metric, direction or disk."""

    kind: str
    what: str
    fix: str


@dataclass(frozen=True)
class PlannedRun:
    """One row of the table (``method`` or ``method.variant``) on one dataset.

    ``state``: of its results (absent, partial, complete). ``seconds``: a picture.
    """

    label: str
    dataset: str
    images: int
    state: str
    seconds: float | None
    source: str
    measured: bool

    @property
    def hours(self) -> float | None:
        """Estimated hours of the run; None if nothing like it was timed."""
        return None if self.seconds is None else self.seconds * self.images / 3600


@dataclass
class Forecast:
    """Everything ``bench plan`` says. Bytes and hours are estimates.

    Args:
        stages: names of dvc.yaml with the number of methods each runs for, empty without that file.
        disk: what it is for -> bytes still to be written. hours: stage -> hours; None where nothing is known.
    """

    profile: str
    protocol: str
    device: str
    metrics: list[str]
    stages: dict[str, int]
    runs: list[PlannedRun]
    lacks: list[Lack] = field(default_factory=list)
    disk: dict[str, int] = field(default_factory=dict)
    free_bytes: int = 0
    hours: dict[str, float | None] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether nothing is lacking."""
        return not self.lacks

    def to_json(self) -> dict[str, Any]:
        """Return the forecast as a dict for ``bench plan --json``."""
        runs = [{**asdict(run), "hours": run.hours} for run in self.runs]
        return {**asdict(self), "runs": runs, "ready": self.ready}


def forecast(config: Config) -> Forecast:
    """Look at a profile without running any of it.

    Raises:
        UnknownName: it names a dataset there is not. BenchError: a file it depends on breaks a rule.
    """
    device = resolve_device(config.settings.device).type
    manifests = [load_manifest(config.root, d, allow_empty=True) for d in config.settings.datasets]
    plan = Forecast(
        config.profile,
        config.settings.protocol,
        device,
        list(config.settings.metrics),
        _stages(config),
        [_planned(config, m, label, device) for m in manifests for label in config.labels],
    )
    plan.lacks = [*_lacking_data(config, manifests), *_lacking_methods(config, manifests)]
    plan.lacks += [*_lacking_weights(config), *_lacking_metrics(config), *_lacking_directions(config)]
    plan.disk = {k: v for k, v in _disk(config, manifests, plan.runs).items() if v}
    plan.free_bytes = shutil.disk_usage(config.root).free
    if sum(plan.disk.values()) > plan.free_bytes:
        plan.lacks.append(Lack("disk", f"{gigabytes(sum(plan.disk.values()) - plan.free_bytes)} of space", "free some"))
    _hours(config, manifests, plan)
    return plan


def gigabytes(count: float) -> str:
    """Format a number of bytes in GB or MB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def _stages(config: Config) -> dict[str, int]:
    path = config.root / "dvc.yaml"
    if not path.is_file():
        return {}
    pipeline = load_yaml(path, fix="correct it", raises=BenchError)
    try:
        stages = pipeline.get("stages", {})
        each = {"ablations": config.listed_ablations, **config.lists}  # foreach: ${ablations}
        found = {}
        for name, stage in stages.items():
            key = str(stage.get("foreach", "")).strip("${}")
            found[name] = len(config.methods) if "matrix" in stage else len(each[key]) if key in each else 1
        return found
    except (AttributeError, TypeError) as error:
        raise BenchError(f"{path} cannot be read", got=message_of(error), fix="correct it") from None


def _planned(config: Config, manifest: Manifest, label: str, device: str) -> PlannedRun:
    method, variant = parse_label(label)
    limit = config.limit_for(method, variant)
    images = min(manifest.count, limit) if limit else manifest.count
    run = RunStore(config.root, config.main_profile).run(config.profile, method, manifest.id, variant)
    entries = registry.methods(config.root).entries()
    defaults = entries[method].attributes.get("options", {}) if method in entries else {}
    options = {**defaults, **config.options_for(method, variant or None)}
    took = time_estimate.seconds_of(config.root, method, options, manifest.resolution, device)
    if took is None:
        return PlannedRun(label, manifest.id, images, run.state(), None, "not known", False)
    return PlannedRun(label, manifest.id, images, run.state(), took.value, took.source, took.measured)


def _lacking_data(config: Config, manifests: list[Manifest]) -> list[Lack]:
    lacks = []
    for manifest in manifests:
        done = PreparedPaths.of(config.root, manifest.id).done
        if done.is_file() and read_json(done).get("manifest_sha256") == manifest.sha256:
            continue
        command = f"bench prepare --dataset {manifest.id}" + (" --images DIR" if manifest.numbers else "")
        what = f"{manifest.id}, {manifest.count} pictures of {manifest.resolution} px"
        lacks.append(Lack("data", what, command))
    return lacks


def _lacking_methods(config: Config, manifests: list[Manifest]) -> list[Lack]:
    """Methods that are not there, cannot be imported by their source, or have no weights for a dataset's domain."""
    entries, lacks = registry.methods(config.root).entries(), []
    for method in config.methods:
        entry = entries.get(method)
        if entry is None or entry.error:
            lacks.append(Lack("method", f"{method}: {entry.error if entry else 'no such file'}", "bench ls methods"))
            continue
        domains = entry.attributes.get("weights", {})
        for manifest in manifests:
            if domains and manifest.domain not in domains:
                why = f"{method} has no weights for {manifest.domain}, the domain of {manifest.id}"
                lacks.append(Lack("method", why, f"take it out of the methods of profile {config.profile}"))
    return lacks


def _lacking_directions(config: Config) -> list[Lack]:
    """Published files of directions that scored edits go along."""
    asked = config.settings.edits.directions if config.settings.edits else {}
    files = dict.fromkeys(found[0] for name in asked if (found := published(config.root, name)))
    fix = "copy it to weights/directions/ from the release that has it (docs/editing.md)"
    return [Lack("direction", path.name, fix) for path in files if not path.is_file()]


def _lacking_weights(config: Config) -> list[Lack]:
    known, lacks = read_published(config.root), []
    for weights_id, users in profile_needs(config).items():
        who = ", ".join(users)
        try:
            state = weights.status(config.root, weights_id)
        except BenchError:
            lacks.append(Lack("weights", f"{weights_id} for {who}: not listed", "bench ls weights"))
            continue
        if state == "absent":
            size = known.entry(weights_id).about_bytes
            about = f"about {gigabytes(size)}" if size else "size unknown"
            lacks.append(Lack("weights", f"{weights_id} for {who}, {about}", f"bench fetch {weights_id}"))
        elif state == "missing":
            lacks.append(Lack("weights", f"{weights_id} for {who}: its file is gone", "git checkout -- weights"))
    return lacks


def _lacking_metrics(config: Config) -> list[Lack]:
    """Metrics that are not there or whose packages are not installed; their weights are with the other weights."""
    entries, lacks = registry.metrics(config.root).entries(), []
    for metric in config.settings.metrics:
        entry = entries.get(metric)
        if entry is None or entry.error:
            lacks.append(Lack("metric", f"{metric}: {entry.error if entry else 'no such file'}", "bench ls metrics"))
            continue
        gone = [name for name in entry.attributes.get("packages", ()) if find_spec(name) is None]
        if gone:
            extra = entry.attributes.get("extra", "") or "all"
            lacks.append(Lack("metric", f"{metric} needs {', '.join(gone)}", f"pip install 'hfgi-bench[{extra}]'"))
    return lacks


def _disk(config: Config, manifests: list[Manifest], runs: list[PlannedRun]) -> dict[str, int]:
    """What is still to be written, by kind. Downloads are removed once converted, so the largest counts once more."""
    known = read_published(config.root)
    absent = [
        known.entry(i).about_bytes
        for i in profile_needs(config)
        if i in known.ids and weights.status(config.root, i) == "absent"
    ]
    side = {m.id: m.resolution for m in manifests}
    pictures = sum(
        m.count * _picture(m.resolution) for m in manifests if not PreparedPaths.of(config.root, m.id).done.is_file()
    )
    results = sum(
        run.images * (_picture(side[run.dataset]) + _codes(side[run.dataset]))
        for run in runs
        if run.state != "complete"
    )
    return {
        "weights": sum(absent),
        "largest download, until converted": max(absent, default=0),
        "prepared pictures": pictures,
        "inversions and codes": results,
        "their copies in DVC's cache": results * (PIPELINE_COPIES - 1),
    }


def _picture(side: int) -> int:
    return int(side * side * 3 * PNG_BYTES)


def _codes(side: int) -> int:
    return (2 * (side.bit_length() - 1) - 2) * CODE_BYTES


def _hours(config: Config, manifests: list[Manifest], plan: Forecast) -> None:
    """Hours of what is not there yet; a stage with a part of unknown cost has no number."""
    todo = [run for run in plan.runs if run.state != "complete"]
    known = [run.hours for run in todo if run.hours is not None]
    plan.hours["run"] = sum(known) if len(known) == len(todo) else None
    side = {m.id: m.resolution for m in manifests}
    scoring = 0.0
    for run in todo:
        metrics = config.metrics_for(parse_label(run.label)[1])
        took = time_estimate.score_seconds(config.root, metrics, side[run.dataset], plan.device)
        if took is None:
            plan.hours["score"] = None
            break
        scoring += took.value * run.images / 3600
        plan.sources["score"] = took.source
    else:
        plan.hours["score"] = scoring
    clocks = [max(config.settings.time.budget_s, 2 * (run.seconds or 0)) for run in plan.runs]
    plan.hours["time"] = sum(clocks) / 3600 if all(run.seconds is not None for run in plan.runs) else None
