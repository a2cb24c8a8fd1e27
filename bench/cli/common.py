"""Options that verbs share, the project they open, and progress bars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.config.project import DEVICES, ENGINES, LOCAL, PRECISIONS, Config, check_overrides, find_root, load_config
from bench.errors import BenchError, UnknownName
from bench.store.paths import RunStore

if TYPE_CHECKING:
    from rich.console import Console

    from bench.engine import Execution

SCORING = ("lpips", "insightface.model_zoo.arcface_onnx")  # slow to import, for metrics that look at pictures

Root = Annotated[
    Path | None, typer.Option("--root", help="Project folder. Default: the nearest one upward with params.yaml.")
]
ProfileName = Annotated[
    str | None, typer.Option("--profile", help="A file in profiles/. Default: the one in params.yaml.")
]
Device = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda or mps. Default: the profile's, else auto.")
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", help="Pictures computed together. Default: the profile's.")
]
Limit = Annotated[int | None, typer.Option("--limit", help="Only the first so many images of a dataset.")]
Precision = Annotated[str | None, typer.Option("--precision", help="fp32 or bf16. Default: the profile's.")]
Engine = Annotated[str | None, typer.Option("--engine", help="serial or processes. Default: the profile's.")]
Workers = Annotated[int | None, typer.Option("--workers", help="Processes of --engine processes. Default: all cores.")]
Scope = Annotated[
    str | None,
    typer.Option("--scope", help="Results to work on: a profile's name, or 'local' for runs with own settings."),
]
Method = Annotated[str, typer.Option("--method", help="Method id; `bench ls methods` shows all.")]
OneMethod = Annotated[str | None, typer.Option("--method", help="Method id; `bench ls methods` shows all.")]
Methods = Annotated[list[str] | None, typer.Option("--method", help="Method id; may be repeated.")]
OneDataset = Annotated[str | None, typer.Option("--dataset", help="Default: the profile's first.")]
Datasets = Annotated[
    list[str] | None, typer.Option("--dataset", help="Dataset id; may be repeated. Default: the profile's.")
]
Ablation = Annotated[str | None, typer.Option("--ablation", help="A named variant from ablations.yaml.")]
MethodOptions = Annotated[list[str] | None, typer.Option("--set", help="Option of the method, key=value.")]
Direction = Annotated[
    str, typer.Option("--direction", help="Name, SET/NAME, FILE.pt, or PCA.pt:INDEX[:FIRST:LAST] (rows).")
]
Degree = Annotated[str, typer.Option("--degree", help="How far; what 1 means is in the direction's card.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for the results.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable.")]


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Args:
        name: as it is typed.
        help: what it does.
        epilog: text under the help: commands to copy.
        run: the function behind it; its arguments are the verb's options.
    """

    name: str
    help: str
    epilog: str
    run: Callable[..., None]


def verb(help: str, *examples: str) -> Callable[[Callable[..., None]], Verb]:
    """Make a function a verb, named after its file: ``command`` of score_edits.py is ``bench score-edits``.

    Args:
        help: what the verb does.
        examples: commands to copy.
    """

    def made(function: Callable[..., None]) -> Verb:
        name = function.__module__.rpartition(".")[2].replace("_", "-")
        return Verb(name, help, "\n\n".join(["Examples:", *examples]), function)

    return made


@dataclass(frozen=True)
class Project:
    """The project that a verb works on, with the values of shared options: what was asked for, else the profile's.

    Args:
        config: settings of the project and its profile.
        store: where results lie.
        scope: scope of the results to work on.
        device: where tensors live.
        engine: serial or processes.
        workers: number of processes; None for all cores.
        engine_asked: the user passed --engine.
    """

    config: Config
    store: RunStore
    scope: str
    device: str
    engine: str
    workers: int | None
    engine_asked: bool

    @property
    def root(self) -> Path:
        """The project folder."""
        return self.config.root

    def execution(self, on_tick: Callable[[float], None] | None = None) -> Execution:
        """How shards are computed, as the user asked or the profile says.

        Args:
            on_tick: called with progress.
        """
        from bench.engine import Execution

        return Execution(self.engine, self.workers, self.engine_asked, on_tick)


def open_project(
    root: Path | None,
    profile: str | None = None,
    *ready: str,
    check: bool = True,
    scope: str | None = None,
    device: str | None = None,
    precision: str | None = None,
    engine: str | None = None,
    workers: int | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
) -> Project:
    """Check the shared options of a verb and open its project.

    Args:
        root: folder of the project; None finds it.
        profile: id of the profile; None for that of params.yaml.
        ready: modules that worker processes load while this process still reads and checks.
        check: refuse a profile that overrides what no method has.
        scope: a profile's name, ``local``, or a scope that has runs; None for the profile's.
        device, precision, engine, workers, batch_size, limit: as the user gave them; None where not.
    Raises:
        BenchError: an option has an impossible value, no project, or settings that break a rule.
    """
    check_options(device, precision, engine, workers, batch_size, limit)
    config = load_config(find_root(root) if root is None else _given_root(root), profile)
    if check:
        check_overrides(config)
    how = engine or config.settings.engine
    if ready and how == "processes":
        from bench.engine import make_ready

        make_ready("torch", *ready)
    store = RunStore(config.root, config.main_profile)
    return Project(
        config,
        store,
        scope_of(config, store, scope),
        device or config.settings.device,
        how,
        workers or config.settings.workers,
        engine is not None,
    )


def _given_root(root: Path) -> Path:
    if not (root / "params.yaml").is_file():
        raise BenchError(
            f"{root} is no project", expected="a folder with params.yaml and profiles/", fix="correct --root"
        )
    return root


def check_options(
    device: str | None = None,
    precision: str | None = None,
    engine: str | None = None,
    workers: int | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
) -> None:
    """Refuse values that cannot be, before anything is read: one line, with the nearest right one."""
    choices = (("device", device, DEVICES), ("precision", precision, PRECISIONS), ("engine", engine, ENGINES))
    for name, value, allowed in choices:
        if value is not None and value not in allowed:
            raise UnknownName.of(name, value, allowed)
    for name, number in (("workers", workers), ("batch-size", batch_size), ("limit", limit)):
        if number is not None and number < 1:
            raise BenchError(
                f"--{name} must be 1 or more",
                got=number,
                expected="a positive number",
                fix=f"drop --{name} for the default",
            )
    if device not in (None, "auto", "cpu"):
        from bench.device import resolve_device

        resolve_device(str(device))


def scope_of(config: Config, store: RunStore, scope: str | None) -> str:
    """A scope the user named, checked: the profile, ``local``, or one that has runs; None for the profile."""
    if not scope:
        return config.profile
    known = {config.profile, LOCAL, *(p.name for p in (store.results / "runs").glob("*") if p.is_dir())}
    if scope not in known:
        raise UnknownName.of("scope", scope, known)
    return scope


def say(text: str) -> None:
    """A line for the person at the terminal; results proper go to stdout."""
    print(text, file=sys.stderr)


def show(paths: Sequence[Path], root: Path) -> None:
    """Written files on stdout, relative to the project."""
    for path in paths:
        print(path.relative_to(root) if path.is_relative_to(root) else path)


def wide_console() -> Console:
    """A console that wraps lines at a terminal's edge, and hardly ever in a pipe."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=240)


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[float], None]]:
    """A bar with rate and time left on a terminal, silence elsewhere. Yields the function that advances it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda amount: None
        return
    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, rate="")

        def advance(amount: float) -> None:
            bar.advance(task, amount)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed:.1f} images/s" if speed else "")

        yield advance
