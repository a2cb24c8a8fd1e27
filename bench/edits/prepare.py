"""What edits need before any method is asked: calibration images and exact targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.config.project import Config
from bench.data.dataset import PreparedPaths
from bench.data.prepare import prepare
from bench.edits.plan import plan_targets
from bench.edits.results import targets_path
from bench.edits.targets import render_targets
from bench.engine import Execution
from bench.store.paths import RunStore, write_json


def prepare_edits(config: Config, store: RunStore, execution: Execution) -> tuple[Path, dict[str, Any]]:
    """Prepare the calibration images, render all exact targets and record what is asked for and what they are.

    Stages that edit depend on this record, and so on the settings in it.

    Returns:
        targets.json; what :func:`bench.edits.targets.render_targets` says; empty where the profile asks for no edits, or
        for fixed degrees.
    """
    path = targets_path(store, config.profile)
    found: dict[str, Any] = {}
    settings = config.settings.edits
    if settings is not None and settings.calibration is not None:
        if not PreparedPaths.of(config.root, settings.calibration.dataset).done.is_file():
            prepare(config, settings.calibration.dataset, execution=execution)
        plan = plan_targets(config, config.settings.datasets[0])
        found = render_targets(config.root, plan.rendered, plan.edits, execution)
    path.parent.mkdir(parents=True, exist_ok=True)
    asked = settings.model_dump(mode="json") if settings else None
    write_json(path, {"settings": {"edits": asked}, "targets": found})
    return path, found
