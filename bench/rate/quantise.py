"""An inversion, quantised: the tensors a decoder would have, and the bits of each picture's code.

- Codes are taken relative to the generator's mean code, which a decoder has; their unit is the spread of the
  generator's codes, so that one step means the same for every method.
- Anything in memory brings its own mean and spread in its code, as nothing else is known of it. Maps (channels, H, W)
  whose sides are multiples of 8 are quantised as pictures are in JPEG: orthonormal cosine transform of 8x8 blocks, of
  the colours too where there are three channels; other tensors number by number.

Steps are in these units. Step 0 keeps numbers as they are, 32 bits each. Maps may be pooled before all that (means of
squares of pixels); a decoder enlarges them again, bilinearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.api import Inversion
from bench.images import resize
from bench.rate.entropy import NUMBER_BITS, Coded, cheapest, coded, quantise

if TYPE_CHECKING:
    from torch import Tensor

    from bench.generator import SharedGenerator

SAMPLES = 4096  # codes whose spread is the unit
BLOCK = 8
COLOURS = 3


@dataclass(frozen=True)
class QuantisedTensor:
    """One tensor of a batch as a decoder gets it.

    Args:
        values: (B, ...). coded: bits of each picture. floats: numbers of one picture that they stand for.
    """

    values: Tensor
    coded: list[Coded]
    floats: int


def unit_of(generator: SharedGenerator) -> float:
    """Spread of the generator's codes: standard deviation of a number of W over samples, mean over the numbers."""
    return float(generator.sample_w(SAMPLES, seed=0)[:, 0].std(0).mean())


def quantise_latents(w_plus: Tensor, step: float, generator: SharedGenerator, unit: float) -> QuantisedTensor:
    """(B, L, D) codes quantised at ``step`` units; 0 leaves them alone."""
    if not step:
        return _exact(w_plus)
    centre = generator.latent_avg.cpu().double().numpy()
    symbols = [quantise(one - centre, step * unit) for one in _arrays(w_plus)]
    values = np.stack([centre + one * (step * unit) for one in symbols])
    return QuantisedTensor(_like(values, w_plus), [coded(one) for one in symbols], symbols[0].size)


def quantise_memory(tensor: Tensor, step: float, pool: int = 1) -> QuantisedTensor:
    """(B, ...) tensor of a memory quantised at ``step`` of its own spread in each picture; 0 leaves it alone.

    Integers are never rounded.

    Args:
        pool: side of the squares that maps are pooled over first; other tensors have no resolution to lose.
    """
    if not step or not tensor.is_floating_point():
        return _exact(tensor)
    if pool > 1 and can_pool(tensor, pool):
        height, width = tensor.shape[-2:]
        small = quantise_memory(resize(tensor, (height // pool, width // pool), "area"), step)
        return QuantisedTensor(resize(small.values, (height, width), "bilinear"), small.coded, small.floats)
    quantised = [_map_at(one, step) if _is_map(one.shape) else _numbers_at(one, step) for one in _arrays(tensor)]
    return QuantisedTensor(
        _like(np.stack([values for values, _ in quantised]), tensor), [bits for _, bits in quantised], tensor[0].numel()
    )


def can_pool(tensor: Tensor, pool: int) -> bool:
    """Whether each picture's tensor is a map, and still one when it is pooled."""
    return _is_map(tensor.shape[1:]) and all(side % (BLOCK * pool) == 0 for side in tensor.shape[-2:])


def joined(latents: QuantisedTensor, memory: dict[str, QuantisedTensor]) -> tuple[Inversion, list[Coded], int]:
    """The inversion a decoder has, each picture's bits in all, and the numbers they stand for."""
    parts = [latents, *memory.values()]
    total = [
        Coded(sum(p.coded[n].data for p in parts), sum(p.coded[n].side for p in parts))
        for n in range(len(latents.coded))
    ]
    decoded = Inversion(latents.values, {name: tensor.values for name, tensor in memory.items()})
    return decoded, total, sum(p.floats for p in parts)


def to_frequencies(image: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (C, 64, blocks): cosine transform of each block, orthonormal; of three channels too."""
    from scipy.fft import dct, dctn

    channels, height, width = image.shape
    image = dct(image, axis=0, norm="ortho") if channels == COLOURS else image
    blocks = image.reshape(channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    coefficients = dctn(blocks, axes=(2, 4), norm="ortho")
    return coefficients.transpose(0, 2, 4, 1, 3).reshape(channels, BLOCK * BLOCK, -1)


def from_frequencies(coefficients: np.ndarray, height: int, width: int) -> np.ndarray:
    """The inverse of :func:`to_frequencies`."""
    from scipy.fft import idct, idctn

    channels = len(coefficients)
    blocks = coefficients.reshape(channels, BLOCK, BLOCK, height // BLOCK, width // BLOCK).transpose(0, 3, 1, 4, 2)
    image = idctn(blocks, axes=(2, 4), norm="ortho").reshape(channels, height, width)
    return idct(image, axis=0, norm="ortho") if channels == COLOURS else image


def _is_map(shape: Sequence[int]) -> bool:
    return len(shape) == 3 and shape[1] % BLOCK == 0 and shape[2] % BLOCK == 0


def _map_at(one: np.ndarray, step: float) -> tuple[np.ndarray, Coded]:
    mean, width = _scale(one, step)
    symbols = quantise(to_frequencies(one - mean), width)
    of_colour, of_all = symbols.reshape(-1, symbols.shape[-1]), symbols.transpose(1, 0, 2)
    bits = cheapest([coded(of_all, predict=False), coded(of_colour, predict=False)])
    return mean + from_frequencies(symbols * width, *one.shape[1:]), _with_scale(bits)


def _numbers_at(one: np.ndarray, step: float) -> tuple[np.ndarray, Coded]:
    mean, width = _scale(one, step)
    symbols = quantise(one - mean, width)
    return mean + symbols * width, _with_scale(coded(symbols))


def _scale(one: np.ndarray, step: float) -> tuple[float, float]:
    """Mean, and step in the tensor's own numbers, from values rounded as the code holds them."""
    return float(np.float32(one.mean())), step * float(np.float32(one.std()))


def _with_scale(bits: Coded) -> Coded:
    """With the mean; the spread stands where the step would."""
    return Coded(bits.data, bits.side + NUMBER_BITS)


def _exact(tensor: Tensor) -> QuantisedTensor:
    return QuantisedTensor(
        tensor, [Coded(float(one.size * NUMBER_BITS), 0.0) for one in _arrays(tensor)], tensor[0].numel()
    )


def _arrays(tensor: Tensor) -> Sequence[np.ndarray]:
    """Each picture's numbers in float64 (integers stay), with one axis at least."""
    array = tensor.detach().cpu().numpy()
    array = array.astype(np.float64) if tensor.is_floating_point() else array
    return list(array.reshape(len(array), -1) if array.ndim < 2 else array)


def _like(values: np.ndarray, tensor: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(values).reshape(tensor.shape).to(tensor)
