"""``bench report``: tables, figures and the index page."""

from __future__ import annotations

from bench.cli import common
from bench.cli.common import open_project, show, verb


@verb(
    "Draw tables and figures from results alone; published numbers stand beside, never mixed. "
    "The main profile's Table 1 is also shown in README.md, if its markers are there.",
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
    drawing = ("matplotlib.pyplot", "pandas", "scipy.stats", "seaborn")
    project = open_project(root, profile, *drawing, scope=scope, engine=engine, workers=workers)
    from bench.report import build

    show(build(project.root, project.scope, project.config, project.execution()), project.root)
