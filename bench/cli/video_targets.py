"""``bench video-targets``: what films are compared with, made once for all methods."""

from __future__ import annotations

from bench.cli import common
from bench.cli.common import open_project, say, show, verb


@verb(
    "Render the profile's clips, the exact edit of every frame, and the true motion between frames. Kept "
    "beside the dataset; `bench score-video` makes what is missing itself.",
    "bench video-targets",
    "bench video-targets --workers 1",
)
def command(
    engine: common.Engine = None,
    workers: common.Workers = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    project = open_project(root, profile, "bench.data.render", engine=engine, workers=workers)
    from bench.video.prepare import prepare_video

    path, found = prepare_video(project.config, project.store, project.execution())
    for dataset, targets in found.items():
        if dataset != "visible":
            say(f"{dataset}: {sum(map(bool, targets.values()))} of {len(targets)} have an exact edit")
    show([path], project.root)
