"""``bench plan``: what a profile would run, what is missing, disk and hours."""

from __future__ import annotations

import json

import typer

from bench.cli import common
from bench.cli.common import open_project, verb, wide_console
from bench.planning.forecast import Forecast, forecast, gigabytes


@verb(
    "Say what a profile would run, what is missing and how to get it, and about how much disk and time it "
    "takes. Computes and writes nothing. Exit code 0: all is there; 1: something is missing.",
    "bench plan",
    "bench plan --profile paper",
    "bench plan --profile paper --json",
)
def command(
    profile: common.ProfileName = None,
    as_json: common.Json = False,
    root: common.Root = None,
) -> None:
    config = open_project(root, profile).config
    plan = forecast(config)
    if as_json:
        print(json.dumps(plan.to_json(), indent=1, ensure_ascii=False))
    else:
        _print(plan)
    if not plan.ready:
        raise typer.Exit(1)


def _print(plan: Forecast) -> None:
    from rich.table import Table
    from rich.text import Text

    console = wide_console()
    images = sum(run.images for run in plan.runs)
    console.print(Text(f"profile {plan.profile} (protocol {plan.protocol}) on {plan.device}", style="bold"))
    rows = dict.fromkeys(run.label for run in plan.runs)
    variants = sum("." in row for row in rows)
    also = f" and {variants} of their variants" if variants else ""
    console.print(f"{len(rows) - variants} methods{also}, {images:,} inversions, {len(plan.metrics)} metrics")
    if plan.stages:
        print("stages: " + ", ".join(f"{name} x {n}" if n > 1 else name for name, n in plan.stages.items()))
    table = Table(box=None, pad_edge=False)
    for column in ("method", "dataset", "images", "results", "s/image", "hours", "from"):
        table.add_column(column, no_wrap=column == "method", justify="right" if column == "images" else "left")
    sources: dict[str, int] = {}  # each stands once below the table, by number
    for run in plan.runs:
        seconds, origin = "?", run.source
        if run.seconds is not None:
            number = sources.setdefault(run.source, len(sources) + 1)
            seconds, origin = f"{run.seconds:.3g}", f"{'measured' if run.measured else 'estimate'} [{number}]"
        cells = (run.label, run.dataset, f"{run.images:,}", run.state, seconds, _duration(run.hours), origin)
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    for source, number in sources.items():
        print(f"[{number}] {source}")
    _print_needs(plan)


def _print_needs(plan: Forecast) -> None:
    hours = ", ".join(f"{stage} {_duration(value)}" for stage, value in plan.hours.items())
    print(f"time still needed, an estimate: {hours}")
    for stage, source in plan.sources.items():
        print(f"  {stage}: {source}")
    total = sum(plan.disk.values())
    parts = ", ".join(f"{kind} {gigabytes(count)}" for kind, count in plan.disk.items())
    print(f"disk still needed, an estimate: {gigabytes(total)} ({parts or 'all is there'}); free: ", end="")
    print(gigabytes(plan.free_bytes))
    if plan.ready:
        print("nothing is missing")
        return
    print(f"missing ({len(plan.lacks)}):")
    for lack in plan.lacks:
        print(f"  {lack.kind}: {lack.what} -> {lack.fix}")
    if sum(lack.kind == "weights" for lack in plan.lacks) > 1:
        print(f"all weights at once: bench fetch --profile {plan.profile}")


def _duration(hours: float | None) -> str:
    """``2.5 h``, ``12 min``, ``40 s``, or ``?``."""
    if hours is None:
        return "?"
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.0f} min" if hours * 60 >= 1 else f"{hours * 3600:.0f} s"
