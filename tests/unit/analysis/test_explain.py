"""`bench explain`: each factor moves what theory says, and nothing else."""

from __future__ import annotations

import pytest

from bench import registry
from bench.analysis.explain import definitions, describe, rescore
from bench.store.paths import RunStore


@pytest.fixture
def run(project, cli):
    assert cli("run", "--method", "toy_codes").code == 0
    return RunStore(project, "toy").run("toy", "toy_codes", "toy")


def moved(project, run, metric, limit=4):
    return {(m.factor, m.choice): m for m in rescore(project, run, metric, limit, seed=0, device="cpu")}


def test_ranges_have_closed_forms(project, run):
    """[-1, 1] doubles an absolute error, quadruples a squared one and takes 6.02 dB from PSNR."""
    mae, mse, psnr = (moved(project, run, m) for m in ("mae", "mse", "psnr"))
    for table, factor in ((mae, 2), (mse, 4)):
        base = next(iter(table.values())).mean
        assert table["range", "[-1, 1]"].mean == pytest.approx(factor * base)
    assert psnr["range", "[-1, 1]"].change.mean == pytest.approx(-6.0206, abs=1e-4)


def test_one_factor_at_a_time(project, run):
    table = moved(project, run, "ssim_gauss")
    first = next(iter(table.values()))
    assert first.change is None and first.factor == "as defined"
    assert {f for f, _ in table} >= {"range", "size", "window", "colour", "storage", "rounding"}
    small = table["rounding", "truncated (simulated)"]
    assert 0 < abs(small.change.mean) < 0.1 and small.change.n == 4
    assert table["window", "uniform 51 px"].error, "the pictures have 32 px"
    assert table["window", "uniform 7 px"].change.mean != 0
    assert ("resampler", "area") in moved(project, run, "mae_rel") and ("resampler", "area") not in table


def test_every_metric_is_described(project):
    for name in registry.metrics(project).names():
        text = "\n".join(describe(project, name))
        assert "Signature: `" in text and name in definitions(), name
    assert "`hfgi_table1`" in "\n".join(describe(project, "mae_rel"))


def test_command(cli, run, one_line_error):
    answer = cli("explain", "mae", "--limit", "3")
    assert answer.code == 0 and "3 images, one factor changed at a time" in answer.out
    assert "needs" not in cli("explain", "mae", "--no-rescore").out
    rate = cli("explain", "rate")
    assert rate.code == 0 and "one factor" not in rate.out
    assert "did you mean 'mse' or 'mae'" in one_line_error("explain", "mea")
    assert "lpips_alex cannot be computed here" in one_line_error("explain", "lpips_alex")
