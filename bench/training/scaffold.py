"""Networks that exist only while a generator is trained, and are thrown away afterwards."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.nets.statedict import filled, part


def _conv(cin: int, cout: int, kernel_size: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(cin, cout, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(cout))


class _Down(nn.Module):
    """Residual block that halves the side."""

    def __init__(self, cin: int, cout: int):
        super().__init__()
        self.conv1, self.conv2, self.skip = _conv(cin, cin), _conv(cin, cout), _conv(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, H, W) -> (B, cout, H/2, W/2)."""
        y = F.leaky_relu(self.conv1(x), 0.2)
        return F.leaky_relu(self.conv2(F.avg_pool2d(y, 2)) + self.skip(F.avg_pool2d(x, 2)), 0.2)


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
            nn.BatchNorm1d(4 * style_dim),
            nn.LeakyReLU(0.2),
        )
        self.out = nn.Linear(4 * style_dim, style_dim)
        # Codes of zero mean and unit variance by construction: the generator sees strong styles from the first step.
        self.norm = nn.BatchNorm1d(style_dim, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, R, R) in [-1, 1] -> (B, D)."""
        y = F.leaky_relu(self.stem[str(self.resolution)](x), 0.2)
        for side in self.order:
            y = self.blocks[side](y)
        return self.norm(self.out(self.hidden(y.flatten(1))).float())

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set all batch norms to the statistics of these pictures, many at once, and switch to evaluation.

        Averaged weights have never seen a batch, so running statistics copied from the live network do not fit them.
        """
        norms = [m for m in self.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        momenta = [m.momentum for m in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches that follow
        self.train()
        self(x)
        self.eval()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def teacher(
    state: Mapping[str, Tensor], resolution: int, style_dim: int, channels: Mapping[int, int]
) -> ScaffoldEncoder:
    """The frozen encoder of a generator's training, from exported weights (``encoder.``).

    Raises:
        WeightsError: tensors of another architecture.
    """
    state_part = part(state, "encoder.")
    return filled(lambda: ScaffoldEncoder(resolution, style_dim, dict(channels)), state_part, "weights of the teacher")


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
        std = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean(1)  # (B/8,)
        return self.head(torch.cat([h, std.repeat(8).unsqueeze(1)], 1)).squeeze(1)


def take_over(new: nn.Module, source: Mapping[str, Tensor]) -> list[str]:
    """Copy each tensor of a state dict that the network has under its name and shape; return the network's rest."""
    target = new.state_dict()
    shared = {k: v for k, v in source.items() if k in target and target[k].shape == v.shape}
    new.load_state_dict({**target, **shared})
    return sorted(set(target) - set(shared))
