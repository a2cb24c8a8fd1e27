"""Losses of generator training: pure functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pyramid_l1(x_hat: Tensor, x: Tensor, weight: Tensor | None = None, levels: int = 3) -> Tensor:
    """Mean absolute error summed over an average-pooled pyramid, scaled to one level.

    Coarse levels tell a young generator where things are while fine detail still disagrees.

    Args:
        x_hat, x: (B, 3, R, R) in [-1, 1].
        weight: (B, 1, R, R) per-pixel weight of mean about 1, or None.
    Returns:
        scalar, in units of the [-1, 1] range.
    """
    total = x.new_zeros(())
    for level in range(levels):
        error = (x_hat - x).abs()
        total = total + (error if weight is None else error * weight).mean()
        if level + 1 < levels:
            x_hat, x = F.avg_pool2d(x_hat, 2), F.avg_pool2d(x, 2)
            weight = None if weight is None else F.avg_pool2d(weight, 2)
    return total / levels


def part_weights(labels: Tensor, table: Tensor) -> Tensor:
    """Per-pixel loss weights from part labels, normalised to mean 1 per image.

    Args:
        labels: (B, R, R) int64 part index.
        table: (P,) weight of each part.
    Returns:
        (B, 1, R, R) float32.
    """
    weight = table[labels].unsqueeze(1)
    return weight / weight.mean(dim=(2, 3), keepdim=True)


def generator_adversarial(fake_logits: Tensor) -> Tensor:
    """Non-saturating loss of the generator (Goodfellow et al. 2014): softplus(-D(fake))."""
    return F.softplus(-fake_logits).mean()


def discriminator_adversarial(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """softplus(-D(real)) + softplus(D(fake))."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def generator_hinge(fake_logits: Sequence[Tensor]) -> Tensor:
    """Loss of the generator against hinge discriminators, mean over them: -D(fake) (Lim and Ye 2017)."""
    return torch.stack([-fake.mean() for fake in fake_logits]).mean()


def discriminator_hinge(real_logits: Sequence[Tensor], fake_logits: Sequence[Tensor]) -> Tensor:
    """max(0, 1 - D(real)) + max(0, 1 + D(fake)), mean over several discriminators."""
    pairs = zip(real_logits, fake_logits, strict=True)
    return torch.stack([F.relu(1 - real).mean() + F.relu(1 + fake).mean() for real, fake in pairs]).mean()


def r1_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """Mean squared gradient norm of D at real pictures (Mescheder et al. 2018), before gamma/2."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).float().sum(), real, create_graph=True)
    return gradient.float().square().sum(dim=tuple(range(1, real.ndim))).mean()


def path_length(
    images: Tensor, w_plus: Tensor, mean: Tensor, noise: Tensor, decay: float = 0.01
) -> tuple[Tensor, Tensor]:
    """Path-length regulariser of StyleGAN2 (Karras et al. 2020, Sec. 3.2).

    Args:
        images: (B, 3, R, R) rendered from ``w_plus`` (B, L, D), which requires grad.
        mean: running mean of path lengths, scalar.
        noise: (B, 3, R, R) standard normal.
    Returns:
        penalty (scalar) and the updated running mean.
    """
    side = images.shape[-1]
    (gradient,) = torch.autograd.grad((images * noise / side).sum(), w_plus, create_graph=True)
    lengths = gradient.float().square().sum(2).mean(1).sqrt()
    new_mean = mean + decay * (lengths.mean().detach() - mean)
    return (lengths - new_mean).square().mean(), new_mean


def moment_prior(w: Tensor) -> Tensor:
    """Pull a batch of codes (B, D), B well above 1, towards zero mean and unit covariance.

    A light prior: codes stay spread and roughly round, so a mapping network can cover them.
    """
    mean = w.mean(0)
    centred = w - mean
    covariance = centred.T @ centred / max(len(w) - 1, 1)
    identity = torch.eye(w.shape[1], device=w.device, dtype=w.dtype)
    # Off-diagonal noise of a finite batch is about 1/B per entry, so that term is averaged over D^2, not D.
    return mean.square().mean() + (covariance.diagonal() - 1).square().mean() + (covariance - identity).square().mean()
