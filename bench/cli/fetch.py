"""``bench fetch``: published weights, downloaded or taken from a folder, checked and converted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import common
from bench.cli.common import open_project, say, verb
from bench.config.project import Config
from bench.errors import BenchError, WeightsError
from bench.planning.required_weights import profile_needs
from bench.weights import manifest as weights
from bench.weights.listing import read_published

Report = Callable[[str, int, int | None], None]


@verb(
    "Bring published weights: download them, or take files you have (--from); check and convert them to "
    "safetensors. Without ids: those the profile needs or, with --from, those whose files lie there. "
    "Interrupted downloads go on where they stopped.",
    "bench fetch --profile paper --dry-run",
    "bench fetch --profile paper",
    "bench fetch lpips-alex inception-fid",
    "bench fetch --from ~/Downloads",
)
def command(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of weights/published.yaml (`bench ls weights`).")] = None,
    folder: Annotated[
        Path | None, typer.Option("--from", help="Take the files from this folder; they are left as they are.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep downloaded originals in weights/cache/.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Convert anew even what is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be fetched.")] = False,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    config = open_project(root, profile).config
    chosen = _choose(config, ids, folder, profile)
    if dry_run:
        _announce(config, chosen)
        return
    from bench.weights import fetch

    problems: list[BenchError] = []
    for weights_id in chosen:
        try:
            with _bar() as report:
                lines = fetch.fetch(config.root, weights_id, folder, report, keep, again)
            for line in lines:
                say(line)
        except BenchError as error:
            problems.append(error)
            if len(chosen) > 1:
                say(f"! {weights_id}: {error}")
    for line in fetch.compare_all(config.root):
        say(line)
    if problems and len(chosen) > 1:
        raise WeightsError(
            f"{len(problems)} of {len(chosen)} could not be fetched", fix="see the lines above; the others are ready"
        )
    if problems:
        raise problems[0]


def _choose(config: Config, ids: list[str] | None, folder: Path | None, profile: str | None) -> list[str]:
    """The ids meant, checked before anything is downloaded."""
    known = read_published(config.root)
    if ids:
        return [known.entry(weights_id).id for weights_id in dict.fromkeys(i.replace("-", "_") for i in ids)]
    if folder is not None and profile is None:
        from bench.weights.fetch import found_in

        found = found_in(known, folder)
        if not found:
            raise WeightsError(
                f"{folder} holds no complete set of published files",
                expected="files named as in `bench ls weights`",
                fix="rename them, or pass the id as well",
            )
        return found
    needed = [i for i in profile_needs(config) if i in known.ids]
    if not needed:
        say(f"profile {config.profile} needs no published weights")
    return needed


def _announce(config: Config, ids: list[str]) -> None:
    known, total = read_published(config.root), 0
    for weights_id in ids:
        entry, here = known.entry(weights_id), weights.status(config.root, weights_id)
        total += 0 if here == "present" else entry.about_bytes
        size = f"about {entry.about_bytes / 1e6:,.0f} MB" if entry.about_bytes else "size unknown"
        print(f"{weights_id}: {here}; {', '.join(f.name for f in entry.files)}; {size}; {entry.licence}")
    say(f"to download: about {total / 1e9:.2f} GB; converted files need the same again")


@contextmanager
def _bar() -> Iterator[Report]:
    """A bar with bytes, rate and time left on a terminal, silence elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda name, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        tasks: dict[str, int] = {}

        def report(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)  # type: ignore[arg-type]

        yield report
