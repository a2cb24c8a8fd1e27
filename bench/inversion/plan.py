"""What a run will do, settled and checked before anything is computed: the same plan has the same hash everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.config.project import LOCAL, PRECISIONS, Config, check_label
from bench.data.manifest import Manifest, dataset_ids, load_manifest
from bench.errors import BenchError, UnknownName
from bench.names import config_hash, label, run_id
from bench.predictors import landmarks
from bench.store.paths import Run, RunStore
from bench.store.provenance import code_sha256, ids_sha256, versions
from bench.weights import manifest as weights

if TYPE_CHECKING:
    from bench.api import Method


@dataclass(frozen=True)
class Overrides:
    """What a user asked for beside the profile. Any of these makes a run local, save those that move no number.

    Args:
        options: ``--set``. ablation: a name in ablations.yaml. variant: a name for the user's own settings.
        limit, precision: as on the command line, None for the profile's.
        batch_size, device: change how a run is computed, not what; they do not make it local.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    ablation: str | None = None
    variant: str | None = None
    limit: int | None = None
    precision: str | None = None
    batch_size: int | None = None
    device: str | None = None


@dataclass(frozen=True, eq=False)
class RunPlan:
    """One method on one dataset, fully resolved. Picklable: worker processes get it whole.

    Args:
        config: everything that fixes the numbers; ``config_hash`` is its hash.
        weights: weights id -> sha256, generator included.
        batch_asked: the user named the batch size, which an accelerator then takes as it is.
    """

    root: Path
    main_scope: str
    scope: str
    method: str
    variant: str
    dataset: str
    domain: str
    ids: tuple[str, ...]
    options: dict[str, Any]
    seed: int
    precision: str
    device: str
    batch_size: int
    shard_size: int
    weights: dict[str, str]
    config: dict[str, Any]
    config_hash: str
    batch_asked: bool = False

    @property
    def run_id(self) -> str:
        """Id of the run: method, dataset and variant."""
        return run_id(self.method, self.dataset, self.variant)

    @property
    def run(self) -> Run:
        """The folder the results go to."""
        return RunStore(self.root, self.main_scope).run(self.scope, self.method, self.dataset, self.variant)

    def record(self) -> dict[str, Any]:
        """The head of run.json: deterministic, nothing of clock or machine."""
        return {
            "run_id": self.run_id,
            "method": self.method,
            "variant": self.variant,
            "dataset": self.dataset,
            "config": self.config,
            "config_hash": self.config_hash,
            "weights": self.weights,
            "versions": versions(),
        }


def plan_run(config: Config, method: str, dataset: str, asked: Overrides | None = None) -> RunPlan:
    """Resolve and check a run.

    Raises:
        UnknownName: method, dataset, ablation or option. BenchError: a limit, precision or combination that cannot
            be; the method declines the dataset. WeightsError: what it needs is not there.
    """
    asked = asked or Overrides()
    known = registry.methods(config.root)
    cls = known.load(method)
    manifest = load_manifest(config.root, dataset)
    decline(config, method, cls, manifest)
    variant = asked.variant or asked.ablation or ""
    check_label(label(method, variant))
    here = cls.domain_options.get(manifest.domain, {})
    options = resolve_options(cls, method, {**here, **config.options_for(method, asked.ablation), **asked.options})
    precision = asked.precision or config.settings.precision
    if precision not in PRECISIONS:
        raise BenchError(f"unknown precision {precision!r}", expected=" or ".join(PRECISIONS))
    if asked.batch_size is not None and asked.batch_size < 1:
        raise BenchError("--batch-size must be positive", got=asked.batch_size, expected="1 or more")
    scope = scope_of_run(config, method, dataset, asked)
    limit = asked.limit if asked.limit is not None or scope == LOCAL else config.limit_for(method, asked.ablation or "")
    ids = tuple(manifest.select(limit))
    needed = weights.needed(config.root, manifest.domain, cls.weights, options)
    code = [path for path in (known.entry(method).path, landmarks_file(config.root, options, manifest.domain)) if path]
    settings = {
        "method": method,
        "variant": variant,
        "dataset": dataset,
        "manifest_sha256": manifest.sha256,
        "images": len(ids),
        "ids_sha256": ids_sha256(ids),
        "options": options,
        "seed": config.seed,
        "precision": precision,
        "shard_size": config.settings.shard_size,
        "weights": needed,
        "code_sha256": code_sha256(code),
    }
    return RunPlan(
        root=config.root,
        main_scope=config.main_profile,
        scope=scope,
        method=method,
        variant=variant,
        dataset=dataset,
        domain=manifest.domain,
        ids=ids,
        options=options,
        seed=config.seed,
        precision=precision,
        device=asked.device or config.settings.device,
        batch_size=asked.batch_size or config.settings.batch_size,
        shard_size=config.settings.shard_size,
        weights=needed,
        config=settings,
        config_hash=config_hash(settings),
        batch_asked=asked.batch_size is not None,
    )


