"""The summary says what the rows say; nothing is dropped; the same rows give the same bytes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from bench.analysis import summary as tables
from bench.analysis.score_table import read_scores, wide
from bench.analysis.significance import compare_all
from bench.analysis.statistics import bootstrap_means, statistics
from bench.errors import BenchError, DataError, UnknownName

DATASET = "tiny_set"


def summary_of(tiny) -> pd.DataFrame:
    tables.aggregate(tiny.store, "toy", tiny.config)
    return tables.read_summary(tiny.store.summary_path("toy"))


def line(summary: pd.DataFrame, method: str, metric: str, protocol: str = "strict32") -> pd.Series:
    part = summary[(summary.method == method) & (summary.metric == metric) & (summary.protocol == protocol)]
    assert len(part) == 1
    return part.iloc[0]


def test_numbers_equal_those_of_the_rows(tiny):
    summary = summary_of(tiny)
    assert list(summary.columns) == tables.COLUMNS
    for method, metrics in tiny.values.items():
        for metric, column in metrics.items():
            values = np.array(list(column.values()))
            got = line(summary, method, metric)
            assert (got.n, got.n_failed) == (len(values), 0)
            for name, want in (
                ("mean", values.mean()),
                ("sd", values.std(ddof=1)),
                ("sem", values.std(ddof=1) / len(values) ** 0.5),
            ):
                assert got[name] == pytest.approx(want, rel=1e-5, abs=1e-12), (method, metric, name)
            assert got.ci_low <= got["mean"] <= got.ci_high
    assert bool(line(summary, "copy_input", "psnr").higher_is_better)
    assert not bool(line(summary, "copy_input", "mae").higher_is_better)


def test_methods_on_fewer_images_get_lines_on_the_common_ones(tiny):
    """The means of 12 and of 5 images are not comparable, so all three appear on the five as well."""
    summary = summary_of(tiny)
    common = summary[summary.protocol == "strict32@common5"]
    assert set(common.method) == {"copy_input", "latent_avg", "optimize_w_plus"} and set(common.n) == {5}
    first = [tiny.values["latent_avg"]["mae"][i] for i in tiny.ids[:5]]
    assert line(summary, "latent_avg", "mae", "strict32@common5")["mean"] == pytest.approx(np.mean(first), rel=1e-5)


def test_no_common_lines_when_all_have_all_images(tiny):
    tiny.add_run("optimize_w_plus", tiny.values["latent_avg"])
    assert set(summary_of(tiny).protocol) == {"strict32"}


def test_failed_images_are_counted_and_named(tiny):
    values = {m: dict(list(c.items())[:9]) for m, c in tiny.values["latent_avg"].items()}
    values["mae"]["000002"] = float("nan")
    values["psnr"]["000003"] = float("inf")
    tiny.add_run("latent_avg", values, failures={"000011": "picture is damaged"})
    summary = summary_of(tiny)
    assert (line(summary, "latent_avg", "mae").n, line(summary, "latent_avg", "mae").n_failed) == (8, 2)
    assert (line(summary, "latent_avg", "psnr").n, line(summary, "latent_avg", "psnr").n_failed) == (8, 2)
    assert (line(summary, "latent_avg", "rate").n, line(summary, "latent_avg", "rate").n_failed) == (9, 1)
    assert set(summary[summary.protocol.str.contains("@")].protocol) == {"strict32@common3"}  # ids 0, 1 and 4
    named = read_scores(tiny.store, "toy").failed()
    assert named == {
        "latent_avg-tiny_set": {
            "000002": "mae is not finite",
            "000003": "psnr is not finite",
            "000011": "picture is damaged",
        }
    }


def test_methods_without_a_common_image_have_no_common_lines(tiny):
    rest = {m: {i: 0.5 for i in tiny.ids[5:]} for m in tiny.values["latent_avg"]}
    tiny.add_run("latent_avg", rest)
    assert set(summary_of(tiny).protocol) == {"strict32"}


def test_files_are_the_same_twice_and_in_the_configured_order(tiny):
    paths = tables.aggregate(tiny.store, "toy", tiny.config)
    first = [p.read_bytes() for p in paths]
    assert [p.read_bytes() for p in tables.aggregate(tiny.store, "toy", tiny.config)] == first
    summary = tables.read_summary(paths[0])
    assert list(dict.fromkeys(summary.method)) == tiny.config.methods
    assert list(dict.fromkeys(summary.metric)) == tiny.config.metrics
    longest = max(
        len(cell.replace("0.", "").replace(".", "").lstrip("-0"))
        for row in first[0].decode().splitlines()[1:]
        for cell in row.split(",")[7:12]
    )
    assert longest <= 6  # significant digits


def test_metrics_json_holds_the_means_over_all_images(tiny):
    summary = summary_of(tiny)
    found = json.loads(tiny.store.metrics_path("toy").read_text())
    assert found[DATASET]["copy_input"] == {"mae": 0.0, "psnr": 100.0, "ssim_gauss": 1.0, "rate": 6144.0}
    assert found[DATASET]["optimize_w_plus"]["mae"] == line(summary, "optimize_w_plus", "mae")["mean"]


def test_variants_and_other_scopes_are_kept_apart(tiny):
    tiny.add_run("optimize_w_plus", tiny.values["latent_avg"], variant="steps_50", scope="local")
    paths = tables.aggregate(tiny.store, "local", tiny.config)
    assert paths[0] == tiny.root / "results" / "local" / "summary.csv"
    assert set(tables.read_summary(paths[0]).variant) == {"steps_50"}
    assert not tiny.store.summary_path("toy").exists()


def test_methods_no_longer_in_params_stay_out_of_the_profile(tiny):
    tiny.add_run("old_method", tiny.values["latent_avg"])
    assert "old_method" not in set(summary_of(tiny).method)


def test_one_image_has_a_mean_and_no_spread():
    one, none, same = statistics([np.array([0.25]), np.array([]), np.array([2.0, 2.0])], 100, 0)
    assert (one.n, one.mean) == (1, 0.25) and np.isnan([one.sd, one.sem, one.ci_low, one.ci_high]).all()
    assert none.n == 0 and np.isnan(none.mean)
    assert same == (2, 2.0, 0.0, 0.0, 2.0, 2.0)


def test_bootstrap_agrees_with_scipy():
    """Two resamplings of 4,000 agree within their own noise: 3 % of the interval's width."""
    values = np.random.default_rng(3).gamma(2, size=80)
    ours = statistics([values], 4000, 0)[0]
    theirs = scipy_stats.bootstrap((values,), np.mean, n_resamples=4000, method="BCa", rng=1).confidence_interval
    width = theirs.high - theirs.low
    assert abs(ours.ci_low - theirs.low) < 0.03 * width and abs(ours.ci_high - theirs.high) < 0.03 * width


