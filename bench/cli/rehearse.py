"""``bench rehearse``: the whole profile on stand-in weights, before any published file is here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import common
from bench.cli.common import open_project, say, show, verb


@verb(
    "Run a profile on weights filled by rule, in the exact layouts of the published files, from conversion to "
    "Table 1, in a project folder of its own. Nothing is downloaded; everything shown is marked as rehearsal. "
    "With 1024 px files it takes about 6 GB of disk.",
    "bench rehearse",
    "bench rehearse --into /tmp/rehearsal --images 4",
    "bench rehearse --method latent_avg --method copy_input",
)
def command(
    into: Annotated[
        Path | None, typer.Option("--into", help="Folder for it, new or empty. Default: tmp/rehearsal in the project.")
    ] = None,
    domain: Annotated[str, typer.Option("--domain", help="Whose published generator and encoders.")] = "faces",
    images: Annotated[int, typer.Option("--images", min=1, help="Pictures to invert.")] = 2,
    method: common.Methods = None,
    profile: common.ProfileName = "paper",
    root: common.Root = None,
) -> None:
    config = open_project(root, profile).config
    from bench.cli.rehearsal.run import rehearse

    folder = into or config.root / "tmp" / "rehearsal"
    done = rehearse(config, domain, folder, images, method, say)
    for note in done.notes:
        say(note)
    for name, reason in done.left_out.items():
        say(f"{name} was left out: {reason}")
    say(
        f"rehearsal of {len(done.steps)} steps: {done.seconds:.0f} s, {done.cpu_s:.0f} s of processor, peak memory "
        f"{done.peak_gib:.2f} GiB, in {folder}"
    )
    say("remove this folder when you have seen enough; its numbers mean nothing")
    show(done.reports, config.root)
