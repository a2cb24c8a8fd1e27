"""``bench prepare``: pictures on the disk, verified."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import common
from bench.cli.common import open_project, progress, say, show, verb
from bench.config.project import Config
from bench.data.dataset import PreparedPaths
from bench.data.import_folder import FolderRequest
from bench.data.manifest import load_manifest, manifest_path
from bench.errors import BenchError, name_some


@verb(
    "Render or convert a dataset's pictures and verify each against its manifest; without --dataset, all of "
    "the profile. What is there and intact is kept.",
    "bench prepare",
    "bench prepare --dataset annyfaces_1500 --workers 4",
    "bench prepare --dataset my --images ~/pictures/heads --crop center",
    "bench prepare --dataset my --update",
)
def command(
    dataset: common.Datasets = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Make the dataset from this folder of pictures.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option("--resolution", help="Side of the prepared pictures (folder).")
    ] = None,
    domain: Annotated[str | None, typer.Option("--domain", help="Whose generator is meant (folder).")] = None,
    align: Annotated[str | None, typer.Option("--align", help="none: pictures are aligned already (folder).")] = None,
    crop: Annotated[
        str | None, typer.Option("--crop", help="none or center: how to make pictures square (folder).")
    ] = None,
    convert: Annotated[
        bool | None, typer.Option("--convert/--no-convert", help="Accept grey, palette and alpha (folder).")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Noted in the manifest (folder).")] = None,
    update: Annotated[bool, typer.Option("--update", help="Write this machine's hashes into the manifest.")] = False,
    engine: common.Engine = None,
    workers: common.Workers = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    project = open_project(root, profile, "bench.data.render", engine=engine, workers=workers)
    config = project.config
    asked = FolderRequest(images, domain, resolution, align, crop, convert, licence)
    if asked != FolderRequest() and len(dataset or []) != 1:
        raise BenchError(
            "folder settings belong to one dataset",
            got=f"{len(dataset or [])} --dataset options",
            expected="exactly one",
            fix="pass --dataset ID with --images",
        )
    if not dataset:
        _check_pipeline(config)
    from bench.data import prepare

    done = {}
    for name in dataset or config.settings.datasets:
        begin = time.perf_counter()
        with progress(f"prepare {name}", _total(config.root, name)) as advance:
            result = prepare.prepare(
                config,
                name,
                asked,
                update,
                project.execution(advance),
            )
        done[name] = result.done
        say(f"{name}: {result.done['count']} images verified in {time.perf_counter() - begin:.1f} s")
        if result.ignored:
            say(
                f"{name}: {len(result.ignored)} files are no pictures and were left out: {name_some(result.ignored, 5)}"
            )
        for note in result.notes:
            say(f"{name}: {note}")
        if drifted := result.done.get("drifted"):
            say(f"{name}: {len(drifted)} pictures differ from the manifest by this machine's rounding (accepted)")
        show([PreparedPaths.of(config.root, name).folder], config.root)
    if not dataset:
        show([prepare.record_profile(config.profile, project.store, done)], config.root)


def _total(root: Path, name: str) -> int | None:
    """Pictures expected, for the bar; None where only the folder can tell."""
    return load_manifest(root, name, images=False).count if manifest_path(root, name).is_file() else None


def _check_pipeline(config: Config) -> None:
    """The first stage of a pipeline refuses params.yaml with one profile's name and another one's methods."""
    if config.profile == config.main_profile and (settings := config.pipeline_settings()):
        switch = " ".join(f"-S '{one}'" for one in settings)
        raise BenchError(
            f"params.yaml has profile {config.profile!r} and the methods of another",
            got=", ".join(config.listed),
            expected=", ".join(config.methods),
            fix=f"`dvc exp run -S profile={config.profile} {switch}`, which is what "
            f"`bench repro --profile {config.profile}` does, or edit params.yaml",
        )
