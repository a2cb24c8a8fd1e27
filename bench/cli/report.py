"""``bench report``: tables, figures and the index page."""

from __future__ import annotations

import typer

from bench.cli import common
from bench.cli.common import examples, open_project, scopes_of, show


def register(app: typer.Typer) -> None:
    app.command(
        "report",
        help="Draw tables and figures from results alone; published numbers stand beside, never mixed. "
        "The main profile's Table 1 is also shown in README.md, if its markers are there.",
        epilog=examples("bench report", "bench report --scope local", "bench report --engine serial"),
    )(command)


def command(
    scope: common.Scope = None,
    engine: common.Engine = None,
    workers: common.Workers = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    common.check_options(engine=engine, workers=workers)
    config, store = open_project(root, profile)
    common.make_ready(config, engine, "matplotlib.pyplot", "pandas", "scipy.stats", "seaborn")
    where = scopes_of(config, store, scope)
    from bench.report import build

    show(build(config.root, where, config, common.execution(config, engine, workers)), config.root)
