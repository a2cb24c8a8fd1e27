"""``bench edit``: move pictures along a direction."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli import common
from bench.cli.common import open_project, progress, say, show, verb
from bench.config.project import Config, parse_settings
from bench.errors import BenchError


@verb(
    "Edit pictures with a method: invert them (or take the codes of a run that is there), move the codes "
    "along a direction, render. Directions are the domain's own (weights/directions) or published files. "
    "Results go to results/local/edits.",
    "bench edit --method latent_avg --direction smile --degree 1.5 --images 000000,000007",
    "bench edit --method hfgi --direction age --degree -2 --images photos --out aged",
    "bench edit --method hfgi --direction ffhq_pca.pt:54:7:8 --degree 20 --images photos --domain faces",
)
def command(
    method: common.Method,
    direction: common.Direction,
    degree: common.Degree,
    images: Annotated[
        str | None, typer.Option("--images", help="Folder of pictures, or ids separated by commas. Default: all.")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Whose ids. Default: the profile's first.")] = None,
    domain: Annotated[str | None, typer.Option("--domain", help="Of a folder's pictures. Default: DATASET's.")] = None,
    rows: Annotated[str | None, typer.Option("--rows", help="Rows of the code to move, FIRST:LAST.")] = None,
    settings: common.MethodOptions = None,
    ablation: common.Ablation = None,
    out: common.Out = None,
    limit: common.Limit = None,
    device: common.Device = None,
    batch_size: common.BatchSize = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    amount, span = number(degree), _rows(rows)
    config = open_project(root, profile, device=device, batch_size=batch_size, limit=limit).config
    from bench.edits.apply import RECORD
    from bench.inversion.plan import Overrides

    asked = Overrides(parse_settings(settings or []), ablation, None, None, None, batch_size, device)
    edit, pictures = _prepared(config, method, direction, amount, span, images, dataset, domain, asked, out, limit)
    with progress(f"edit {direction}", len(pictures.ids)) as advance:
        record = edit.run(pictures, batch_size or config.settings.batch_size, advance)
    failed = [i for i in pictures.ids if i in record["failures"]]
    say(f"{method}, {direction} {amount:+g}: {len(pictures.ids) - len(failed)} pictures" + _told(failed, record))
    show([edit.out / "images", edit.out / RECORD], config.root)


def _prepared(config: Config, method, direction, degree, rows, images, dataset, domain, asked, out, limit) -> Any:
    """(edit, pictures): everything looked up and checked, nothing computed yet."""
    from dataclasses import replace

    from bench.data.dataset import PreparedDataset
    from bench.directions import files
    from bench.edits.apply import Edit, of_dataset, of_folder
    from bench.inversion.plan import plan_run
    from bench.inversion.runner import load_method
    from bench.names import label
    from bench.weights import manifest as weights

    plan = plan_run(config, method, dataset or config.settings.datasets[0], asked)
    folder = Path(images) if images and _is_folder(images) else None
    if domain and not folder:
        raise BenchError("--domain goes with a folder of pictures", fix="drop it, or name a folder with --images")
    where = domain or plan.domain
    manifest = weights.read_manifest(config.root)
    chosen = files.find(config.root, where, direction).on_rows(rows)
    if folder:
        pictures = of_folder(folder, manifest.domain(where).resolution)
    else:
        ids = [i.strip() for i in images.split(",") if i.strip()] if images else None
        pictures = of_dataset(PreparedDataset.open(config.root, plan.dataset), ids, plan.run, plan.config_hash)
    pictures = replace(pictures, ids=list(pictures.ids)[:limit])
    ready = load_method(config.root, method, where, plan.options, plan.device, plan.precision)
    name = f"{direction.replace('/', '.').replace(':', '.')}_{degree:+g}" + (
        f"_rows{rows[0]}-{rows[1]}" if rows else ""
    )
    target = out or config.root / "results" / "local" / "edits" / label(method, plan.variant) / pictures.name / name
    told = {
        "method": method,
        "options": plan.options,
        "domain": where,
        "pictures": pictures.name,
        "direction": {
            **chosen.about,
            "name": chosen.name,
            "rule": chosen.rule,
            "rows": chosen.rows and list(chosen.rows),
        },
        "degree": degree,
        "weights": plan.weights,
        "code_sha256": plan.config["code_sha256"],
    }
    return Edit(ready, chosen, degree, config.seed, target, told), pictures


def _is_folder(images: str) -> bool:
    """A folder that is there, or a text that can only be meant as one."""
    return Path(images).is_dir() or "/" in images or images.startswith(".")


def number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BenchError("--degree is not a number", got=text, expected="a number such as 1.5 or -2")
    return value


def _rows(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit()):
        raise BenchError("--rows cannot be read", got=text, expected="FIRST:LAST, such as 4:8")
    return int(first), int(last)


def _told(failed: list[str], record: dict[str, Any]) -> str:
    return f", {len(failed)} failed: {failed[0]}: {record['failures'][failed[0]]}" if failed else ""
