"""``bench check``: does a method or metric keep its contract?"""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli import common
from bench.cli.common import open_project, verb, wide_console
from bench.contract.toy import Outcome
from bench.errors import BenchError


@verb(
    "Try the contract of a method or metric on four toy pictures; exit code 1 if a clause does not hold, or "
    "could not be tried.",
    "bench check latent_avg",
    "bench check latent_avg ssim_gauss mae",
    "bench check --ablation steps_50",
)
def command(
    names: Annotated[list[str] | None, typer.Argument(help="Ids of methods or metrics.")] = None,
    ablation: Annotated[
        list[str] | None, typer.Option("--ablation", help="A named variant from ablations.yaml; may be repeated.")
    ] = None,
    root: common.Root = None,
) -> None:
    config = open_project(root).config
    from rich.table import Table
    from rich.text import Text

    from bench.contract.check_method import MethodChecks, checks_of, run_checks

    if not names and not ablation:
        raise BenchError("nothing to check", fix="name methods or metrics, or pass --ablation NAME")
    subjects = [(name, subject) for name in names or [] for subject in checks_of(config.root, name)]
    for variant in ablation or []:
        entry = config.ablation(variant)
        subjects.append((f"{entry.method}.{variant}", MethodChecks(config.root, entry.method, entry.options)))
    console = wide_console()
    failed = unchecked = 0
    for name, subject in subjects:
        table = Table(title=name, title_justify="left", box=None, pad_edge=False, show_header=False)
        outcomes = run_checks(subject)
        for outcome in outcomes:
            word, style = _verdict(outcome)
            table.add_row(Text(word, style=style), Text(outcome.check), Text(outcome.reason))
        console.print(table)
        for note in subject.notes() if isinstance(subject, MethodChecks) else []:
            console.print(Text(f"note: {note}"))
        failed += sum(o.checked and not o.passed for o in outcomes)
        unchecked += sum(not o.checked for o in outcomes)
    if failed:
        print(f"{failed} clause{'s' * (failed > 1)} of the contract {'do' if failed > 1 else 'does'} not hold")
    if unchecked:
        print(f"{unchecked} clause{'s' * (unchecked > 1)} of the contract could not be tried here")
    if failed or unchecked:
        raise typer.Exit(1)


def _verdict(outcome: Outcome) -> tuple[str, str]:
    """The word for an outcome and its colour."""
    if not outcome.checked:
        return "not tried", "yellow"
    return ("pass", "green") if outcome.passed else ("FAIL", "red")
