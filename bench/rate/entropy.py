"""Bits of integers: their measured entropy, and all side information a decoder needs.

A picture's code is self-contained: a decoder that has the method and its generator needs nothing of other pictures.
For the symbols of one tensor of one picture,

    bits = head + sum over models of  n H + log2 C(n + K - 1, K - 1) + gamma(lowest) + gamma(K)

where the n symbols of a model have the empirical entropy H (bits) over K values, the second term names their histogram
among all there are, and the last two are Elias gamma codes. One model for all symbols, or one for each row of them, and
three predictions of a symbol (none, the row before, the neighbour before) are tried; the cheapest is taken. The head
says which, in 8 bits, and gives the step as a float32.

Sources: entropy as the limit of coding, Shannon 1948; histograms by enumeration, Cover 1973; Elias 1975.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bench.errors import BenchError

CHOICE_BITS = 8
NUMBER_BITS = 32  # a float32, and any number that is kept as it is
LARGEST = 1 << 20  # symbols beyond this come from a step that is a mistake


@dataclass(frozen=True)
class Coded:
    """Bits of one tensor of one picture. Args: data: n H, summed over models. side: everything else."""

    data: float
    side: float

    @property
    def bits(self) -> float:
        """Bits in all: data and side information."""
        return self.data + self.side


def quantise(values: np.ndarray, step: float) -> np.ndarray:
    """Symbols round(values / step), int64, of the same shape. Step 0 stands for values without spread: all zeros.

    Raises:
        BenchError: a negative step, or one far too small.

    Examples:
        >>> quantise(np.array([-0.6, 0.2, 1.1]), 0.5).tolist()
        [-1, 0, 2]
    """
    if step < 0 or not math.isfinite(step):
        raise BenchError("a step of quantisation is no positive number", got=step, fix="correct `rate:` in the profile")
    if step == 0:
        return np.zeros(values.shape, np.int64)
    symbols = np.rint(values.astype(np.float64) / step)
    if symbols.size and np.abs(symbols).max() > LARGEST:
        raise BenchError(
            "a step of quantisation is too small", got=step, expected=f"up to {LARGEST:,} steps", fix="enlarge it"
        )
    return symbols.astype(np.int64)


def entropy(symbols: np.ndarray) -> float:
    """Empirical entropy of integers of any shape, in bits per symbol: -sum p log2 p. One value has entropy 0."""
    return _data_bits(_counts(symbols.reshape(1, -1))[0], symbols.size) / symbols.size


def histogram_bits(n: int, values: np.ndarray) -> np.ndarray:
    """log2 of the number of histograms of ``n`` symbols over K ``values``: C(n + K - 1, K - 1)."""
    from scipy.special import gammaln

    return (gammaln(n + values) - gammaln(values) - gammaln(n + 1)) / math.log(2)


def gamma_bits(numbers: np.ndarray) -> np.ndarray:
    """Lengths of the Elias gamma codes of integers: of 2 number + 1 for those from 0, of -2 number below 0."""
    folded = np.where(numbers >= 0, 2 * numbers + 1, -2 * numbers)
    return 2 * np.floor(np.log2(folded)).astype(int) + 1


def coded(symbols: np.ndarray, predict: bool = True) -> Coded:
    """The cheapest of all ways to group and predict.

    Args:
        symbols: (rows, ...) integers: layers of a code, frequencies of a map.
        predict: False tries no prediction, for symbols that a transform has made independent.
    """
    ways = [flat := symbols.reshape(len(symbols), -1)]
    if predict:
        ways.append(np.diff(flat, axis=0, prepend=0))
        ways.append(np.diff(symbols, axis=-1, prepend=0).reshape(flat.shape))
    best = cheapest(_grouped(one, by_row) for one in ways for by_row in (False, True))
    return Coded(best.data, best.side + CHOICE_BITS + NUMBER_BITS)


def cheapest(found: Iterable[Coded]) -> Coded:
    """The one of fewest bits, the first of equals."""
    return min(found, key=lambda one: one.bits)


def _grouped(symbols: np.ndarray, by_row: bool) -> Coded:
    groups = symbols if by_row else symbols.reshape(1, -1)
    counts, lowest, values = _counts(groups)
    n = groups.shape[1]
    side = histogram_bits(n, values).sum() + gamma_bits(lowest).sum() + gamma_bits(values - 1).sum()
    return Coded(_data_bits(counts, n), float(side))


def _counts(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(groups, n) -> how often each value occurs, (groups, K) of the widest; the lowest of each group; its K."""
    lowest = groups.min(1)
    values = groups.max(1) - lowest + 1
    width = int(values.max())
    places = groups - lowest[:, None] + np.arange(len(groups))[:, None] * width
    return np.bincount(places.ravel(), minlength=len(groups) * width).reshape(len(groups), width), lowest, values


def _data_bits(counts: np.ndarray, n: int) -> float:
    """n H of groups of n symbols with these counts, summed."""
    used = counts[counts > 0]
    return float((used * np.log2(n / used)).sum())
