"""Means, spreads, intervals, paired tests and ranks of per-image values. Pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from bench.seeds import seed_for

CONFIDENCE = 0.95
EXACT_UP_TO = 12  # images: below, all 2^n sign flips are tried
POWER = 0.80
_DRAWS_AT_ONCE = 1 << 22  # resampled images in memory at a time


class Statistics(NamedTuple):
    """One line of the summary: n values; sd with ddof 1; sem = sd / sqrt(n); bootstrap interval (BCa) of the mean."""

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


def bootstrap_interval(
    values: np.ndarray, means: np.ndarray, confidence: float = CONFIDENCE, alternative: str = "two-sided"
) -> tuple[float, float]:
    """Bias-corrected and accelerated (BCa) interval of a mean, computed by scipy from given resampled means.

    Args:
        values: (N,) float64. means: (resamples,) of :func:`bootstrap_means`.
        alternative: "two-sided"; "less" and "greater" give one finite limit.
    Returns:
        (low, high); both are the mean where values do not differ; percentiles where scipy finds no BCa limit (all
        resampled means on one side).
    """
    from scipy.stats import bootstrap

    mean = float(values.mean())
    if not float(np.ptp(values)):
        return (mean, mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = bootstrap(
            (values,),
            np.mean,
            vectorized=True,
            n_resamples=0,
            method="BCa",
            confidence_level=confidence,
            alternative=alternative,
            bootstrap_result=SimpleNamespace(bootstrap_distribution=means),
        ).confidence_interval
    low, high = float(found.low), float(found.high)
    if np.isnan(low) or np.isnan(high):
        tail = (1 - confidence) / (2 if alternative == "two-sided" else 1)
        low, high = (float(v) for v in np.quantile(means, [tail, 1 - tail]))
    return low, high


def statistics(series: Sequence[np.ndarray], resamples: int, seed: int) -> list[Statistics]:
    """Statistics of several series of finite values, (N_k,) each; series of one length share their resamples.

    With one value there is no spread to estimate: sd, sem and interval are NaN. With none the mean is NaN too.

    Examples:
        >>> line = statistics([np.array([1.0, 2.0, 3.0, 6.0])], resamples=2000, seed=0)[0]
        >>> line.n, line.mean, round(line.sd, 4), round(line.sem, 4)
        (4, 3.0, 2.1602, 1.0801)
        >>> line.ci_low < line.mean < line.ci_high
        True
    """
    out: list[Statistics | None] = [None] * len(series)
    for n in sorted({len(s) for s in series}):
        members = [i for i, s in enumerate(series) if len(s) == n]
        if n < 2:
            for i in members:
                out[i] = Statistics(n, float(series[i][0]) if n else np.nan, *([np.nan] * 4))
            continue
        stacked = np.stack([series[i] for i in members]).astype(np.float64)
        means = bootstrap_means(stacked, resamples, seed)
        sd = stacked.std(axis=1, ddof=1)
        for k, i in enumerate(members):
            low, high = bootstrap_interval(stacked[k], means[:, k])
            out[i] = Statistics(n, float(stacked[k].mean()), float(sd[k]), float(sd[k] / np.sqrt(n)), low, high)
    return [s for s in out if s is not None]


def permutation_p(differences: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Two-sided p values of paired permutation tests: signs of differences are exchangeable if nothing differs.

    Args:
        differences: (K, N) float64, K pairs of methods over the same N images.
        resamples: random sign patterns, the same for all K; up to EXACT_UP_TO images all patterns are tried instead.
    Returns:
        (K,) in (0, 1], as scipy.stats.permutation_test(permutation_type="samples"): random patterns count the observed
        one, so no p is below 1 / (resamples + 1).

    Examples:
        With 3 images all 8 sign patterns are tried. Two of them reach a mean of 2 or more: +++ and ---.

        >>> permutation_p(np.array([[1.0, 2.0, 3.0]]), resamples=1000, seed=0).tolist()
        [0.25]
    """
    k, n = differences.shape
    observed = np.abs(differences.mean(axis=1))
    limit = observed * (1 - 1e-12)  # sums in another order still tie
    hits = np.zeros(k)
    exact = n <= EXACT_UP_TO
    total = 1 << n if exact else resamples
    rng = np.random.default_rng(seed_for(seed, "permutation", n))
    step = max(1, _DRAWS_AT_ONCE // max(n, k))
    for start in range(0, total, step):
        count = min(step, total - start)
        if exact:
            signs = 1.0 - 2.0 * ((np.arange(start, start + count)[:, None] >> np.arange(n)) & 1)
        else:
            signs = 1.0 - 2.0 * rng.integers(0, 2, size=(count, n), dtype=np.int8)
        hits += (np.abs(signs @ differences.T / n) >= limit).sum(axis=0)
    return hits / total if exact else (hits + 1) / (total + 1)


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjustment of a family of p values, (K,) -> (K,), at most 1 (Holm 1979).

    Examples:
        The smallest value is multiplied by 3, the next by 2, the largest by 1; none falls below one before it.

        >>> holm([0.01, 0.04, 0.03]).round(4).tolist()
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values))))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


class Effect(NamedTuple):
    """Size of a paired difference: mean / sd of the differences (Cohen's d_z), and the share of images where it is
    below 0, ties counted half."""

    d_z: float
    below: float


def effect(differences: np.ndarray) -> Effect:
    """(N,) paired differences -> Effect; d_z is NaN below two images, infinite where all differ by the same.

    Examples:
        >>> effect(np.array([-1.0, -3.0, 0.0, 0.0]))  # mean -1, sd 1.414; two images below 0, two ties
        Effect(d_z=-0.7071067811865475, below=0.75)
    """
    share = float((differences < 0).mean() + (differences == 0).mean() / 2)
    if len(differences) < 2:
        return Effect(float("nan"), share)
    mean, sd = float(differences.mean()), float(differences.std(ddof=1))
    return Effect(mean / sd if sd else (0.0 if not mean else float(np.copysign(np.inf, mean))), share)


def resolvable(sd: float, n: int, tests: int = 1) -> float:
    """Smallest mean paired difference found with 80 % power at 5 % (two-sided, Bonferroni over ``tests``).

    Examples:
        >>> round(resolvable(sd=1.0, n=100), 3), round(resolvable(sd=1.0, n=400), 3)  # 4 times the images, half of it
        (0.28, 0.14)
    """
    from scipy.special import ndtri

    return float((ndtri(1 - (1 - CONFIDENCE) / (2 * tests)) + ndtri(POWER)) * sd / np.sqrt(n))


def rank_stability(
    values: np.ndarray, sizes: Sequence[int], draws: int, seed: int, higher_is_better: bool
) -> list[tuple[int, float, float]]:
    """How often random subsets of images order the methods as all images do.

    Args:
        values: (K, N), K methods on the same images. sizes: subset sizes; those of N or more are left out.
    Returns:
        (size, share with the same best method, share with the same order of all), for each size.
    """
    k, n = values.shape
    sign = -1.0 if higher_is_better else 1.0
    whole = np.argsort(sign * values.mean(axis=1), kind="stable")
    rng = np.random.default_rng(seed_for(seed, "rank stability", n))
    order = np.argsort(rng.random((draws, n)), axis=1)
    found = []
    for size in (s for s in sizes if s < n):
        means = np.stack([values[i][order[:, :size]].mean(axis=1) for i in range(k)], axis=1)
        ranks = np.argsort(sign * means, axis=1, kind="stable")
        found.append((size, float((ranks[:, 0] == whole[0]).mean()), float((ranks == whole).all(axis=1).mean())))
    return found
