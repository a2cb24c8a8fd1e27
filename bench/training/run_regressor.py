"""`bench train regressor`: from a configuration to committed weights, measured on faces it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.data.dataset import PreparedDataset
from bench.training.regressor import RegressorConfig, RegressorTraining, measured
from bench.training.run_supervised import Task, parameter_count, run
from bench.weights import manifest as weights


def measure(training: RegressorTraining, dataset: PreparedDataset) -> dict[str, Any]:
    """Numbers of :func:`bench.training.regressor.measured` on the identities that were not trained on."""
    return measured(training.reader(), training.images, training.held_out, training.values)


def save(training: RegressorTraining, path: Path) -> tuple[Path, str]:
    """Write the network with the units of what it reads, as safetensors; the file and its SHA-256."""
    file, reader = path.with_name(f"{path.name}.safetensors"), training.reader()
    net = {f"net.{k}": v for k, v in training.net.state_dict().items() if v.is_floating_point()}
    units = {"mean": reader.mean, "scale": reader.scale, "landmark_side": torch.tensor(training.picture_side)}
    return file, weights.save(file, {**net, **units}, {"factors": training.config.names})


def card_text(
    training: RegressorTraining, numbers: Mapping[str, Any], made_from: Path, licence: str, spent: str
) -> str:
    """Write the model card, from the configuration and what was measured."""
    config = training.config
    explained = "\n".join(f"| {name} | {value:.3f} |" for name, value in numbers["r2"].items())
    marks = numbers["landmark_px"]
    settings = "\n".join(f"| {key} | {value} |" for key, value in config.model_dump().items())
    return f"""# Model card: {config.id}

Made by `bench train regressor --config {made_from}`, exported with `--export`. This file is generated.

Reads known factors and the 68 landmarks off a picture. Measured at export on {numbers["pictures"]:,} pictures of
identities {config.held_out[0]:,} to {config.held_out[1] - 1:,} of {config.dataset}, none of them trained on; the test
set is another split with identities of its own. Landmarks are off by {marks["mean"]:.2f} px of
{training.picture_side} on average (median {marks["median"]:.2f}, 95 % of pictures below {marks["q95"]:.2f}).

| factor | R2, held out |
|---|---|
{explained}

A factor of low R2 is one that the picture hardly shows (grown by hair or hats, or small at {config.side} px): what is
measured with it is measured poorly.

## Recipe

Pictures of {config.side} px, mirrored at random, of varied brightness, half of the batches softened as inversions are.
Mean squared errors of standardised factors and landmarks; AdamW, rate falling along half a cosine.
{parameter_count(training):,} parameters, {numbers["pictures_seen"]:,} pictures drawn of
{len(training.rows):,}; time: {spent}; float16 safetensors, SHA-256 in `weights/manifest.yaml`; licence:
{licence}.

| setting | value |
|---|---|
{settings}
"""


TASK = Task("regressor", RegressorConfig, RegressorTraining, measure, save, card_text)
main = partial(run, TASK)
