"""Networks that exist only while a generator is trained, and are thrown away afterwards."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _conv(cin: int, cout: int, kernel_size: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(cin, cout, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(conv, nn.GroupNorm(math.gcd(cout, 8), cout))


class _Down(nn.Module):
    """Residual block that halves the side."""

    def __init__(self, cin: int, cout: int):
        super().__init__()
        self.conv1, self.conv2, self.skip = _conv(cin, cin), _conv(cin, cout), _conv(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, H, W) -> (B, cout, H/2, W/2)."""
        y = F.leaky_relu(self.conv1(x), 0.2)
        return F.leaky_relu(self.conv2(F.avg_pool2d(y, 2)) + self.skip(F.avg_pool2d(x, 2)), 0.2)


class RunningNorm(nn.Module):
    """Codes to zero mean and unit variance by statistics that follow the recent batches.

    In the first images of a phase (``young``) the batch's own statistics are used, as in batch normalisation; in small
    batches these are noise that a code cannot carry detail through, so afterwards the running ones are, as constants.
    """

    def __init__(self, style_dim: int, momentum: float = 0.03):
        super().__init__()
        self.momentum, self.young = momentum, True
        self.register_buffer("mean", torch.zeros(style_dim))
        self.register_buffer("var", torch.ones(style_dim))

    @torch.no_grad()
    def follow(self, x: Tensor, momentum: float) -> None:
        """Move the running statistics towards those of a batch (B, D)."""
        self.mean.lerp_(x.mean(0), momentum)
        self.var.lerp_(x.var(0), momentum)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        if self.training:
            self.follow(x.detach(), self.momentum)
        mean, var = (x.mean(0), x.var(0)) if self.training and self.young else (self.mean, self.var)
        return (x - mean) * torch.rsqrt(var + 1e-6)


class ScaffoldEncoder(nn.Module):
    """Pictures to codes of W, trained jointly with the synthesis network.

    Args:
        resolution: input side.
        style_dim: length of a code.
        channels: side -> width, as for the generator.

    Blocks are named by their input side, so a grown encoder takes over all smaller ones by name.
    """

    def __init__(self, resolution: int, style_dim: int, channels: dict[int, int]):
        super().__init__()
        self.resolution = resolution
        self.stem = nn.ModuleDict({str(resolution): _conv(3, channels[resolution])})
        sides = [resolution >> i for i in range(resolution.bit_length()) if resolution >> i > 4]
        self.blocks = nn.ModuleDict({str(r): _Down(channels[r], channels[r // 2]) for r in sides})
        self.order = [str(r) for r in sides]
        self.hidden = nn.Sequential(
            nn.Linear(channels[4] * 16, 4 * style_dim, bias=False),
            nn.LayerNorm(4 * style_dim),
            nn.LeakyReLU(0.2),
        )
        self.out = nn.Linear(4 * style_dim, style_dim)
        # Codes of zero mean and unit variance by construction: the generator sees strong styles from the first step.
        self.norm = RunningNorm(style_dim)

    def raw(self, x: Tensor) -> Tensor:
        """Codes before they are normalised."""
        y = F.leaky_relu(self.stem[str(self.resolution)](x), 0.2)
        for side in self.order:
            y = self.blocks[side](y)
        return self.out(self.hidden(y.flatten(1))).float()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, R, R) in [-1, 1] -> (B, D)."""
        return self.norm(self.raw(x))

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set the statistics to those of these pictures: for averaged weights, whose own were never seen."""
        self.norm.follow(self.raw(x), 1.0)


class LatentCritic(nn.Module):
    """Tells encoded codes from mapped ones; sees the batch's spread so that a collapsed mapping is noticed."""

    def __init__(self, style_dim: int, width: int = 256):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(style_dim, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
        )
        self.head = nn.Linear(width + 1, 1)

    def forward(self, w: Tensor) -> Tensor:
        """(B, D) -> (B,) logits; B divisible by 8."""
        h = self.body(w)
        groups = h.view(8, -1, h.shape[1])
        spread = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean(1)  # (B/8,)
        return self.head(torch.cat([h, spread.repeat(8).unsqueeze(1)], 1)).squeeze(1)


def take_over(new: nn.Module, old: nn.Module) -> list[str]:
    """Copy every parameter and buffer that both networks have under one name and shape; return the new net's rest."""
    source, target = old.state_dict(), new.state_dict()
    shared = {k: v for k, v in source.items() if k in target and target[k].shape == v.shape}
    new.load_state_dict({**target, **shared})
    return sorted(set(target) - set(shared))
