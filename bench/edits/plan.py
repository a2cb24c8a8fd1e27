"""What a scoring of edits will do, settled and checked before anything is computed: the edits, the images, the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import registry
from bench.config.project import Config
from bench.config.sections import EditSettings
from bench.data.manifest import Manifest, load_manifest
from bench.directions import files
from bench.edits.targets import Wanted
from bench.errors import BenchError
from bench.predictors.attributes import judge
from bench.scoring.build import lacking
from bench.weights import manifest as weights


@dataclass(frozen=True, eq=False)
class EditPlan:
    """Edits on the images of one dataset, fully resolved; made once and passed down.

    Args:
        root: project folder.
        settings: of the edits, as the profile has them.
        edits: to score, in the profile's order.
        dataset: whose images are scored.
        domain: of the dataset.
        ids: images to score.
        calibration: dataset that strengths are matched on; "" under fixed degrees.
        calibration_ids: images that strengths are matched on.
        rendered: dataset -> those of these images that can have an exact target.
        usable: the settings with the metrics that can be computed here.
        missing: metric -> the command that brings what it lacks here.
        predictor: weights id -> SHA-256 of the attribute predictor; {} under fixed degrees.
    """

    root: Path
    settings: EditSettings
    edits: tuple[Wanted, ...]
    dataset: str
    domain: str
    ids: list[str]
    calibration: str
    calibration_ids: list[str]
    rendered: Mapping[str, list[str]]
    usable: EditSettings
    missing: Mapping[str, str] = field(default_factory=dict)
    predictor: Mapping[str, str] = field(default_factory=dict)

    @property
    def targets_are_exact(self) -> bool:
        """Whether scored images can have an exact target, and strengths are matched."""
        return bool(self.calibration) and self.dataset in self.rendered

    @property
    def calibrated_on_targets(self) -> bool:
        """Whether calibration images can have an exact target."""
        return self.calibration in self.rendered


def plan_targets(
    config: Config, dataset: str, images: int | None = None, settings: EditSettings | None = None
) -> EditPlan:
    """Settle edits and images, without a look at predictor and metrics: enough to render exact targets.

    Args:
        dataset: whose images are scored.
        images: how many of its first images are scored; None for the profile's number.
        settings: of the edits; None for the profile's.
    Raises:
        UnknownName: a direction or dataset. BenchError: no settings of edits, an image would be both scored and
            calibrated on, or a direction does not say which attribute it moves.
    """
    settings = settings or settings_of(config)
    scored = load_manifest(config.root, dataset)
    manifests = [scored]
    ids = {dataset: list(scored.select(images or settings.images))}
    calibration = ""
    if settings.calibration is not None:
        calibration = settings.calibration.dataset
        other = load_manifest(config.root, calibration)
        manifests.append(other)
        held = list(other.select(settings.calibration.images))
        check_apart(scored, ids[dataset], other, held)
        ids[calibration] = held
    return EditPlan(
        root=config.root,
        settings=settings,
        edits=tuple(wanted_edits(config.root, scored.domain, settings)),
        dataset=dataset,
        domain=scored.domain,
        ids=ids[dataset],
        calibration=calibration,
        calibration_ids=ids.get(calibration, []),
        rendered={manifest.id: ids[manifest.id] for manifest in manifests if manifest.render is not None},
        usable=settings,
    )


def plan_edits(config: Config, dataset: str, images: int | None = None) -> EditPlan:
    """Settle all that scoring edits needs: :func:`plan_targets`, the predictor and the metrics.

    Raises:
        UnknownName: also a predictor or metric. BenchError: also a predictor that labelled one of the directions.
    """
    plan = plan_targets(config, dataset, images)
    usable, missing = usable_metrics(config.root, plan.settings)
    predictor = check_judge(config.root, plan.domain, plan.settings)
    return replace(plan, usable=usable, missing=missing, predictor=predictor)


def settings_of(config: Config) -> EditSettings:
    """The profile's ``edits``.

    Raises:
        BenchError: it has none.
    """
    if config.settings.edits is None:
        raise BenchError(
            f"profile {config.profile!r} asks for no edits", expected="a key `edits`", fix="see docs/editing.md"
        )
    return config.settings.edits


def wanted_edits(root: Path, domain: str, settings: EditSettings) -> list[Wanted]:
    """All edits to score, in the profile's order; under fixed degrees, of no attribute.

    Raises:
        UnknownName: a direction. BenchError: one that does not say which attribute it moves.
    """
    found = []
    for name, changes in settings.directions.items():
        about = files.find(root, domain, name).about
        if settings.policy == "fixed":
            about = {"attribute": ""}
        if "attribute" not in about:
            raise BenchError(
                f"direction {name!r} was not made for an attribute, so its strength cannot be matched",
                fix="take one of `bench directions --method interfacegan`, or `policy: fixed` with degrees",
            )
        found += [Wanted(name, str(about["attribute"]), change) for change in changes]
    return found


def usable_metrics(root: Path, settings: EditSettings) -> tuple[EditSettings, dict[str, str]]:
    """Settings with the metrics that can be computed here; metric -> the command that brings what another lacks."""
    known = registry.metrics(root)
    names = [*settings.metrics, *settings.sets]
    if settings.identity:
        names.append(settings.identity)
    missing = {}
    for name in dict.fromkeys(names):
        why = lacking(root, known.load(name))
        if why:
            missing[name] = why
    left = {
        "metrics": [name for name in settings.metrics if name not in missing],
        "sets": [name for name in settings.sets if name not in missing],
        "identity": "" if settings.identity in missing else settings.identity,
    }
    return settings.model_copy(update=left), missing


def check_judge(root: Path, domain: str, settings: EditSettings) -> dict[str, str]:
    """Refuse an attribute predictor that labelled one of the directions: the direction was fitted to its labels.

    Returns:
        weights id -> SHA-256 of the predictor; {} under fixed degrees, which need none.
    Raises:
        UnknownName: no such predictor. BenchError: it labelled a direction.
    """
    import torch

    if settings.policy == "fixed":
        return {}
    used = judge(root, domain, torch.device("cpu"), settings.judge)[1]
    for name in settings.directions:
        of_set = files.find(root, domain, name).about.get("weights")
        labelled_with = weights.load_with_meta(root, str(of_set))[1].get("made_with", {}) if of_set else {}
        shared = set(used) & set(labelled_with)
        if shared:
            raise BenchError(
                f"the judge of edits labelled direction {name!r}",
                got=f"weights {sorted(shared)[0]!r} in both",
                expected="another judge",
                fix="name one under `edits: judge`",
            )
    return used


def check_apart(scored: Manifest, ids: Sequence[str], calibration: Manifest, held: Sequence[str]) -> None:
    """Refuse to calibrate on an image that is also scored.

    Args:
        scored, ids: the dataset that is scored, and which of its images.
        calibration, held: the dataset that strengths are matched on, and which of its images.
    Raises:
        BenchError: equal pixels are in both.
    """
    here, there = scored.pixel_hashes(), calibration.pixel_hashes()
    shared = {here[i] for i in ids} & {there[i] for i in held}
    if shared:
        raise BenchError(
            f"{len(shared)} pictures would be scored and calibrated on",
            got=f"datasets {scored.id!r} and {calibration.id!r}",
            expected="no picture in both",
            fix="name another dataset under `edits: calibration`",
        )
