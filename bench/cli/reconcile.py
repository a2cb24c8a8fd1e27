"""``bench reconcile``: our rows beside every published value."""

from __future__ import annotations

from bench.cli import common
from bench.cli.common import open_project, scopes_of, show, verb


@verb(
    "Set our means beside every published value of results/reference, under the preset it follows; a "
    "difference is stated only for the same images and definition.",
    "bench reconcile",
    "bench reconcile --profile paper",
)
def command(scope: common.Scope = None, profile: common.ProfileName = None, root: common.Root = None) -> None:
    config, store = open_project(root, profile)
    where = scopes_of(config, store, scope)
    from bench.report.reconcile import write_reconciliation

    show([write_reconciliation(config, store, where)], config.root)
