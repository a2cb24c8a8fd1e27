"""How a training stands: error and pictures of the held-out split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from bench.images import resize, to_tensor
from bench.training.data import PackedImages
from bench.training.evaluate import grid
from bench.training.loop import Loop

IMAGES, EXAMPLE_IMAGES = 200, 8


@torch.no_grad()
def validate(
    loop: Loop, held_out: PackedImages, show: Callable[[np.ndarray], None] | None = None, most: int = IMAGES
) -> dict[str, float]:
    """Mean absolute error in [0, 1] of held-out pictures, by the averaged weights where there are any.

    Renders are pooled to the pictures' side, as the losses pool them: a generator may draw larger pictures (1024 px)
    than a training set holds (256 px).

    Args:
        held_out: held-out pictures, of which the first ``most`` are used.
        show: takes the sheet of the first few, sources above reconstructions, (H, W, 3) uint8.
    """
    count = min(most, len(held_out.ids))
    errors: list[Tensor] = []
    example_ids: list[Tensor] = []
    with evaluated(loop):
        for start in range(0, count, 25):
            x = to_tensor(held_out.images[start : min(start + 25, count)]).to(loop.device)
            inversion = loop.method.embed(x)
            x_hat = resize(loop.method.render(inversion.w_plus, inversion).clamp(-1, 1), x.shape[-1], "area")
            errors.append((x_hat - x).abs().mean((1, 2, 3)) / 2)
            if start < EXAMPLE_IMAGES:
                example_ids = [x[:EXAMPLE_IMAGES].cpu(), x_hat[:EXAMPLE_IMAGES].cpu()]
    if show is not None:
        show(grid(example_ids))
    return {"held_out_mae": float(torch.cat(errors).mean())}


@contextmanager
def evaluated(loop: Loop) -> Iterator[nn.Module]:
    """The method in evaluation mode, with averaged weights where there are any; then everything as before.

    Averaged weights never saw a batch: their batch norms are measured anew on training pictures.
    """
    net = loop.net
    state = {key: value.clone() for key, value in net.state_dict().items()}
    try:
        if loop.average is not None:
            net.load_state_dict(loop.average.state_dict())
            calibrate(loop)
        yield net.eval()
    finally:
        net.load_state_dict(state)
        net.train()


@torch.no_grad()
def calibrate(loop: Loop, batches: int = 16) -> None:
    """Set the batch norms of the trained network to the mean statistics of training batches."""
    norms = [m for m in loop.net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches that follow
    loop.net.train()
    size = max(loop.preset.batch, 16)
    for n in range(batches if norms else 0):
        rows = np.arange(n * size, (n + 1) * size) % len(loop.data.ids)
        inversion = loop.method.embed(loop.data.batch(rows, np.zeros(size, bool))[0].to(loop.device))
        loop.method.render(inversion.w_plus, inversion)  # some networks work here
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