def landmarks_file(root: Path, options: Mapping[str, Any], domain: str) -> Path | None:
    """The file of the landmark source that options name, where it is not one of this suite's."""
    name, known = landmarks.chosen(options, domain), registry.landmarks(root)
    return known.entry(name).path if name in known.names() else None


def scope_of_run(config: Config, method: str, dataset: str, asked: Overrides) -> str:
    """The profile's scope for exactly what the profile says, ``local`` for anything else."""
    private = asked.options or asked.variant or asked.limit is not None
    private = private or asked.precision not in (None, config.settings.precision)
    return LOCAL if private else config.scope_of(dataset, label(method, asked.ablation or ""))


def decline(config: Config, method: str, cls: type[Method], manifest: Manifest) -> None:
    """Raise the method's own reason not to run on a dataset, with the datasets it would run on."""
    reason = cls.skip(manifest.info)
    if reason is None:
        return
    able = []
    for name in dataset_ids(config.root):
        try:
            other = load_manifest(config.root, name, allow_empty=True).info
        except BenchError:
            continue
        if cls.skip(other) is None:
            able.append(name)
    raise BenchError(
        f"method {method!r} cannot run on {manifest.id!r}",
        got=reason,
        fix=f"choose one of: {', '.join(able)}" if able else "bring weights for its domain into weights/manifest.yaml",
    )


def resolve_options(cls: type[Method], method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults with overrides; names are checked, types against those of the defaults, numbers against ``lowest``.

    Raises:
        UnknownName: no such option. BenchError: a value of another type than the default's, or too small.
    """
    resolved = dict(cls.options)
    for key, value in given.items():
        if key not in resolved:
            raise UnknownName.of(f"option of method {method!r}", key, resolved)
        default, named = resolved[key], f"option {key!r} of method {method!r}"
        if not _fits(value, default):
            got = "null" if value is None else f"{value!r} ({type(value).__name__})"
            raise BenchError(
                f"{named} has the wrong type",
                got=got,
                expected=f"{type(default).__name__}, like its default {default!r}",
                fix="leave it out for the default",
            )
        if key in cls.lowest and value < cls.lowest[key]:
            raise BenchError(
                f"{named} is too small",
                got=value,
                expected=f"{cls.lowest[key]} or more; default {default!r}",
                fix="leave it out for the default",
            )
        resolved[key] = float(value) if isinstance(default, float) and isinstance(value, int) else value
    return resolved


def _fits(value: Any, default: Any) -> bool:
    """The value could be a default in place of ``default``; an int may stand for a float, null for null alone."""
    if default is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float)) and math.isfinite(value)
    if isinstance(default, (list, tuple)):
        return isinstance(value, (list, tuple)) and all(_fits(v, default[0]) for v in value if default)
    return isinstance(value, type(default))
