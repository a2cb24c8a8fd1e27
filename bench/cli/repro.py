"""``bench repro``: the whole pipeline through DVC, then where to look."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import common, fork_server
from bench.cli.common import open_project, say, verb
from bench.errors import BenchError
from bench.files import load_yaml
from bench.store.paths import RunStore

SECTIONS = ("edits", "steps", "video")


@verb(
    "Reproduce everything, prepare to report, but only what changed. Wraps `dvc repro`. "
    "With --profile of another profile, `dvc exp run` sets params.yaml to it and its methods first; "
    "`git checkout . && dvc checkout` goes back.",
    "bench repro",
    "bench repro --stage score --dry",
    "bench repro --profile smoke",
)
def command(
    stage: Annotated[list[str] | None, typer.Option("--stage", help="Only up to this stage; may be repeated.")] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Say what would run.")] = False,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    config = open_project(root, profile).config
    if find_spec("dvc") is None:
        raise BenchError("the pipeline needs DVC", fix="pip install 'hfgi-bench[pipeline]'")
    _check_sections(config.root / "profiles" / f"{config.profile}.yaml")
    verb = dvc_verb(config.pipeline_settings())
    command_line = [sys.executable, "-m", "dvc", *verb]
    if dry:
        code = _dry(command_line, stage or [], config.root)
    else:
        with fork_server.serving() as found:
            environment = {**os.environ, **found}
            code = subprocess.run([*command_line, *(stage or [])], cwd=config.root, env=environment).returncode
    if code:
        raise BenchError(
            "the pipeline stopped",
            got=f"`dvc {verb[0]}` exit code {code}",
            fix="mend what it says above and run the same command again; finished stages are kept",
        )
    if dry:
        return
    store = RunStore(config.root, config.profile)  # by now params.yaml names this profile
    reports = store.reports_dir(config.profile)
    for path in (
        reports / "tables" / "table1.md",
        reports / "figures",
        reports / "index.md",
        store.summary_path(config.profile),
    ):
        if path.exists():
            say(f"{path.name}: {path}")


def _check_sections(profile: Path) -> None:
    """Stages depend on these keys, and DVC takes a key that is not there for a mistake."""
    keys = load_yaml(profile, raises=BenchError)
    for key in SECTIONS:
        if key not in keys:
            raise BenchError(f"{profile.name} has no key {key!r}", fix=f"add `{key}: null` to it for none of them")


def _dry(command_line: list[str], stages: list[str], root: Path) -> int:
    """What would run. DVC cannot tell where a stage's inputs are still to be made: then everything is to run."""
    done = subprocess.run([*command_line, "--dry", *stages], cwd=root, capture_output=True, text=True)
    if not done.returncode:
        print(done.stdout, end="")
        return 0
    say("some inputs are still to be made, so all stages are listed, whether they would change or not")
    return subprocess.run([*command_line, "--dry", "--force", *stages], cwd=root).returncode


def dvc_verb(settings: list[str]) -> list[str]:
    """The DVC command that runs the pipeline with ``key=value`` settings of params.yaml, or as it is."""
    return ["exp", "run", *(part for pair in settings for part in ("-S", pair))] if settings else ["repro"]
