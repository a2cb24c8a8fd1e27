"""params.yaml, profiles/<profile>.yaml and ablations.yaml: what a project runs, validated before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench import registry
from bench.config import stage_lists
from bench.config.sections import Ablation, GateSettings, Params, Profile, _Section
from bench.errors import BenchError, UnknownName, suggest
from bench.files import check_model, load_yaml
from bench.names import check_id, label, parse_label

LOCAL = "local"  # the scope of everything a user runs with settings other than the profile's
ENGINES = ("serial", "processes")
PRECISIONS = ("fp32", "bf16")
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Config:
    """Everything a verb needs to know about a project.

    Args:
        root: the project folder. profile: id of the profile in use. main_profile: the one params.yaml names; only its
            results are written to ``results/summary.csv``.
        methods: ids in the published table. ablations: named variants, all of ablations.yaml.
        settings: the profile's content; its keys are also attributes of this class.
        listed: the methods params.yaml lists, which are those the pipeline has stages for.
        listed_ablations: the ablations it lists, likewise, of those that the profile has.
        ablations_left_out: those that it has not.
        lists: of params.yaml's other lists (``edits``, ``rate_ablations``, ...), what the profile has of each.
        asked_lists: what params.yaml says there.
    """

    root: Path
    profile: str
    main_profile: str
    seed: int
    methods: list[str]
    ablations: dict[str, Ablation]
    settings: Profile
    listed: list[str] = field(default_factory=list)
    listed_ablations: list[str] = field(default_factory=list)
    ablations_left_out: list[str] = field(default_factory=list)
    lists: dict[str, list[str]] = field(default_factory=dict)
    asked_lists: dict[str, list[str]] = field(default_factory=dict)
    gate: GateSettings = GateSettings()

    def __getattr__(self, name: str) -> Any:
        if name in Profile.model_fields and "settings" in self.__dict__:
            return getattr(self.settings, name)
        raise AttributeError(name)

    def pipeline_settings(self) -> list[str]:
        """``key=value`` that params.yaml must be given for the pipeline to run this profile; [] if it has them."""
        switch = [f"profile={self.profile}"] * (self.profile != self.main_profile)
        switch += [f"methods=[{','.join(self.methods)}]"] * (self.methods != self.listed)
        switch += [f"~ablations.{name}" for name in self.ablations_left_out]
        return switch + stage_lists.settings(self.lists, self.asked_lists)

    @property
    def labels(self) -> list[str]:
        """Rows of the profile's tables: the methods, then ``method.variant`` of every listed ablation."""
        return [*self.methods, *(label(self.ablations[name].method, name) for name in self.listed_ablations)]

    def limit_for(self, method: str, variant: str = "") -> int | None:
        """The profile's number of images for a method or a variant of it (all for None)."""
        limits = [self.settings.limits.get(method), self.settings.ablations.limit if variant else None]
        return min((limit for limit in limits if limit is not None), default=None)

    def metrics_for(self, variant: str = "") -> list[str]:
        """The profile's metrics for methods, or for one of its ablations."""
        named = self.settings.ablations.metrics if variant in self.listed_ablations else []
        return named or self.settings.metrics

    def options_for(self, method: str, ablation: str | None = None) -> dict[str, Any]:
        """The profile's overrides for a method, then those of a named variant."""
        options = dict(self.settings.options.get(method, {}))
        if ablation:
            options.update(self.ablation(ablation, method).options)
        return options

    def ablation(self, name: str, method: str | None = None) -> Ablation:
        """The named variant; BenchError if it is unknown or belongs to another method."""
        if name not in self.ablations:
            raise UnknownName.of("ablation", name, self.ablations)
        found = self.ablations[name]
        if method is not None and found.method != method:
            raise BenchError(
                f"ablation {name!r} is not one of method {method!r}",
                got=f"method {found.method!r}",
                fix=f"pass --method {found.method}, or none",
            )
        return found

    def scope_of(self, dataset: str, label: str | None = None) -> str:
        """Where results of ``label`` on ``dataset`` are looked for: the profile if it covers them, else ``local``."""
        covered = dataset in self.settings.datasets and (label is None or label in self.labels)
        return self.profile if covered else LOCAL


def find_root(start: Path | None = None) -> Path:
    """The project folder: ``start`` or the nearest folder above it that holds params.yaml and profiles/."""
    start = Path(start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "params.yaml").is_file() and (folder / "profiles").is_dir():
            return folder
    raise BenchError(
        f"no project in {start} or above it",
        expected="a folder with params.yaml and profiles/",
        fix="go to the project's folder, or pass --root FOLDER",
    )


