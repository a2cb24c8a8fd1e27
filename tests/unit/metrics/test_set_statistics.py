"""Sets of features compared: closed forms, torch-fidelity's numbers, intervals that mean what they say."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.measures import sets
from bench.metrics import fd_efflite0, fid, kd_efflite0, kid, prc, prc_efflite0
from bench.scoring import set_metrics as run_sets

pytestmark = pytest.mark.numeric

pytest.importorskip("torch_fidelity", reason="pip install 'hfgi-bench[fid]'")
ALL = {m.__name__.rsplit(".", 1)[-1]: m.Metric for m in (fid, kid, prc, fd_efflite0, kd_efflite0, prc_efflite0)}
quick = settings(max_examples=15, deadline=None, derandomize=True)


def features(n, width, noise=0.3, seed=0):
    """Correlated features of n sources and of their reconstructions, float32 as networks give them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, width)) @ (rng.standard_normal((width, width)) / width**0.5) + 1
    return x.astype(np.float32), (x + noise * rng.standard_normal((n, width))).astype(np.float32)


def every(x):
    return np.arange(len(x))


@pytest.mark.parametrize(("n", "width", "tolerance"), [(400, 32, 1e-12), (130, 128, 1e-6), (60, 128, 1e-6)])
def test_frechet_is_torch_fidelitys(n, width, tolerance):
    """Fewer pictures than features: the library takes roots of rounding errors, which shows in the seventh digit."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    x, y = features(n, width)
    statistics = [fid_features_to_statistics(torch.from_numpy(f).double()) for f in (y, x)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert sets.frechet_of_rows(x, y, every(x)) == pytest.approx(theirs, rel=tolerance)


@pytest.mark.parametrize("n", [60, 1050])
def test_kernel_distance_is_torch_fidelitys(n):
    """Its own draws; above and below its subset size of 1,000."""
    from torch_fidelity.metric_kid import kid_features_to_metric

    x, y = features(n, 16)
    x64, y64 = torch.from_numpy(x).double(), torch.from_numpy(y).double()
    theirs = kid_features_to_metric(y64, x64, kid_subset_size=min(1000, n), verbose=False)
    assert sets.kernel_distances(x, y, [every(x)])[0] == pytest.approx(
        theirs["kernel_inception_distance_mean"], rel=1e-9
    )


@pytest.mark.parametrize("noise", [0.3, 1.5, 4.0])
def test_precision_and_recall_are_torch_fidelitys(noise):
    from torch_fidelity.metric_prc import prc_features_to_metric

    x, y = features(200, 8, noise)
    y = y[:, :] * np.float32(0.7)
    generated, real = torch.from_numpy(y).double(), torch.from_numpy(x).double()
    theirs = prc_features_to_metric(generated, real, save_cpu_ram=False, verbose=False)
    precision, recall = sets.precision_recall(x, y, [every(x)])[0]
    assert (precision, recall) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)
    assert noise < 1 or precision != recall  # which is which is seen


def test_fast_frechet_is_near_enough_for_an_interval():
    x, y = features(90, 128)
    trace = np.trace(np.cov(x.astype(np.float64), rowvar=False))
    exact, fast = (sets.frechet_of_rows(x, y, every(x), exact) for exact in (True, False))
    assert abs(exact - fast) < 1e-6 * trace


def test_frechet_of_a_shift_and_of_a_scale():
    """A shift adds its square; a scale s adds (s - 1)^2 times the trace."""
    x, _ = features(300, 12)
    trace = np.trace(np.cov(x.astype(np.float64), rowvar=False))
    assert sets.frechet_of_rows(x, x + np.float32(0.5), every(x)) == pytest.approx(12 * 0.25, rel=1e-5)
    centred = x - x.mean(0)
    assert sets.frechet_of_rows(centred, centred * np.float32(3), every(x)) == pytest.approx(4 * trace, rel=1e-5)


def test_precision_and_recall_of_a_part_and_of_strangers():
    """Reconstructions that are all one cluster of two: precise, but half of the sources are lost."""
    rng = np.random.default_rng(0)
    near, far = rng.normal(size=(50, 4)), rng.normal(size=(50, 4)) + 100
    both = np.concatenate([near, far]).astype(np.float32)
    one = np.concatenate([near, near + 1e-3]).astype(np.float32)
    assert sets.precision_recall(both, one, [every(both)])[0] == (1.0, 0.5)
    assert sets.precision_recall(both, one + np.float32(1e4), [every(both)])[0] == (0.0, 0.0)


def test_moments_do_not_depend_on_parts(monkeypatch):
    x, _ = features(1000, 8)
    x = x + np.float32(1e4)  # sums of squares would lose all digits here
    expected = x.astype(np.float64).mean(0), np.cov(x.astype(np.float64), rowvar=False)
    for chunk in (1, 7, 256, 5000):
        monkeypatch.setattr(sets, "CHUNK", chunk)
        for mine, theirs in zip(sets.moments(x, every(x)), expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-10)


@pytest.mark.parametrize("name", ALL)
@quick
@given(seed=st.integers(0, 999), n=st.integers(30, 60))
def test_order_and_place_of_pictures_do_not_matter(name, seed, n):
    """Both sets in another order, and a subset against the same rows alone."""
    x, y = features(n, 6, seed=seed)
    order = np.random.default_rng(seed).permutation(n)
    here, part = ALL[name].values(x, y, [every(x), every(x)[: n // 2]])
    assert ALL[name].values(x[: n // 2], y[: n // 2], [every(x)[: n // 2]])[0] == pytest.approx(part, rel=1e-5)
    turned = ALL[name].values(x[order], y[order], [every(x)])[0]
    assert turned == pytest.approx(here, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_equal_sets_are_ideal_and_noise_is_worse(name):
    metric = ALL[name]
    x, _ = features(600, 16)
    values = [metric.values(x, features(600, 16, noise)[1], [every(x)])[0] for noise in (0.0, 0.5, 3.0)]
    for part in metric.parts:
        clean, little, much = (value[part] for value in values)
        ideal, slack = metric.ideal_of(x)
        assert abs(clean - ideal) <= slack
        if part == "recall":  # wide balls of noisy reconstructions hold sources too
            assert clean >= max(little, much)
        else:
            assert (clean >= little > much) if metric.higher_is_better else (clean < little < much)


@pytest.mark.parametrize("n", [8, 96, 800, 1400])
def test_kernel_distance_of_a_set_and_itself_is_known(n):
    """-2/n (mean k(x, x) - mean k(x, y)), whatever n and order; above 1,000 up to the noise of 100 draws."""
    x, _ = features(n, 16)
    k = (x.astype(np.float64) @ x.T.astype(np.float64) / 16 + 1) ** 3
    off = (k.sum() - np.trace(k)) / (n * (n - 1))
    expected, error = sets.kernel_distance_of_itself(x)
    assert expected == pytest.approx(-2 / n * (np.diagonal(k).mean() - off), rel=1e-9)
    order = np.random.default_rng(1).permutation(n)
    found = [sets.kernel_distances(x, y, [every(x)])[0] for y in (x, x[order])]
    if n <= 1000:
        assert error == 0 and found == pytest.approx([expected] * 2, rel=1e-9)
    else:
        assert 0 < error < 0.05 * abs(expected) and found == pytest.approx([expected] * 2, abs=5 * error)
    ideal, slack = kid.Metric.ideal_of(x)
    assert ideal == expected and all(abs(value - ideal) <= slack for value in found)


def test_the_slack_of_the_kernel_distance_shrinks_with_n():
    """One slack for all n would let bent values pass where pictures are many, or refuse copies where they are few."""
    for n in (8, 96, 800, 1400):
        x, y = features(n, 16, noise=0.5)
        ideal, slack = kid.Metric.ideal_of(x)
        assert abs(kid.Metric.values(x, y, [every(x)])[0][""] - ideal) > 5 * slack, n


# --- intervals ---


def test_groups_are_even_and_belong_to_ids():
    ids = [f"{n:03d}" for n in range(95)]
    dealt = run_sets.groups(ids, 0)
    assert sorted(np.bincount(dealt)) == [9] * 5 + [10] * 5
    turned = run_sets.groups(ids[::-1], 0)
    assert dict(zip(ids, dealt, strict=True)) == dict(zip(ids[::-1], turned, strict=True))
    assert (run_sets.groups(ids, 1) != dealt).any()


def test_jackknife_of_a_mean_is_its_standard_error():
    """With groups of one picture the delete-a-group jackknife of a mean is sd / sqrt(n)."""
    values = np.random.default_rng(0).normal(size=10)
    left_out = [np.delete(values, n).mean() for n in range(10)]
    sem, low, high = run_sets.interval(values.mean(), left_out)
    assert sem == pytest.approx(values.std(ddof=1) / 10**0.5)
    assert (high - low) / 2 == pytest.approx(2.262157 * sem, rel=1e-6)


def test_intervals_cover():
    """Of 60 samples the standard error must agree with the spread that the samples really have: within 35 %."""
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((240, 6)).astype(np.float32)
        y = (x + 0.8 * rng.standard_normal(x.shape)).astype(np.float32)
        ids = [str(n) for n in range(len(x))]
        found.append(run_sets.evaluate(fid.Metric, "fid", "s", ids, x, y, seed)[0])
    spread, claimed = np.std([v.value for v in found], ddof=1), np.mean([v.sem for v in found])
    assert 0.65 < claimed / spread < 1.35
    centre = np.mean([v.value for v in found])
    assert 50 <= sum(v.ci_low <= centre <= v.ci_high for v in found) <= 60


def test_too_few_pictures_have_no_interval():
    x, y = features(12, 4)
    (value,) = run_sets.evaluate(fid.Metric, "fid", "s", [str(n) for n in range(12)], x, y, 0)
    assert np.isfinite(value.value) and np.isnan([value.sem, value.ci_low, value.ci_high]).all()
    (alone,) = run_sets.evaluate(fid.Metric, "fid", "s", ["0"], x[:1], y[:1], 0)
    assert alone.n == 1 and np.isnan(alone.value)


@pytest.mark.parametrize("name", ["prc", "fid"])
def test_intervals_stay_where_values_can_be(name):
    """A share of pictures lies in [0, 1] and a distance above 0, so their intervals do."""
    x, _ = features(60, 6)
    y = np.r_[x[:57], x[57:] + 30]
    order = np.random.default_rng(0).permutation(60)
    for other in (y, y[order], x[order]):
        for value in run_sets.evaluate(ALL[name], name, "s", [f"{n:02d}" for n in range(60)], x, other, 0):
            low, high = ALL[name].bounds
            assert low <= value.ci_low <= value.value <= value.ci_high <= high, value
            assert value.ci_high - value.ci_low < 2 * 2.27 * value.sem, "cut, not only inside"
