"""Codes drawn from a generator with what a judge reads off their pictures; kept in pieces, so a killed run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.directions.direction import Direction
from bench.files import atomic_write
from bench.generator import SharedGenerator

if TYPE_CHECKING:
    from bench.predictors.attributes import Read

PIECE, TOGETHER = 256, 16  # samples kept together, pictures rendered together


@dataclass(frozen=True)
class Samples:
    """Args: latents: (N, D) of w. labels: attribute -> (N,) float64; empty where no judge was asked."""

    latents: Tensor
    labels: Mapping[str, np.ndarray]


def labelled(
    generator: SharedGenerator,
    read: Read,
    count: int,
    seed: int,
    cache: Path,
    on_done: Callable[[float], None] = lambda n: None,
) -> Samples:
    """Sample, render and judge.

    Args:
        count: of samples, which are the same on every machine for one seed; the first of more are those of fewer.
        cache: folder for pieces of labels; its name must stand for generator, judge and seed.
        on_done: called with the number of further samples done.
    """
    latents = generator.sample_w(count, seed)
    pieces = []
    for first in range(0, count, PIECE):
        part = latents[first : first + PIECE]
        stored = cache / f"{first:06d}_{len(part)}.npz"
        if not stored.is_file():
            _write(stored, predict_attributes(generator, read, part))
        with np.load(stored) as arrays:
            pieces.append({name: arrays[name] for name in arrays.files})
        on_done(len(part))
    return Samples(latents[:, 0], {name: np.concatenate([p[name] for p in pieces]) for name in pieces[0]})


@torch.no_grad()
def predict_attributes(generator: SharedGenerator, read: Read, w_plus: Tensor) -> dict[str, np.ndarray]:
    """Attribute -> (N,) float64 of the pictures of codes (N, L, D)."""
    batches: list[dict[str, Tensor]] = []
    for first in range(0, len(w_plus), TOGETHER):
        batches.append(read(generator.synthesize(w_plus[first : first + TOGETHER].to(generator.device))))
    return {name: torch.cat([f[name] for f in batches]).double().cpu().numpy() for name in batches[0]}


def effects(
    generator: SharedGenerator,
    read: Read,
    directions: list[Direction],
    w_plus: Tensor,
    attribute_std: Mapping[str, float],
    degree: float = 1.5,
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """What directions do: direction -> attribute -> mean change for one degree, and its standard error over codes.

    Both in standard deviations of the attribute among samples.

    Args:
        w_plus: (N, L, D) codes, two or more, that no direction was learned from.
        attribute_std: attribute -> its standard deviation.
        degree: each code is moved so far both ways; half of the difference, divided by it, is the change.
    """
    table: dict[str, dict[str, float]] = {}
    errors: dict[str, dict[str, float]] = {}
    for direction in directions:
        up = predict_attributes(generator, read, direction.apply(w_plus, degree))
        down = predict_attributes(generator, read, direction.apply(w_plus, -degree))
        change = {name: (up[name] - down[name]) / (2 * degree * attribute_std[name]) for name in attribute_std}
        table[direction.name] = {name: round(float(values.mean()), 4) for name, values in change.items()}
        errors[direction.name] = {
            name: round(float(values.std(ddof=1)) / len(values) ** 0.5, 4) for name, values in change.items()
        }
    return table, errors


def step_along(latents: Tensor, unit: Tensor) -> float:
    """Standard deviation of codes (N, D) along a unit vector (D,): what degree 1 means in a set learned here."""
    return float((latents @ unit).std())


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    import io

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, buffer.getvalue())
