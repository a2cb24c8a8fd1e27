"""``bench edit-targets``: the exact pictures that edits are compared with, rendered once for all methods."""

from __future__ import annotations

from bench.cli import common
from bench.cli.common import open_project, say, show, verb


@verb(
    "Render what the profile's edits must show: the same scenes with one factor moved. Kept beside the "
    "dataset; `bench score-edits` renders what is missing itself.",
    "bench edit-targets",
    "bench edit-targets --profile smoke --workers 1",
)
def command(
    engine: common.Engine = None,
    workers: common.Workers = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    project = open_project(root, profile, "bench.data.render", engine=engine, workers=workers)
    from bench.edits.prepare import prepare_edits

    path, found = prepare_edits(project.config, project.store, project.execution())
    for dataset, edits in found.items():
        for name, targets in edits.items():
            say(f"{dataset}, {name}: {sum(map(bool, targets.values()))} of {len(targets)} pictures have a target")
    show([path], project.root)
