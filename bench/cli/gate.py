"""``bench gate``: fail when results are worse than a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import common
from bench.cli.common import open_project, say, show, verb


@verb(
    "Compare results with a baseline by paired non-inferiority tests. Exit code 0: green; 1: a metric is "
    "worse; 2: the two cannot be compared. Margins: gate.margins in params.yaml.",
    "bench gate --save baseline",
    "bench gate --baseline baseline",
    "bench gate --baseline origin/main --margin mae=1% --junit gate.xml --markdown gate.md",
)
def command(
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="A folder of --save, a project, a path in its results, or a git revision."),
    ] = None,
    save: Annotated[Path | None, typer.Option("--save", help="Write the present results as a baseline.")] = None,
    margin: Annotated[
        list[str] | None, typer.Option("--margin", help="metric=value or metric=share%, over params.yaml; repeatable.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="Only these methods (or method.variant); repeatable.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write a JUnit XML report.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the table to a file as well.")] = None,
    scope: common.Scope = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    project = open_project(root, profile, scope=scope)
    config, where = project.config, project.scope
    from bench.analysis.gate import check_names, compare, junit_xml, markdown_text, parse_margins
    from bench.analysis.result_set import export_project, find_results, read_results
    from bench.errors import BenchError
    from bench.files import atomic_write

    if (baseline is None) == (save is None):
        raise BenchError("bench gate needs one of --baseline and --save", fix="see `bench gate --help`")
    current = read_results(config.root, where, profile, "the present results")
    if save is not None:
        export_project(config.root, where, save)
        show([save], config.root)
        return
    margins = {**config.gate.margins, **parse_margins(margin or [])}
    check_names(margins, config.root)
    before = find_results(str(baseline), config.root, where, profile)
    verdicts = compare(
        before,
        current,
        margins,
        alpha=config.gate.alpha,
        resamples=config.bootstrap,
        seed=config.seed,
        methods=method or (),
        root=config.root,
    )
    text = markdown_text(verdicts, before.name, where)
    print(text)
    if markdown is not None:
        atomic_write(markdown, text)
    if junit is not None:
        atomic_write(junit, junit_xml(verdicts))
    red = [v for v in verdicts if not v.ok]
    for v in red:
        say(f"regression in {v.run_id}: {v.reason}")
    if red:
        raise typer.Exit(1)
