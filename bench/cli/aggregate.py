"""``bench aggregate``: rows to means, the only place where a mean is taken."""

from __future__ import annotations

from bench.cli import common
from bench.cli.common import open_project, show, verb


@verb(
    "Per-image rows to results/summary.csv: n, n_failed, mean, sd, sem and a 95 % bootstrap interval.",
    "bench aggregate",
    "bench aggregate --scope local",
)
def command(scope: common.Scope = None, profile: common.ProfileName = None, root: common.Root = None) -> None:
    project = open_project(root, profile, scope=scope)
    from bench.analysis.summary import aggregate

    show(aggregate(project.store, project.scope, project.config), project.root)
