"""Data and exported networks of a generator training: images, loss weights of parts, the averaged networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bench.errors import BenchError, DataError
from bench.files import read_table
from bench.generator import SharedGenerator
from bench.renderers.by_name import renderer_of
from bench.seeds import seed_for
from bench.training.config import GeneratorConfig
from bench.training.data import PackedImages, pack
from bench.training.generator import GeneratorTraining
from bench.training.scaffold import ScaffoldEncoder


def load_data(config: GeneratorConfig, root: Path) -> tuple[pd.DataFrame, PackedImages]:
    """Ground truth and pictures of the prepared training set, in the same order.

    Raises:
        DataError: the set is not prepared.
    """
    folder = root / "datasets" / "prepared" / config.dataset
    if not (folder / "truth.parquet").is_file():
        raise DataError(
            f"dataset {config.dataset} is not prepared", fix=f"run `bench prepare --dataset {config.dataset}`"
        )
    truth = read_table(
        folder / "truth.parquet", what="ground truth", fix=f"run `bench prepare --dataset {config.dataset}` again"
    ).sort_values("image_id", ignore_index=True)
    if len(truth) <= config.held_out:
        raise DataError(
            f"dataset {config.dataset} is too small",
            got=f"{len(truth)} images",
            expected=f"more than the {config.held_out} held out",
        )
    return truth, pack(folder, list(truth["image_id"]), config.size)


def part_table(config: GeneratorConfig) -> Tensor:
    """(P,) loss weight of each part label.

    Raises:
        BenchError: a weight names a part that does not exist.
    """
    parts = renderer_of(None).parts
    unknown = sorted(set(config.part_weights) - set(parts))
    if unknown:
        raise BenchError(f"part_weights names unknown parts {unknown}", expected=f"some of {list(parts)}")
    return torch.tensor([config.part_weights.get(part, 1.0) for part in parts], dtype=torch.float32)


def shared(training: GeneratorTraining, averaged: bool = True) -> SharedGenerator:
    """The (averaged) generator of a training, with the mean of 10,000 mapped codes as ``latent_avg``."""
    nets = training.nets
    net = (nets.average_generator if averaged else nets.generator).eval()
    with torch.no_grad():
        rng = torch.Generator().manual_seed(seed_for(training.config.seed, "latent_avg"))
        z = torch.randn(10_000, training.config.style_dim, generator=rng)
        average = net.mapping(z.to(training.device)).mean(0)
    return SharedGenerator(net, average, training.config.domain, training.device)


def averaged_encoder(training: GeneratorTraining) -> ScaffoldEncoder:
    """The averaged encoder with its statistics measured on 512 training pictures."""
    count = min(512, len(training.data.ids))
    x, _ = training.data.batch(np.arange(count), np.zeros(count, bool))
    training.nets.average_encoder.calibrate(x.to(training.device))
    return training.nets.average_encoder
