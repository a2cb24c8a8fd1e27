"""``bench repro``: the whole pipeline through DVC, then where to look."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from bench.cli import common
from bench.cli.common import examples, open_project, say
from bench.errors import BenchError


def register(app: typer.Typer) -> None:
    app.command(
        "repro",
        help="Reproduce everything, prepare to report, but only what changed. Wraps `dvc repro`.",
        epilog=examples("bench repro", "bench repro --stage score --dry"),
    )(command)


def command(
    stage: Annotated[list[str] | None, typer.Option("--stage", help="Only up to this stage; may be repeated.")] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Say what would run.")] = False,
    root: common.Root = None,
) -> None:
    config, store = open_project(root)
    if find_spec("dvc") is None:
        raise BenchError("the pipeline needs DVC", fix="pip install 'hfgi-bench[pipeline]'")
    command_line = [sys.executable, "-m", "dvc", "repro", *(["--dry"] if dry else []), *(stage or [])]
    code = subprocess.run(command_line, cwd=config.root).returncode
    if code:
        raise BenchError(
            "the pipeline stopped",
            got=f"`dvc repro` exit code {code}",
            fix="mend what it says above and run the same command again; finished stages are kept",
        )
    if dry:
        return
    reports = store.reports_dir(config.profile)
    for path in (
        reports / "tables" / "table1.md",
        reports / "figures",
        reports / "index.md",
        store.summary_path(config.profile),
    ):
        if path.exists():
            say(f"{path.name}: {path}")
