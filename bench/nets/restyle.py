"""ReStyle's loops: an encoder looks at a picture and the render of its last guess, and corrects the guess."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from bench.errors import BenchError

OPTIONS: Mapping[str, Any] = {  # of a training
    "inner_steps": 5,
    "kind": "ir",  # of trunk: "ir" as published for faces, "resnet" (ResNet-34) as published for all else
    "render_start": "zero",  # what the entry makes of the render at first: nothing, or "normal": N(0, 1), as published
}


def refine(
    encoder: Callable[[Tensor], Tensor],
    shown: Callable[[Tensor], Tensor],
    picture: Tensor,
    latent_avg: Tensor,
    average: Tensor,
    steps: int,
) -> Iterator[Tensor]:
    """Codes after each step; nothing is rendered after the last.

    Args:
        encoder: (B, 6, H, W), the picture first, then the render -> (B, L, D) corrections.
        shown: (B, L, D) codes -> (B, 3, H, W) render at the encoder's size, not clamped.
        picture: (B, 3, H, W) in [-1, 1].
        latent_avg, average: (L, D) code that is corrected first, and (1, 3, H, W) its render.
        steps: how many, 1 at least.
    Yields:
        (B, L, D), a new tensor each time.

    Source: Alaluf et al. 2021 (ReStyle), Sec. 3; yuval-alaluf/restyle-encoder 5e80276.
    """
    if steps < 1:
        raise BenchError("ReStyle needs a step", got=steps, expected="1 at least")
    w_plus, render = latent_avg, average.expand(len(picture), -1, -1, -1)
    for step in range(steps):
        w_plus = w_plus + encoder(torch.cat([picture, render], 1))
        yield w_plus
        if step + 1 < steps:
            render = shown(w_plus)


def corrections(
    encoder: Callable[[Tensor], Tensor],
    synthesize: Callable[[Tensor], Tensor],
    shown: Callable[[Tensor], Tensor],
    picture: Tensor,
    latent_avg: Tensor,
    average: Tensor,
    steps: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """As :func:`refine`, to learn from: every step is rendered, and no gradient flows from one step to the one before.

    Args:
        synthesize: (B, L, D) codes -> (B, 3, R, R) render. shown: that render -> (B, 3, H, W) as the encoder sees it.
    Yields:
        (B, L, D) codes and their render.

    Source: training of yuval-alaluf/restyle-encoder 5e80276: the losses of all steps of a batch are added up.
    """
    w_plus, render = latent_avg, average.expand(len(picture), -1, -1, -1)
    for _ in range(steps):
        w_plus = w_plus.detach() + encoder(torch.cat([picture, render], 1))
        x_hat = synthesize(w_plus)
        yield w_plus, x_hat
        render = shown(x_hat.detach())
