"""``bench train``: networks of this repository."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import common
from bench.cli.common import examples, open_project, show
from bench.errors import BenchError, UnknownName

TARGETS = {"generator": "bench.training.run_generator"}  # what can be trained -> module with main()


def register(app: typer.Typer) -> None:
    app.command(
        "train",
        help="Train a network. A killed training goes on with --resume and gives the same loss curve.",
        epilog=examples(
            "bench train generator --config weights/annyfaces/generator.yaml --dry-run",
            "bench train generator --config weights/annyfaces/generator.yaml --resume",
            "bench train generator --config weights/annyfaces/generator.yaml --export",
        ),
    )(command)


def command(
    target: Annotated[str, typer.Argument(help=f"What to train: {', '.join(TARGETS)}.")],
    config: Annotated[Path | None, typer.Option("--config", help="YAML file of the training.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    stop_after: Annotated[
        int | None, typer.Option("--stop-after", help="Stop cleanly after so many images in all.")
    ] = None,
    export: Annotated[bool, typer.Option("--export", help="Only measure and export the last checkpoint.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved training and stop.")] = False,
    device: common.Device = None,
    root: common.Root = None,
) -> None:
    if target not in TARGETS:
        raise UnknownName.of("training", target, TARGETS)
    if config is None:
        raise BenchError(
            "no training configuration given", fix="pass --config FILE, e.g. weights/annyfaces/generator.yaml"
        )
    if stop_after is not None and stop_after < 1:
        raise BenchError("--stop-after must be 1 or more", got=stop_after)
    common.check_options(device=device)
    project, _ = open_project(root)
    from bench.device import resolve_device

    where = resolve_device(device or project.settings.device).type
    written = importlib.import_module(TARGETS[target]).main(
        config, project.root, resume=resume, device=where, dry_run=dry_run, stop_after=stop_after, export=export
    )
    show(written, project.root)
