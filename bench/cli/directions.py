"""``bench directions``: find directions of edits in a generator's codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import common
from bench.cli.common import open_project, progress, say, show, verb
from bench.errors import BenchError

DEGREES = (-2.0, -1.0, 0.0, 1.0, 2.0)


@verb(
    "Find directions of edits and say how good they are: a file, a card and figures in weights/directions. "
    "What is asked for stands in weights/directions/DOMAIN.yaml. A killed run goes on.",
    "bench directions --method sefa --domain annyfaces",
    "bench directions --method ganspace --domain annyfaces --samples 2000",
    "bench directions --method interfacegan --domain annyfaces",
)
def command(
    method: Annotated[str, typer.Option("--method", help="interfacegan (from labels), ganspace or sefa.")],
    domain: Annotated[str, typer.Option("--domain", help="Whose generator; `bench ls weights` shows domains.")],
    samples: Annotated[int | None, typer.Option("--samples", help="Codes to draw. Default: the recipe's.")] = None,
    device: common.Device = None,
    root: common.Root = None,
) -> None:
    if samples is not None and samples < 50:
        raise BenchError("--samples is too small", got=samples, expected="50 or more")
    project = open_project(root, device=device)
    from bench.directions.learning import way

    way(method)
    from bench.device import resolve_device
    from bench.directions import learn

    where = resolve_device(project.device)
    count = samples or learn.read_recipe(learn.recipe_path(project.root, domain)).samples
    with progress(f"{domain} samples", count) as advance:
        made = learn.make(project.root, method, domain, where, samples, advance)
    for name, row in made.learned.measured.items():
        say(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in row.items()))
    show([*made.files, *_figures(project.root, method, domain, made, where)], project.root)


def _figures(root: Path, method: str, domain: str, made, where) -> list[Path]:
    """A heat map and strips, for ways that know what their directions mean."""
    if not made.table:
        return []
    import torch

    from bench.directions.pictures import ENTANGLEMENT, FOLDER, STRIPS
    from bench.generator import SharedGenerator
    from bench.images import to_uint8
    from bench.report import directions as figures
    from bench.seeds import seed_for

    folder = root / FOLDER
    generator = SharedGenerator.load(domain, where, root)
    code = generator.sample_w(1, seed_for(0, "strip"), psi=0.7)
    with torch.no_grad():
        rows = {
            one.name: to_uint8(generator.synthesize(torch.cat([one.apply(code, d) for d in DEGREES])))
            for one in made.learned.directions
        }
    title, name = f"{domain}, {method}", f"{domain}_{method}"
    return [
        figures.draw_entanglement(made.table, folder / ENTANGLEMENT.format(name), title),
        figures.draw_strips(rows, DEGREES, folder / STRIPS.format(name), f"{title}: one sample, degrees"),
    ]
