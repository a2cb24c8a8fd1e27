"""Discriminator of latent codes: tells codes of an encoder from codes the mapping network makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.nets.ops import SLOPE, check_shape

if TYPE_CHECKING:
    from bench.generator import SharedGenerator


class LatentDiscriminator(nn.Module):
    """Plain multilayer perceptron on single codes w; every code of a W+ is judged on its own.

    Args:
        style_dim: length D of a code.
        hidden: width of the hidden layers.
        depth: number of hidden layers.

    Source: Tov et al. 2021 (e4e), Sec. 4.2; layout of ``discriminator_state_dict`` of
    omertov/encoder4editing 99ea505.
    """

    def __init__(self, style_dim: int = 512, hidden: int = 512, depth: int = 3):
        super().__init__()
        self.style_dim = style_dim
        widths = [style_dim, *[hidden] * depth]
        parts: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            parts += [nn.Linear(before, after), nn.LeakyReLU(SLOPE)]
        self.mlp = nn.Sequential(*parts, nn.Linear(widths[-1], 1))

    def forward(self, w: Tensor) -> Tensor:
        """(B, D) codes -> (B, 1) logits, high for codes that look mapped.

        Raises:
            ShapeError: not a batch of single codes; flatten a W+ (B, L, D) to (B L, D) first.
        """
        check_shape("w", w, (None, self.style_dim))
        return self.mlp(w)


class Peers(Protocol):
    """The processes of a training, as a pool sees them."""

    @property
    def rank(self) -> int:
        """This one's number."""
        ...

    def gather(self, item: Any) -> list[Any]:
        """What each process gives, by rank, for all of them."""
        ...


@dataclass(frozen=True)
class Alone:
    """One process."""

    rank: int = 0

    def gather(self, item: Any) -> list[Any]:
        """Return the item in a list: there is one process."""
        return [item]


class CodePool(nn.Module):
    """The last codes a discriminator has seen, mixed into the next: half of a batch is swapped for older codes.

    Several processes (``peers``, set by the training loop) exchange their codes and keep equal pools: what a pool does
    depends on the passes of a step in their order, not on how many processes make them.

    Args:
        size: codes remembered; 0 remembers none. style_dim: length of a code.

    Source: Shrivastava et al. 2017 (history of generated images), as used for codes by Tov et al. 2021 (e4e).
    """

    codes: Tensor
    filled: Tensor

    def __init__(self, size: int, style_dim: int):
        super().__init__()
        self.register_buffer("codes", torch.zeros(size, style_dim))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.peers: Peers = Alone()

    @torch.no_grad()
    def mixed(self, w: Tensor, rng: torch.Generator) -> Tensor:
        """(N, D) new codes -> (N, D): each itself, or, once the pool is full, with p = 0.5 one that it replaces."""
        swap = torch.rand(len(w), generator=rng) < 0.5
        place = torch.randint(max(len(self.codes), 1), (len(w),), generator=rng)
        if not len(self.codes):
            return w.clone()
        passes = self.peers.gather((w.cpu(), swap, place))
        return [self._pass(codes.to(w.device), *chosen) for codes, *chosen in passes][self.peers.rank]

    def _pass(self, w: Tensor, swap: Tensor, place: Tensor) -> Tensor:
        """Codes (N, D) of one pass, with those swapped (N,) for the ones at their places (N,)."""
        result, size = w.clone(), len(self.codes)
        for n in range(len(w)):
            if self.filled < size:
                self.codes[self.filled] = w[n]
                self.filled += 1
            elif swap[n]:
                result[n] = self.codes[place[n]]
                self.codes[place[n]] = w[n]
        return result


class LatentJudge(nn.Module):
    """A discriminator of codes in training, with its pools of mapped and of encoded codes.

    Args:
        style_dim: length of a code. pool: codes in each pool. r1_every: steps between two gradient penalties.

    Source: Tov et al. 2021 (e4e), Sec. 4.2 and 5.2; omertov/encoder4editing 99ea505.
    """

    def __init__(self, style_dim: int, pool: int = 50, r1_every: int = 16):
        super().__init__()
        self.net = LatentDiscriminator(style_dim, style_dim)
        self.mapped, self.encoded = CodePool(pool, style_dim), CodePool(pool, style_dim)
        self.r1_every = r1_every

    def verdict(self, codes: Tensor) -> Tensor:
        """Loss of the encoder: (B, k, D) codes should look mapped."""
        return F.softplus(-self.net(codes.flatten(0, 1)).float()).mean()

    def losses(self, codes: Tensor, generator: SharedGenerator, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        """Losses of the discriminator: ``latent_discriminator``, and every ``r1_every`` steps ``latent_r1``.

        Args:
            codes: (B, k, D) encoded codes, detached. The same number of mapped ones is drawn.
        Returns:
            scalars; the penalty is half the squared gradient, times the steps it stands for.
        """
        fake = self.encoded.mixed(codes.flatten(0, 1).float(), rng)
        z = torch.randn(len(fake), generator.style_dim, generator=rng).to(fake.device)
        with torch.no_grad():
            real = self.mapped.mixed(generator.net.mapping(z).float(), rng)
        judged = F.softplus(-self.net(real).float()).mean() + F.softplus(self.net(fake).float()).mean()
        if step % self.r1_every:
            return {"latent_discriminator": judged}
        with torch.autocast(real.device.type, enabled=False):  # float32: bf16 double backward kills some CPUs (SIGFPE)
            real = real.requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.net(real).sum(), real, create_graph=True)
        penalty = gradient.square().sum(1).mean() / 2 * self.r1_every
        return {"latent_discriminator": judged, "latent_r1": penalty}
