"""``bench reconcile``: our rows beside every published value."""

from __future__ import annotations

from bench.cli import common
from bench.cli.common import open_project, show, verb


@verb(
    "Set our means beside every published value of results/reference, under the preset it follows; a "
    "difference is stated only for the same images and definition.",
    "bench reconcile",
    "bench reconcile --profile paper",
)
def command(scope: common.Scope = None, profile: common.ProfileName = None, root: common.Root = None) -> None:
    project = open_project(root, profile, scope=scope)
    from bench.report.reconcile import write_reconciliation

    show([write_reconciliation(project.config, project.store, project.scope)], project.root)
