"""Training of progressive encoders (e4e, ReStyle-e4e): when which difference is learnt, and how large they may get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.nets.latent_discriminator import LatentJudge

if TYPE_CHECKING:
    from bench.generator import SharedGenerator

OPTIONS: Mapping[str, Any] = {
    "first_difference": 160_000,  # pictures seen before the second code may differ; published: 20,000 steps of 8
    "next_difference": 16_000,  # further pictures before each next one; published: 2,000 steps of 8
    "pool": 50,  # codes remembered for the discriminator of codes
    "r1_every": 16,  # steps between two gradient penalties of that discriminator
}


def stage_at(seen: int, n_styles: int, options: Mapping[str, Any]) -> int:
    """Number of differences in use after ``seen`` pictures, from 0 to ``n_styles`` - 1.

    Source: Tov et al. 2021 (e4e), Sec. 5.1; schedule of omertov/encoder4editing 99ea505.
    """
    past = seen - options["first_difference"]
    return 0 if past < 0 else min(n_styles - 1, 1 + past // options["next_difference"])


def difference_norm(codes: Tensor) -> Tensor:
    """Length of the differences to the first code, summed over codes, mean over the batch.

    Args:
        codes: (B, k, D) offsets from the mean code, k at least 1.

    Source: Tov et al. 2021 (e4e), Eq. 3.
    """
    differences = codes[:, 1:] - codes[:, :1]
    # beside the sum of squares, so that a zero difference has a gradient: 0
    return (differences.float().square().sum(2) + 1e-12).sqrt().sum(1).mean()


class EditableCodes:
    """The losses that keep codes editable, with the discriminator of codes that one of them needs.

    Args:
        generator: whose mapping network makes the codes that encoded ones should look like.
        latent_avg: (L, D) mean code that encoded ones are relative to.
        options: of the training, :data:`OPTIONS` among them.

    Source: Tov et al. 2021 (e4e), Sec. 4 and 5.
    """

    def __init__(self, generator: SharedGenerator, latent_avg: Tensor, options: Mapping[str, Any]):
        self.generator, self.latent_avg = generator, latent_avg
        self.judge = LatentJudge(generator.style_dim, options["pool"], options["r1_every"])

    def losses(self, w_plus: Tensor, stage: int) -> dict[str, Tensor]:
        """``delta``, the size of the differences, and ``latent_adversarial``, whether codes look mapped.

        Args:
            w_plus: (B, L, D) codes, with ``latent_avg``. stage: differences in use.
        """
        self.codes = w_plus[:, : stage + 1]  # the others equal the first
        return {
            "delta": difference_norm(self.codes - self.latent_avg[: stage + 1]),
            "latent_adversarial": self.judge.verdict(self.codes),
        }

    def opponents(self) -> Mapping[str, nn.Module]:
        """The discriminator of codes."""
        return {"latent_discriminator": self.judge}

    def opponent_loss(self, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        """The discriminator's losses, on the codes that :meth:`losses` was last given and on mapped ones."""
        return self.judge.losses(self.codes.detach(), self.generator, rng, step)
