"""From a training's checkpoint to committed weights: files, measured card, figures, manifest entries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from torch import Tensor

from bench.errors import BenchError
from bench.files import atomic_write, write_png
from bench.generator import save_generator
from bench.images import to_tensor
from bench.seeds import seed_for
from bench.training import checkpoint, evaluate
from bench.training.config import GeneratorConfig, read_config
from bench.training.data import PackedImages, split_rows
from bench.training.generator import GeneratorTraining
from bench.training.generator_data import averaged_encoder, load_data, part_table, shared
from bench.training.spent import KEY, in_words
from bench.weights import manifest as weights

PROBES = ("smile", "age_years", "yaw", "gender", "mouth_open", "eyes_closed", "skin_tone", "beard")
FRECHET_IMAGES = 3000


def export_run(config_path: Path, root: Path) -> list[Path]:
    """Export the run of ``config_path``: float16 safetensors, sheets, curves, card, ``weights/manifest.yaml``.

    Returns:
        the files written.
    Raises:
        BenchError: no checkpoint, or one that has not reached the configured size yet.
    """
    config = read_config(config_path)
    run = root / "weights" / "training" / config_path.stem
    folder = config_path.resolve().parent
    if not folder.is_relative_to((root / weights.FOLDER).resolve()):
        raise BenchError(f"cannot export beside {config_path}", expected="a configuration under weights/")
    truth, data = load_data(config, root)
    clean = ~truth.filter(like="detail_").astype(bool).any(axis=1).to_numpy()
    train_rows, held_out_rows = split_rows(data.ids, clean, config.held_out, config.clean_only)
    train = data.subset(train_rows[: 2 * FRECHET_IMAGES])
    training = GeneratorTraining(config, train, part_table(config), None, torch.device("cpu"))
    saved = checkpoint.load(run / "checkpoint.pt")
    training.restore(saved["training"])
    if training.nets.resolution != config.size:
        raise BenchError(
            f"training {config_path.stem} has not reached {config.size} px",
            got=f"{training.nets.resolution} px",
            fix="go on with `bench train generator --resume`",
        )
    measured = measure(training, config, truth, train, train_rows, data.subset(held_out_rows), held_out_rows)
    measured |= saved.get(KEY) or {}
    images = evaluate.sheets(shared(training), averaged_encoder(training), data.subset(held_out_rows), config.seed)
    written = []
    for name, sheet in images.items():
        written.append(folder / "figures" / f"{name}.png")
        written[-1].parent.mkdir(parents=True, exist_ok=True)
        write_png(written[-1], sheet)
    written += _write_weights(training, config, folder, root, measured)
    written.append(folder / "generator.json")
    atomic_write(written[-1], (json.dumps(measured, indent=1) + "\n").encode())
    written.append(folder / "generator.md")
    atomic_write(written[-1], card(config, measured, in_words(saved)).encode())
    return written


def measure(
    training: GeneratorTraining,
    config: GeneratorConfig,
    truth: pd.DataFrame,
    train: PackedImages,
    train_rows: np.ndarray,
    held_out: PackedImages,
    held_out_rows: np.ndarray,
) -> dict[str, Any]:
    """All validation numbers of the card."""
    generator, encoder = shared(training), averaged_encoder(training)
    features = evaluate.PooledFeatures()
    half = min(FRECHET_IMAGES, len(train.ids) // 2)

    def real(rows: range) -> Iterator[Tensor]:
        return (
            to_tensor(train.images[rows[i] : rows[min(i + 49, len(rows) - 1)] + 1]) for i in range(0, len(rows), 50)
        )

    def sampled() -> Iterator[Tensor]:
        latents = generator.sample_w(half, seed_for(config.seed, "frechet samples"))
        return (generator.synthesize(c).clamp(-1, 1) for c in latents.split(50))

    a, b = (evaluate.pooled_features(real(r), features) for r in (range(half), range(half, 2 * half)))
    latents, held_out_latents = (evaluate.encode(encoder, d).numpy().astype(np.float64) for d in (train, held_out))
    probes = {}
    for factor in (f for f in PROBES if f in truth):
        known = truth[factor].to_numpy(np.float64)
        probes[factor] = evaluate.linear_probe(
            latents, known[train_rows[: len(latents)]], held_out_latents, known[held_out_rows]
        )
    return {
        "images_seen": training.position,
        "steps": training.step_count,
        "held_out_mae": evaluate.held_out_mae(generator, encoder, held_out),
        "held_out_images": len(held_out.ids),
        "frechet_samples": evaluate.frechet_distance(a, evaluate.pooled_features(sampled(), features)),
        "frechet_floor": evaluate.frechet_distance(a, b),
        "frechet_images": half,
        "probe_r2": probes,
    }


def _write_weights(
    training: GeneratorTraining, config: GeneratorConfig, folder: Path, root: Path, measured: dict[str, Any]
) -> list[Path]:
    generator = shared(training)
    recipe = {
        "domain": config.domain,
        "dataset": config.dataset,
        "seed": config.seed,
        "images_seen": measured["images_seen"],
    }
    average = generator.latent_avg[0]
    files = {kind: folder / f"{kind}.safetensors" for kind in ("generator", "scaffold")}
    hashes = {"generator": save_generator(files["generator"], generator.net, average, recipe)}
    live = {k: v for k, v in training.nets.state_dict().items() if k.split(".")[0] in SCAFFOLD}
    hashes["scaffold"] = weights.save(files["scaffold"], live, recipe)
    if trains_discriminator(config, training.position):
        net = training.nets.discriminator
        widths = {str(side): width for side, width in sorted(net.channels.items())}
        described = recipe | {"architecture": {"size": net.size, "channels": widths}}
        files["discriminator"] = folder / "discriminator.safetensors"
        hashes["discriminator"] = weights.save(files["discriminator"], net.state_dict(), described)
    base = (root / weights.FOLDER).resolve()
    card_file = (folder / "generator.md").relative_to(base).as_posix()
    manifest = weights.read_manifest(root).model_dump()
    for kind, file in files.items():
        entry = {
            "id": f"{config.domain}_{kind}",
            "file": file.relative_to(base).as_posix(),
            "sha256": hashes[kind],
            "size_bytes": file.stat().st_size,
            "domain": config.domain,
            "kind": kind,
            "licence": "MIT",
            "card": card_file,
        }
        manifest["weights"] = [e for e in manifest["weights"] if e["id"] != entry["id"]] + [entry]
    manifest["domains"][config.domain] = {"generator": f"{config.domain}_generator", "resolution": config.size}
    text = "".join(line for line in weights.manifest_path(root).read_text().splitlines(True) if line.startswith("#"))
    atomic_write(weights.manifest_path(root), (text + yaml.safe_dump(manifest, sort_keys=False)).encode())
    return [*files.values(), weights.manifest_path(root)]


SCAFFOLD = ("encoder", "critic", "reader")  # networks that no other file holds


def trains_discriminator(config: GeneratorConfig, position: int) -> bool:
    """Whether the discriminator has been trained at all: an initial one must not pass for a trained one."""
    start = 0
    for phase in config.phases:
        if phase.adversarial and position > start:
            return True
        start += phase.images
    return False


def card(config: GeneratorConfig, measured: dict[str, Any], time_taken: str) -> str:
    """The model card, from the configuration and what was measured."""
    phases = "\n".join(
        f"| {p.name} | {p.resolution} | {p.images:,} | {p.batch} | {p.lr:g} | {p.reconstruction:g} | {p.perceptual:g} | "
        f"{p.latent:g} | {p.known:g} | {p.adversarial:g} |{'' if p.drawing else ' discriminator alone'}"
        for p in config.phases
    )
    probes = "\n".join(f"| {name} | {value:.3f} |" for name, value in measured["probe_r2"].items())
    return f"""# Model card: {config.domain} generator{" and discriminator" if trains_discriminator(config, measured["images_seen"]) else ""}