def test_bootstrap_covers_the_true_mean():
    """95 % intervals of 400 samples of 50 normal values hold the mean in 90 to 98 of 100 cases."""
    rng = np.random.default_rng(0)
    found = statistics(list(rng.normal(size=(400, 50))), 500, 0)
    assert 0.90 <= np.mean([s.ci_low <= 0 <= s.ci_high for s in found]) <= 0.98


def test_intervals_do_not_depend_on_who_else_is_there(monkeypatch):
    a, b = np.random.default_rng(0).random((2, 30))
    alone = bootstrap_means(a[None], 100, 0)
    np.testing.assert_allclose(bootstrap_means(np.stack([b, a]), 100, 0)[:, 1:], alone, rtol=0, atol=1e-15)
    assert not np.array_equal(bootstrap_means(a[None], 100, 1), alone)
    monkeypatch.setattr("bench.analysis.statistics._DRAWS_AT_ONCE", 70)  # drawn in pieces of two resamples
    np.testing.assert_allclose(bootstrap_means(a[None], 100, 0), alone, rtol=0, atol=1e-15)


def test_paired_difference_uses_the_ids_both_have(tiny):
    tables.aggregate(tiny.store, "toy", tiny.config)
    scores = read_scores(tiny.store, "toy")
    found = compare_all(scores, DATASET, "mae", ["latent_avg", "optimize_w_plus"], False, 500, 0)[0]
    want = [tiny.values["latent_avg"]["mae"][i] - tiny.values["optimize_w_plus"]["mae"][i] for i in tiny.ids[:5]]
    assert found.n == 5 and (found.only_a, found.only_b) == (7, 0)
    assert found.mean == pytest.approx(np.mean(want), abs=1e-15)
    assert 0 < found.low < found.mean < found.high
    same = compare_all(scores, DATASET, "mae", ["latent_avg", "latent_avg"], False, 500, 0)[0]
    assert (same.mean, same.low, same.high, same.p, same.d_z) == (0, 0, 0, 1, 0)
    assert wide(scores, DATASET, "mae").shape == (12, 3)
    with pytest.raises(BenchError, match="no mae scores of 'hfgi'"):
        compare_all(scores, DATASET, "mae", ["hfgi", "latent_avg"], False, 10, 0)


def edit_scores(tiny, label: str, change) -> None:
    path = tiny.store.scores_path("toy", label)
    change(pd.read_parquet(path)).to_parquet(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r[r.image_id != "000003"], r"not those of its images; got 11 rows, missing \['000003'\]"),
        (lambda r: pd.concat([r, r[r.image_id == "000003"]]), "not those of its images"),
        (lambda r: r.assign(image_id=r.image_id.replace("000003", "999999")), r"unexpected \['999999'\]"),
        (lambda r: r.assign(signature="mae|v2"), "follow different protocols"),
        (lambda r: r.drop(columns="signature"), "cannot be read"),
        (lambda r: r[r.metric == "mae"].assign(metric="no_such_metric"), "unknown metric 'no_such_metric'"),
    ],
)
def test_inconsistent_scores_are_refused_in_one_line(tiny, change, message):
    edit_scores(tiny, "latent_avg", change)
    with pytest.raises((DataError, UnknownName), match=message) as error:
        tables.aggregate(tiny.store, "toy", tiny.config)
    assert "\n" not in str(error.value)


def test_missing_results_say_what_to_run(tiny):
    with pytest.raises(DataError, match="run `bench score` first"):
        tables.aggregate(tiny.store, "other", tiny.config)
    with pytest.raises(DataError, match="run `bench aggregate`"):
        tables.read_summary(tiny.store.summary_path("toy"))
    tiny.store.run("toy", "latent_avg", DATASET).json.unlink()
    with pytest.raises(DataError, match="run latent_avg-tiny_set has no complete results"):
        tables.aggregate(tiny.store, "toy", tiny.config)
