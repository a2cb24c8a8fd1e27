"""``bench check``: does a method or metric keep its contract?"""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli import common
from bench.cli.common import examples, open_project, wide_console


def register(app: typer.Typer) -> None:
    app.command(
        "check",
        help="Try the contract of a method or metric on four toy pictures; exit code 1 if a clause does not hold.",
        epilog=examples("bench check latent_avg", "bench check ssim_gauss", "bench check latent_avg mae"),
    )(command)


def command(
    names: Annotated[list[str], typer.Argument(help="Ids of methods or metrics.")],
    root: common.Root = None,
) -> None:
    config, _ = open_project(root)
    from rich.table import Table
    from rich.text import Text

    from bench.checks import checks_of, run_checks

    console = wide_console()
    failed = 0
    for name in names:
        for subject in checks_of(config.root, name):
            table = Table(title=name, title_justify="left", box=None, pad_edge=False, show_header=False)
            outcomes = run_checks(subject)
            for outcome in outcomes:
                table.add_row(
                    Text("pass" if outcome.passed else "FAIL", style="green" if outcome.passed else "red"),
                    Text(outcome.check),
                    Text(outcome.reason),
                )
            console.print(table)
            failed += sum(not o.passed for o in outcomes)
    if failed:
        print(f"{failed} clause{'s' * (failed > 1)} of the contract {'do' if failed > 1 else 'does'} not hold")
        raise typer.Exit(1)
