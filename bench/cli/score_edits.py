"""``bench score-edits``: edits at matched strength, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import common
from bench.cli.common import open_project, progress, say, show, verb
from bench.config.project import parse_settings


@verb(
    "Edit pictures with a method at the strength that makes the change the profile asks for, and measure: "
    "against the exact target where the dataset is rendered, identity, background, leakage, round trips. "
    "Results go to results/edits/.",
    "bench score-edits --method e4e",
    "bench score-edits --method hfgi --ablation no_ada",
    "bench score-edits --method hfgi --images 8",
    "bench score-edits --method e4e --dataset my_faces --masks my_masks",
)
def command(
    method: common.Method,
    dataset: common.OneDataset = None,
    ablation: common.Ablation = None,
    settings: common.MethodOptions = None,
    variant: Annotated[str | None, typer.Option("--variant", help="Name for your own --set options.")] = None,
    images: Annotated[int | None, typer.Option("--images", help="The first so many, for the profile's number.")] = None,
    masks: Annotated[Path | None, typer.Option("--masks", help="Folder of PNG masks, not 0 in the face.")] = None,
    device: common.Device = None,
    engine: common.Engine = None,
    workers: common.Workers = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    modules = ("bench.edits.score_batch", *common.SCORING)
    project = open_project(root, profile, *modules, device=device, engine=engine, workers=workers, limit=images)
    config, store = project.config, project.store
    from bench.edits.plan import settings_of
    from bench.edits.score_method import nothing_asked, score_edits, told
    from bench.inversion.plan import Overrides, plan_run

    if config.settings.edits is None and not (dataset or settings or variant or images or masks):
        show([nothing_asked(config, store, method, ablation or "")], config.root)
        say(f"profile {config.profile!r} asks for no edits")
        return
    asked = settings_of(config)
    options = Overrides(parse_settings(settings or []), ablation, variant, images, None, None, device)
    plan = plan_run(config, method, dataset or config.settings.datasets[0], options)
    total = (images or asked.images) + (asked.calibration.images if asked.calibration else 0)
    with progress(f"edits {method}", total) as advance:
        written, record = score_edits(
            config,
            store,
            plan,
            images,
            masks,
            project.execution(advance),
        )
    for line in told(record):
        say(f"{method}: {line}")
    show(written, config.root)
