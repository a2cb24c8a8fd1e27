"""``bench report``: tables, figures and the index page."""

from __future__ import annotations

from bench.cli import common
from bench.cli.common import open_project, scopes_of, show, verb


@verb(
    "Draw tables and figures from results alone; published numbers stand beside, never mixed.",
    "bench report",
    "bench report --scope local",
    "bench report --engine serial",
)
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

    how = engine or config.settings.engine, workers or config.settings.workers
    show(build(config.root, where, config, *how), config.root)
