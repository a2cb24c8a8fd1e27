"""What a trained generator is worth: held-out error, Frechet distance of samples, linear probes, sheets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.images import resize, to_tensor
from bench.training.data import PackedImages
from bench.training.scaffold import ScaffoldEncoder

if TYPE_CHECKING:
    from bench.generator import SharedGenerator


def _chunks(count: int, size: int = 50) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


@torch.no_grad()
def encode(encoder: ScaffoldEncoder, data: PackedImages) -> Tensor:
    """(N, D) codes of all pictures, on the CPU."""
    device = encoder.out.weight.device
    return torch.cat([encoder(to_tensor(data.images[s]).to(device)).cpu() for s in _chunks(len(data.ids))])


@torch.no_grad()
def held_out_mae(generator: SharedGenerator, encoder: ScaffoldEncoder, data: PackedImages) -> float:
    """Mean absolute error in [0, 1] of pictures reconstructed through the scaffold's encoder."""
    total = 0.0
    for s in _chunks(len(data.ids)):
        x = to_tensor(data.images[s]).to(generator.device)
        w = encoder(x).unsqueeze(1).repeat(1, generator.n_latent, 1)
        total += float((generator.synthesize(w).clamp(-1, 1) - x).abs().mean((1, 2, 3)).sum()) / 2
    return total / len(data.ids)


class PooledFeatures:
    """Spatial mean of EfficientNet-Lite0's last stage (320 channels): (B, 3, R, R) in [-1, 1] -> (B, 320).

    Pictures below 64 px are enlarged to 64 (bilinear): the network's last layers need that much.
    """

    def __init__(self) -> None:
        from bench.nets.perceptual import PerceptualDistance

        self.net = PerceptualDistance((15,))

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[-1] < 64:
            x = resize(x, 64, "bilinear")
        y = ((x + 1) / 2 - self.net.mean) / self.net.std
        for block in self.net.blocks:
            y = block(y)
        return y.mean((2, 3))


@torch.no_grad()
def pooled_features(images: Iterator[Tensor], features: Callable[[Tensor], Tensor]) -> np.ndarray:
    """(N, F) float64 features of batches of pictures in [-1, 1]."""
    return np.concatenate([features(x).double().cpu().numpy() for x in images])


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance of two sets of features (N, F), N above F for a full-rank estimate (Heusel et al. 2017).

    The trace of the square root of the covariances' product comes from the eigenvalues of the symmetric
    sqrt(A) B sqrt(A), so no complex rounding appears.
    """
    mean_a, mean_b = a.mean(0), b.mean(0)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    middle = np.linalg.eigvalsh(root @ cov_b @ root)
    cross = np.sqrt(np.clip(middle, 0, None)).sum()
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def linear_probe(
    train_latents: np.ndarray, train_values: np.ndarray, latents: np.ndarray, values: np.ndarray, ridge: float = 1e-2
) -> float:
    """R2 on held-out pictures of a ridge regression from codes (N, D) to a known factor (N,)."""
    mean, scale = train_latents.mean(0), train_latents.std(0) + 1e-6
    a = np.c_[(train_latents - mean) / scale, np.ones(len(train_latents))]
    gram = a.T @ a + ridge * len(a) * np.eye(a.shape[1])
    weights = np.linalg.solve(gram, a.T @ train_values)
    predicted = np.c_[(latents - mean) / scale, np.ones(len(latents))] @ weights
    return float(1 - ((values - predicted) ** 2).sum() / ((values - values.mean()) ** 2).sum())


def grid(rows: list[Tensor], zoom: int = 1) -> np.ndarray:
    """Rows of pictures (n, 3, R, R) in [-1, 1] as one (H, W, 3) uint8 sheet."""
    from bench.images import to_uint8

    lines = [np.concatenate(list(to_uint8(row)), axis=1) for row in rows]
    sheet = np.concatenate(lines, axis=0)
    return sheet.repeat(zoom, 0).repeat(zoom, 1)


@torch.no_grad()
def sheets(
    generator: SharedGenerator, encoder: ScaffoldEncoder, data: PackedImages, seed: int
) -> dict[str, np.ndarray]:
    """Pictures to look at: reconstructions, samples at psi 1 and 0.7, style mixing, a walk between two codes."""
    x = to_tensor(data.images[:24]).to(generator.device)  # at least 8 pictures
    w = encoder(x).unsqueeze(1).repeat(1, generator.n_latent, 1)
    x_hat = generator.synthesize(w)
    sampled = generator.sample_w(64, seed)
    mix = generator.sample_w(7, seed + 1)
    middle = generator.n_latent // 3
    corner = -torch.ones_like(x[:1])
    mixing = [torch.cat([corner, generator.synthesize(mix)])]
    for row in generator.sample_w(5, seed + 2):
        coarse = row.expand(7, -1, -1)
        mixed = torch.cat([coarse[:, :middle], mix[:, middle:]], 1)
        mixing.append(torch.cat([generator.synthesize(row[None]), generator.synthesize(mixed)]))
    steps = torch.linspace(0, 1, 8, device=generator.device)[:, None, None]
    walk = [
        generator.synthesize(a * (1 - steps) + b * steps) for a, b in zip(w[0:8:2, None], w[1:8:2, None], strict=False)
    ]
    average = generator.latent_avg
    truncated = average + 0.7 * (sampled - average)
    return {
        "reconstructions": grid([line for i in range(0, len(x) - 7, 8) for line in (x[i : i + 8], x_hat[i : i + 8])]),
        "samples": grid(list(generator.synthesize(sampled).split(8))),
        "samples_psi07": grid(list(generator.synthesize(truncated[:32]).split(8))),
        "mixing": grid(mixing),
        "walk": grid(walk),
    }
