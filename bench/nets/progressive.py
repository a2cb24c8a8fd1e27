"""Training of progressive encoders (e4e, ReStyle-e4e): when which difference is learnt, and how large they may get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

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