Made by `bench train generator --config weights/{config.domain}/generator.yaml`, exported with `--export`.
This file is generated; the numbers are measured at export.

| | |
|---|---|
| architecture | StyleGAN2, {config.size} px, style_dim {config.style_dim}, {config.n_mlp} mapping layers, channels {config.channels} |
| data | {config.dataset}, {"pictures without image-specific details" if config.clean_only else "all pictures"}; last {config.held_out} held out |
| seen | {measured["images_seen"]:,} training images, {measured["steps"]:,} steps |
| time of training | {time_taken} |
| seed, precision | {config.seed}, {config.precision} |
| files | float16 safetensors; SHA-256 in `weights/manifest.yaml` |
| licence | MIT |

## Measured

| quantity | value |
|---|---|
| held-out MAE in [0, 1] through the scaffold's encoder ({measured["held_out_images"]} clean pictures) | {measured["held_out_mae"]:.4f} |
| Frechet distance of samples, psi 1 (EfficientNet-Lite0, 320 pooled features, {measured["frechet_images"]:,} each) | {measured["frechet_samples"]:.3f} |
| the same between two halves of the training pictures (floor) | {measured["frechet_floor"]:.3f} |

Linear probes, R2 on held-out pictures from codes of W:

| factor | R2 |
|---|---|
{probes}

## Recipe

Phases as configured; the export was made after {measured["images_seen"]:,} images (weights of the loss terms; 0 is off):

| phase | px | images | batch | lr | reconstruction | perceptual | latent | known | adversarial |
|---|---|---|---|---|---|---|---|---|---|
{phases}

An encoder trained jointly with the synthesis network supplies codes; the mapping network learns to cover them from
z ~ N(0, I) through a critic in W; in phases with `known`, the codes must also give the known factors and landmarks by a linear
reading (so the probes above are partly by construction); later phases add the image adversary on samples and reconstructions. Pixel loss is weighted by
part ({config.part_weights}). `scaffold.safetensors` holds what else was trained (encoder, critic, linear reading), for a warm start and as a teacher; the
benchmark's encoders are trained separately against the frozen generator.

## Limits

Renders of a parametric head, not photographs; clean pictures only, so accessories and clutter are outside its range on purpose.
Figures: `figures/`.
"""
