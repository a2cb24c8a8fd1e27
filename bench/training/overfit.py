"""Can a method learn a few pictures by heart? If it cannot, its code is wrong, or its generator cannot draw them."""

from __future__ import annotations

import numpy as np
import torch

from bench.generator import SharedGenerator
from bench.images import to_uint8
from bench.seeds import seed_for
from bench.training.data import PackedImages
from bench.training.preset import Overfit

AT_ONCE = 16


def few(settings: Overfit, images: PackedImages, generator: SharedGenerator, seed: int) -> PackedImages:
    """The pictures of the check.

    An encoder whose result is a code is bound by what its generator can draw: its error on photographs ends where
    optimisation ends, however right its code is. Pictures the generator drew itself have no such bound.

    Args:
        images: of the training set; the first are taken. generator: draws as many from mapped codes, for ``drawn``.
    Returns:
        (N, R, R, 3) uint8 with ids, in memory.
    """
    count = min(settings.pictures, len(images.ids))
    if not settings.drawn:
        return images.subset(np.arange(count))
    latents = generator.sample_w(settings.pictures, seed_for(seed, "overfit"))
    with torch.no_grad():
        drawn = [to_uint8(generator.synthesize(part).clamp(-1, 1)) for part in latents.split(AT_ONCE)]
    return PackedImages([f"drawn_{n:02d}" for n in range(len(latents))], np.concatenate(drawn), None)
