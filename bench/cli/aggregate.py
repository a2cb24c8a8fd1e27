"""``bench aggregate``: rows to means, the only place where a mean is taken."""

from __future__ import annotations

import typer

from bench.cli import common
from bench.cli.common import examples, open_project, scopes_of, show


def register(app: typer.Typer) -> None:
    app.command(
        "aggregate",
        help="Per-image rows to results/summary.csv: n, n_failed, mean, sd, sem and a 95 % bootstrap interval.",
        epilog=examples("bench aggregate", "bench aggregate --scope local"),
    )(command)


def command(scope: common.Scope = None, profile: common.ProfileName = None, root: common.Root = None) -> None:
    config, store = open_project(root, profile)
    where = scopes_of(config, store, scope)
    from bench.analysis.summary import aggregate

    show(aggregate(store, where, config), config.root)
