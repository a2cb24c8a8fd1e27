"""``bench score-video``: clips inverted and edited frame by frame, measured."""

from __future__ import annotations

from bench.cli import common
from bench.cli.common import open_project, progress, say, show, verb


@verb(
    "Invert and edit the profile's clips frame by frame and measure: fidelity, flicker after true and "
    "estimated motion, identity drift. Results go to results/video/.",
    "bench score-video --method e4e",
    "bench score-video --method hfgi --ablation no_ada",
)
def command(
    method: common.Method,
    ablation: common.Ablation = None,
    device: common.Device = None,
    engine: common.Engine = None,
    workers: common.Workers = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    modules = ("bench.video.score_method", *common.SCORING)
    project = open_project(root, profile, *modules, device=device, engine=engine, workers=workers)
    config, store = project.config, project.store
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
            project.execution(advance),
        )
    for line in told(record):
        say(f"{method}: {line}")
    show(written, config.root)
