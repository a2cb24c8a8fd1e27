"""``bench score-video``: clips inverted and edited frame by frame, measured."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli import common
from bench.cli.common import open_project, progress, say, show, verb


@verb(
    "Invert and edit the profile's clips frame by frame and measure: fidelity, flicker after true and "
    "estimated motion, identity drift. Results go to results/video/.",
    "bench score-video --method e4e",
    "bench score-video --method hfgi --ablation no_ada",
)
def command(
    method: Annotated[str, typer.Option("--method", help="Method id; `bench ls methods` shows all.")],
    ablation: Annotated[str | None, typer.Option("--ablation", help="A named variant from ablations.yaml.")] = None,
    device: common.Device = None,
    engine: common.Engine = None,
    workers: common.Workers = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    common.check_options(device=device, engine=engine, workers=workers)
    config, store = open_project(root, profile)
    common.make_ready(config, engine, "bench.video.score_method", *common.SCORING)
    from bench.inversion.plan import Overrides, plan_run
    from bench.video.score_method import nothing_asked, score_video, told

    if config.settings.video is None:
        show([nothing_asked(config, store, method, ablation or "")], config.root)
        say(f"profile {config.profile!r} asks for no clips")
        return
    plan = plan_run(config, method, config.settings.video.dataset, Overrides(ablation=ablation, device=device))
    with progress(f"video {method}") as advance:
        written, record = score_video(
            config,
            store,
            plan,
            engine or config.settings.engine,
            workers or config.settings.workers,
            engine is not None,
            advance,
        )
    for line in told(record):
        say(f"{method}: {line}")
    show(written, config.root)
