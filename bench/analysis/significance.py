"""Which differences between methods are more than chance: every pair, on the images both have."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from bench.analysis.score_table import Scores, wide
from bench.analysis.statistics import (
    CONFIDENCE,
    bootstrap_interval,
    bootstrap_means,
    effect,
    holm,
    permutation_p,
    rank_stability,
    resolvable,
)
from bench.errors import BenchError

PERMUTATIONS = 9999
SIZES = (25, 50, 100, 200, 400, 800, 1600)
DRAWS = 500


@dataclass(frozen=True)
class Comparison:
    """Mean of ``a - b`` over the images both have.

    Args:
        n: images both have; only_a, only_b: images left out because the other has none.
        low, high: 95 % interval (BCa). p: paired permutation test, two-sided; p_holm: over all pairs of the metric.
        sd, d_z: of the differences. better: share of images on which ``a`` is better, ties counted half.
        gain: mean difference in the metric's good direction, above 0 where ``a`` is better.
    """

    metric: str
    a: str
    b: str
    n: int
    only_a: int
    only_b: int
    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    sd: float
    d_z: float
    better: float
    gain: float

    @property
    def significant(self) -> bool:
        """Whether the Holm-adjusted p-value is at most 0.05."""
        return self.p_holm <= 1 - CONFIDENCE


def compare_all(
    scores: Scores,
    dataset: str,
    metric: str,
    labels: Sequence[str],
    higher_is_better: bool,
    resamples: int,
    seed: int,
    permutations: int = PERMUTATIONS,
    ids: Collection[str] | None = None,
) -> list[Comparison]:
    """All pairs of ``labels`` that share an image; Holm's correction is over these pairs.

    Args:
        ids: compare on these images alone; None for all that a pair has.
    Raises:
        BenchError: a label has no such scores.
    """
    table = wide(scores, dataset, metric)
    table = table if ids is None else table[table.index.isin(list(ids))]
    if absent := [name for name in labels if name not in table]:
        raise BenchError(f"no {metric} scores of {absent[0]!r} on {dataset}", expected=f"one of: {', '.join(table)}")
    pairs = [(a, b, (table[a] - table[b]).dropna().to_numpy()) for a, b in combinations(labels, 2)]
    pairs = [pair for pair in pairs if len(pair[2])]
    found: list[Comparison] = []
    for n in sorted({len(d) for _, _, d in pairs}):
        members = [pair for pair in pairs if len(pair[2]) == n]
        stacked = np.stack([d for _, _, d in members])
        means = bootstrap_means(stacked, resamples, seed)
        p = permutation_p(stacked, permutations, seed)
        for k, (a, b, d) in enumerate(members):
            low, high = bootstrap_interval(d, means[:, k]) if n > 1 else (np.nan, np.nan)
            size, mean = effect(d), float(d.mean())
            sd = float(d.std(ddof=1)) if n > 1 else float("nan")
            found.append(
                Comparison(
                    metric=metric,
                    a=a,
                    b=b,
                    n=n,
                    only_a=int(table[a].notna().sum()) - n,
                    only_b=int(table[b].notna().sum()) - n,
                    mean=mean,
                    low=low,
                    high=high,
                    p=float(p[k]),
                    p_holm=1.0,
                    sd=sd,
                    d_z=size.d_z,
                    better=1 - size.below if higher_is_better else size.below,
                    gain=mean if higher_is_better else -mean,
                )
            )
    adjusted = holm([c.p for c in found])
    order = {pair[:2]: k for k, pair in enumerate(pairs)}
    done = [replace(c, p_holm=float(q)) for c, q in zip(found, adjusted, strict=True)]
    return sorted(done, key=lambda c: order[c.a, c.b])


def clear_winner(comparisons: Sequence[Comparison]) -> str | None:
    """The label that is significantly better than every other one, or None."""
    labels = {name for c in comparisons for name in (c.a, c.b)}
    for name in sorted(labels):
        mine = [c for c in comparisons if name in (c.a, c.b)]
        if len(mine) == len(labels) - 1 and all(c.significant and (c.gain > 0) == (c.a == name) for c in mine):
            return name
    return None


@dataclass(frozen=True)
class Ranking:
    """Order of methods on the images all have, best first, and how often fewer images give the same.

    Args:
        stability: (images, share of random subsets with the same best, with the same order). resolves: smallest
            difference found with 80 % power, corrected over all pairs, for the median pair.
    """

    order: list[str]
    n: int
    stability: list[tuple[int, float, float]]
    resolves: float


def ranking(
    scores: Scores,
    dataset: str,
    metric: str,
    labels: Sequence[str],
    higher_is_better: bool,
    seed: int,
    draws: int = DRAWS,
) -> Ranking | None:
    """None where fewer than two methods share fewer than two images."""
    both = wide(scores, dataset, metric)[list(labels)].dropna()
    if len(labels) < 2 or len(both) < 2:
        return None
    values = both.to_numpy().T
    means = values.mean(axis=1) * (-1 if higher_is_better else 1)
    order = [labels[k] for k in np.argsort(means, kind="stable")]
    spreads = [float((values[i] - values[k]).std(ddof=1)) for i, k in combinations(range(len(labels)), 2)]
    stability = rank_stability(values, SIZES, draws, seed, higher_is_better)
    return Ranking(order, len(both), stability, resolvable(float(np.median(spreads)), len(both), len(spreads)))
