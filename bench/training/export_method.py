"""From a method's training to committed weights: file, card with curves, manifest entry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.dataset import PreparedDataset
from bench.errors import BenchError
from bench.training.data import PackedImages
from bench.training.export_files import check_exportable, project_path, write_export
from bench.training.loop import Loop
from bench.training.preset import Preset, weights_id
from bench.training.spent import KEY, in_words
from bench.training.validation import evaluated, validate
from bench.weights import manifest as weights

ROWS = 12  # of the curve in the card


def export_run(
    loop: Loop, held: PackedImages, config_path: Path, root: Path, run: Path, saved: Mapping[str, Any] | None
) -> list[Path]:
    """Write ``<preset stem>.safetensors`` (float16), ``.json`` and ``.md`` beside the preset, and the manifest.

    Args:
        loop: restored from its last checkpoint. held: all held-out pictures. config_path: the preset. root: project.
        run: the training's folder, with its curves. saved: the checkpoint.

    Returns:
        the files written.
    Raises:
        BenchError: nothing was trained yet, the preset is a check of overfitting or does not lie under weights/.
    """
    check_exportable(config_path, root, loop.position)
    if loop.preset.overfit is not None:
        raise BenchError(f"{config_path} is a check, not a training", fix="read its curves; there is nothing to export")
    preset, name = loop.preset, weights_id(loop.preset, config_path)
    licence = preset.licence or PreparedDataset.open(root, preset.dataset).manifest.licence
    measured = {
        "pictures_seen": loop.position,
        "steps": loop.step_count,
        **validate(loop, held, most=len(held.ids)),
        "held_out_pictures": len(held.ids),
        **((saved or {}).get(KEY) or {}),
        "curves": curves(run / "curves"),
    }
    recipe = {"method": preset.method, "dataset": preset.dataset, "seed": preset.seed, "pictures_seen": loop.position}
    file = config_path.resolve().with_suffix(".safetensors")
    with evaluated(loop) as net:
        digest = weights.save(file, loop.method.trained(net), recipe)
    card = card_text(name, preset, measured, project_path(config_path, root), licence, in_words(saved))
    entry = {"id": name, "sha256": digest, "domain": preset.domain, "kind": preset.method, "licence": licence}
    return write_export(root, file, measured, card, entry)


def curves(folder: Path) -> dict[str, list[list[float]]]:
    """Curve name -> [pictures seen, mean since the line before] of a few lines, the last among them."""
    found = {}
    for table in sorted(folder.rglob("*.tsv")):
        head, *lines = table.read_text().splitlines()
        names = head.split("\t")
        rows = [dict(zip(names, line.split("\t"), strict=True)) for line in lines]
        chosen = sorted({round(i) for i in np.linspace(0, len(rows) - 1, ROWS)}) if rows else []
        found[table.stem] = [[int(rows[i]["step"]), float(f"{float(rows[i][table.stem]):.4g}")] for i in chosen]
    return found


def card_text(name: str, preset: Preset, measured: dict[str, Any], config: Path, licence: str, time_taken: str) -> str:
    """The model card, from the preset and what was measured."""
    settings = "\n".join(f"| {key} | {value} |" for key, value in preset.model_dump().items())
    lines = "\n".join(
        f"| {curve} | {' '.join(f'{at}: {value:g};' for at, value in points)} |"
        for curve, points in measured["curves"].items()
    )
    return f"""# Model card: {name}

Made by `bench train {preset.method} --config {config}`, exported with `--export`. This file is generated; the numbers
are measured at export.

| quantity | value |
|---|---|
| pictures seen | {measured["pictures_seen"]:,} in {measured["steps"]:,} steps |
| held-out MAE in [0, 1] ({measured["held_out_pictures"]} pictures, details included) | {measured["held_out_mae"]:.4f} |
| time of training | {time_taken} |
| file | float16 safetensors; SHA-256 in `weights/manifest.yaml` |
| licence | {licence} |

## Recipe

| setting | value |
|---|---|
{settings}

## Curves

Training losses without their weights, means since the point before, and the held-out MAE on 200 pictures
(pictures seen: value). Averaged weights: {"yes" if preset.ema_images else "no"}.

| curve | |
|---|---|
{lines}
"""