def check_overrides(config: Config) -> None:
    """Methods and options that the profile overrides exist; read from the methods' sources, none is imported.

    Raises:
        UnknownName: with the nearest name there is. An override nobody reads would change nothing without a word.
    """
    known = registry.methods(config.root).entries()
    where = f"in profiles/{config.profile}.yaml"
    for section, overrides in (("limits", config.settings.limits), ("options", config.settings.options)):
        for method in overrides:
            if method not in known:
                raise UnknownName.of(f"method {where}, {section}:", method, known)
    for method, options in config.settings.options.items():
        declared = known[method].attributes.get("options")
        for key in options:
            if isinstance(declared, Mapping) and key not in declared:  # not a literal: its plan will tell
                raise UnknownName.of(f"option {where}, options of {method}:", key, declared)


def profile_names(root: Path) -> list[str]:
    """List the names of the project's profiles, sorted."""
    return sorted(p.stem for p in (Path(root) / "profiles").glob("*.yaml"))


def load_config(root: Path | None = None, profile: str | None = None) -> Config:
    """Read and validate a project's settings.

    Args:
        root: project folder; None looks from the current one upward.
        profile: overrides the one params.yaml names.
    Raises:
        UnknownName: no such profile. BenchError: a file is missing or breaks a rule.
    """
    root = find_root(root) if root is None else Path(root).resolve()
    params = _parse(Params, root / "params.yaml")
    name = profile or params.profile
    if name not in profile_names(root):
        raise UnknownName.of("profile", name, profile_names(root))
    check_id("profile", name)
    if name == LOCAL:
        raise BenchError(f"a profile cannot be called {LOCAL!r}", fix="rename it: this folder name is for single runs")
    settings = _parse(Profile, root / "profiles" / f"{name}.yaml")
    names = settings.ablations.names
    config = Config(
        root=root,
        profile=name,
        main_profile=params.profile,
        seed=params.seed,
        methods=settings.methods or params.methods,
        ablations=load_ablations(root),
        settings=settings,
        listed=params.methods,
        listed_ablations=[variant for variant in params.ablations if names is None or variant in names],
        ablations_left_out=[variant for variant in params.ablations if names is not None and variant not in names],
        asked_lists={key: list(getattr(params, key)) for key in stage_lists.KEYS},
        gate=params.gate,
    )
    for variant, method in params.ablations.items():
        config.ablation(variant, method)
    for variant in names or ():
        config.ablation(variant)
    for key in stage_lists.OF_VARIANTS:
        for variant, method in getattr(params, key).items():
            config.ablation(variant, method)
    config.lists.update(stage_lists.checked(config, params.methods, list(params.ablations)))
    return config


def load_ablations(root: Path) -> dict[str, Ablation]:
    """The named variants of ablations.yaml ({} without the file)."""
    path = Path(root) / "ablations.yaml"
    raw = _read_yaml(path).get("ablations") or {} if path.is_file() else {}
    if not isinstance(raw, Mapping):
        raise BenchError(
            f"{path} is not valid", got=type(raw).__name__, expected="ablations: {name: {method, options}}"
        )
    found = {}
    for name, entry in raw.items():
        check_id("variant", str(name))
        found[str(name)] = _check(Ablation, entry, path)
    return found


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``["steps=50", "noise=false"]`` -> ``{"steps": 50, "noise": False}``; values are read as YAML."""
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise BenchError("--set cannot be read", got=repr(pair), expected="key=value, e.g. --set steps=50")
        try:
            options[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            options[key.strip()] = text
    return options


def check_label(text: str) -> tuple[str, str]:
    """``"method.variant"`` -> its parts, each a valid id."""
    method, variant = parse_label(text)
    check_id("method", method)
    if variant:
        check_id("variant", variant)
    return method, variant


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BenchError(f"{path} is missing", fix="run inside a project, or pass --root FOLDER")
    raw = load_yaml(path, raises=BenchError)
    if not isinstance(raw, dict):
        raise BenchError(f"{path} is not a mapping", got=type(raw).__name__, expected="key: value lines")
    return raw


def _parse(model: type[_Section], path: Path) -> Any:
    return _check(model, _read_yaml(path), path)


def _check(model: type[_Section], raw: Any, path: Path) -> Any:
    """Validate; an unknown key is answered with the nearest known one."""
    if isinstance(raw, dict):
        for key in raw:
            if key not in model.model_fields:
                close = suggest(str(key), model.model_fields)
                raise BenchError(
                    f"{path} has an unknown key",
                    got=repr(key),
                    expected=f"one of: {', '.join(model.model_fields)}",
                    fix=f"did you mean {close[0]!r}?" if close else "remove it",
                )
    return check_model(raw, path, model, raises=BenchError)
