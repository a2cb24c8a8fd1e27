"""Mean, spread and bootstrap interval of per-image values. Pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.seeds import seed_for

CONFIDENCE = 0.95
_DRAWS_AT_ONCE = 1 << 22  # resampled images in memory at a time


class Statistics(NamedTuple):
    """One line of the summary: n values; sd with ddof 1; sem = sd / sqrt(n); percentile interval of the mean."""

    n: int
    mean: float
    sd: float
    sem: float
    ci_low: float
    ci_high: float


def bootstrap_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of resampled images.

    Args:
        values: (K, N) float64, K series over the same or different N images.
        resamples: how many; seed: base seed. The draws depend on N and the seed alone, so equal sets of images are
            resampled alike for every method and metric, and adding a method changes no other interval.
    Returns:
        (resamples, K) float64.
    """
    n = values.shape[1]
    rng = np.random.default_rng(seed_for(seed, "bootstrap", n))
    means = np.empty((resamples, values.shape[0]))
    step = max(1, _DRAWS_AT_ONCE // n)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        draws = rng.integers(0, n, size=(count, n)) + np.arange(count)[:, None] * n
        weights = np.bincount(draws.ravel(), minlength=count * n).reshape(count, n)
        means[start : start + count] = weights @ values.T / n
    return means


def statistics(series: Sequence[np.ndarray], resamples: int, seed: int) -> list[Statistics]:
    """Statistics of several series of finite values, (N_k,) each; series of one length share their resamples.

    With one value there is no spread to estimate: sd, sem and interval are NaN. With none the mean is NaN too.
    """
    out: list[Statistics | None] = [None] * len(series)
    for n in sorted({len(s) for s in series}):
        members = [i for i, s in enumerate(series) if len(s) == n]
        if n < 2:
            for i in members:
                out[i] = Statistics(n, float(series[i][0]) if n else np.nan, *([np.nan] * 4))
            continue
        stacked = np.stack([series[i] for i in members]).astype(np.float64)
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(bootstrap_means(stacked, resamples, seed), [tail, 1 - tail], axis=0)
        sd = stacked.std(axis=1, ddof=1)
        for k, i in enumerate(members):
            out[i] = Statistics(
                n, float(stacked[k].mean()), float(sd[k]), float(sd[k] / np.sqrt(n)), float(low[k]), float(high[k])
            )
    return [s for s in out if s is not None]
