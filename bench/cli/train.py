"""``bench train``: networks of this repository."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli import common
from bench.cli.common import open_project, show, verb
from bench.errors import BenchError

METHODS = "bench.training.run_method"  # trains the networks of any method
OTHERS = {  # what is no method's -> module with main()
    "generator": "bench.training.run_generator",
    "recogniser": "bench.training.run_recogniser",
    "regressor": "bench.training.run_regressor",
}
PRESET = "annyfaces"


@verb(
    "Train a network. A killed training goes on with --resume and gives the same loss curve.",
    "bench train e4e --dry-run",
    "bench train e4e --resume",
    "bench train e4e --preset paper --dataset my_faces --dry-run",
    "torchrun --nproc-per-node 8 --no-python bench train e4e --preset paper --resume",
    "bench train e4e --export",
    "bench train generator --config weights/annyfaces/generator.yaml --dry-run",
)
def command(
    target: Annotated[
        str, typer.Argument(metavar="METHOD", help=f"A method's id, trunk or one of: {', '.join(OTHERS)}.")
    ],
    preset: Annotated[str, typer.Option("--preset", help="Folder in weights/ with METHOD.yaml.")] = PRESET,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file of the training, for --preset.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Train on this one instead of the preset's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    stop_after: Annotated[
        int | None, typer.Option("--stop-after", help="Stop cleanly after so many images in all.")
    ] = None,
    export: Annotated[bool, typer.Option("--export", help="Only measure and export the last checkpoint.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved training and stop.")] = False,
    device: common.Device = None,
    root: common.Root = None,
) -> None:
    if stop_after is not None and stop_after < 1:
        raise BenchError("--stop-after must be 1 or more", got=stop_after)
    project = open_project(root, device=device)
    given = config or _preset_of(project.root, preset, target)
    if not given.is_file():
        raise BenchError(
            f"no training configuration {given}",
            expected=", ".join(sorted(p.stem for p in given.parent.glob("*.yaml"))) or f"YAML files in {given.parent}",
            fix="correct METHOD or --preset, or pass --config FILE",
        )
    from bench.device import resolve_device

    where = resolve_device(project.device).type
    options: dict[str, Any] = {"resume": resume, "dry_run": dry_run, "stop_after": stop_after, "export": export}
    if target not in OTHERS:
        options |= {"method": target, "dataset": dataset}
    elif dataset:
        raise BenchError(f"--dataset does not apply to {target}", fix="name the dataset in its configuration")
    module = importlib.import_module(OTHERS.get(target, METHODS))
    written = module.main(given, project.root, device=where, **options)
    show(written, project.root)


def _preset_of(root: Path, folder: str, target: str) -> Path:
    """The configuration that a target and a folder stand for."""
    from bench.registry import methods
    from bench.training.preset import default_preset

    found = methods(root)
    if target in OTHERS or target not in found.names():
        return root / "weights" / folder / f"{target}.yaml"
    named = found.attribute(target, "weights", {}).values()
    used = [one for ids in named for one in ([ids] if isinstance(ids, str) else ids)]
    return default_preset(root, folder, target, used)
