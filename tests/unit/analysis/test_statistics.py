"""Intervals and tests against scipy's; closed forms; what few images can and cannot say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.analysis.statistics import (
    bootstrap_interval,
    bootstrap_means,
    effect,
    holm,
    permutation_p,
    rank_stability,
    resolvable,
    statistics,
)

RNG = np.random.default_rng(3)
SKEWED = RNG.lognormal(size=120)


def test_the_interval_is_scipys_bca():
    means = bootstrap_means(SKEWED[None], 4000, 0)[:, 0]
    ours = bootstrap_interval(SKEWED, means)
    theirs = stats.bootstrap((SKEWED,), np.mean, n_resamples=9999, method="BCa", rng=1).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.05 * (theirs.high - theirs.low))
    plain = np.quantile(means, [0.025, 0.975])
    assert ours[1] > plain[1] + 0.02 * (plain[1] - plain[0]), "skewed data move a BCa interval to the right"
    one = stats.bootstrap((SKEWED,), np.mean, n_resamples=9999, method="BCa", alternative="less", rng=1)
    assert bootstrap_interval(SKEWED, means, 0.95, "less")[1] == pytest.approx(one.confidence_interval.high, rel=0.02)


def test_intervals_of_values_that_do_not_differ():
    assert statistics([np.full(5, 2.0)], 50, 0)[0][4:] == (2.0, 2.0)
    low, high = statistics([np.array([0.0, 0, 0, 1])], 500, 0)[0][4:]
    assert 0 <= low <= 0.25 <= high <= 1


def test_permutation_p_is_scipys():
    small = RNG.normal(0.4, 1, size=(3, 9))
    large = RNG.normal(0.15, 1, size=(2, 200))

    def scipy(d):
        mean = lambda a, b, axis: (a - b).mean(axis)  # noqa: E731
        zeros = np.zeros_like(d)
        found = stats.permutation_test(
            (d, zeros), mean, permutation_type="samples", vectorized=True, n_resamples=4999, batch=500, rng=0
        )
        return found.pvalue

    assert permutation_p(small, 99, 0) == pytest.approx([scipy(d) for d in small], abs=1e-12)
    assert permutation_p(large, 4999, 0) == pytest.approx([scipy(d) for d in large], abs=0.03)
    assert permutation_p(np.full((1, 200), 0.1), 999, 0) == pytest.approx([0.001])
    assert permutation_p(np.zeros((1, 30)), 99, 0) == [1.0]


def test_permutation_test_holds_its_level():
    """Under no difference 5 % of tests are below 5 %."""
    p = permutation_p(RNG.normal(size=(400, 40)), 499, 1)
    assert 0.02 < (p <= 0.05).mean() < 0.09


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0]) and holm([]).shape == (0,)


def test_effect():
    found = effect(np.array([-1.0, -3, 0, 0]))
    assert found.d_z == pytest.approx(-1 / np.std([-1, -3, 0, 0], ddof=1)) and found.below == 0.75
    assert effect(np.full(3, 2.0)).d_z == np.inf and effect(np.zeros(3)).d_z == 0 and np.isnan(effect(np.ones(1)).d_z)


def test_what_n_resolves():
    assert resolvable(1.0, 100) == pytest.approx(0.28016, abs=1e-4)  # (1.95996 + 0.84162) / 10
    assert resolvable(1.0, 400) == pytest.approx(resolvable(1.0, 100) / 2)
    assert resolvable(1.0, 100, tests=10) > resolvable(1.0, 100)


def test_rank_stability():
    values = np.stack([RNG.normal(0, 1, 300), RNG.normal(0.1, 1, 300), RNG.normal(3, 1, 300)])
    few, many = rank_stability(values, (5, 200, 300), 300, 0, higher_is_better=False)
    assert (few[0], many[0]) == (5, 200) and few[2] < many[2] <= 1
    clear = rank_stability(values, (5,), 300, 0, higher_is_better=True)[0]
    assert clear[1] == 1.0, "the third is best by far when higher is better"
