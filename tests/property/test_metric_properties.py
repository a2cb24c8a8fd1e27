"""What every metric that compares pictures must obey, for pictures hypothesis makes up."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics import mae, mse, psnr, ssim_gauss

METRICS = {"mae": mae.Metric(), "mse": mse.Metric(), "psnr": psnr.Metric(), "ssim_gauss": ssim_gauss.Metric()}
BOUNDS = {"mae": (0, 1), "mse": (0, 1), "psnr": (0, 100), "ssim_gauss": (-1, 1)}
pytestmark = pytest.mark.parametrize("name", METRICS)
quick = settings(max_examples=25, deadline=None, derandomize=True)  # derandomised: a run is a fact, not a draw


@st.composite
def pictures(draw, batch=st.integers(1, 5)) -> torch.Tensor:
    """(B, 3, H, W) float64 in [0, 1] on the 8-bit grid, smooth or rough, sides 11 to 48."""
    shape = (draw(batch), 3, draw(st.integers(11, 48)), draw(st.integers(11, 48)))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    x = torch.rand(shape, generator=rng, dtype=torch.float64)
    contrast, level = draw(st.floats(0, 1)), draw(st.floats(0, 1))
    return ((x - 0.5) * contrast + level).clamp(0, 1).mul(255).round().div(255)


def other(x: torch.Tensor, seed: int, strength: float = 0.3) -> torch.Tensor:
    """``x`` with seeded noise, clamped and on the 8-bit grid."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (x + strength * noise).clamp(0, 1).mul(255).round().div(255)


@quick
@given(x=pictures())
def test_identity_is_ideal(name, x):
    metric = METRICS[name]
    ideal = torch.full((len(x),), metric.ideal, dtype=torch.float64)
    torch.testing.assert_close(metric(x, x), ideal, rtol=0, atol=1e-12)


@quick
@given(x=pictures(), seed=st.integers(0, 99))
def test_symmetric(name, x, seed):
    y = other(x, seed)
    torch.testing.assert_close(METRICS[name](x, y), METRICS[name](y, x), rtol=0, atol=1e-12)


@quick
@given(x=pictures(), seed=st.integers(0, 99))
def test_within_bounds_and_worse_than_ideal(name, x, seed):
    value = METRICS[name](x, other(x, seed))
    low, high = BOUNDS[name]
    assert bool(((value >= low - 1e-12) & (value <= high + 1e-12)).all())


@quick
@given(x=pictures(batch=st.integers(2, 6)), seed=st.integers(0, 99), cut=st.integers(1, 5))
def test_batch_split_changes_nothing(name, x, seed, cut):
    """Same float64 values to the last bits (1e-13): the harness may batch as it likes."""
    y, metric = other(x, seed), METRICS[name]
    cut = min(cut, len(x) - 1)
    split = torch.cat([metric(x[:cut], y[:cut]), metric(x[cut:], y[cut:])])
    torch.testing.assert_close(metric(x, y), split, rtol=0, atol=1e-13)


@quick
@given(seed=st.integers(0, 999), contrast=st.floats(0.1, 0.4))
def test_more_noise_is_never_better(name, seed, contrast):
    """Noise steps a factor of two apart on pictures away from the clamp, so that chance cannot reverse them."""
    rng = torch.Generator().manual_seed(seed)
    x = 0.5 + contrast * (torch.rand(1, 3, 32, 32, generator=rng, dtype=torch.float64) - 0.5)
    noise = torch.randn(x.shape, generator=rng, dtype=torch.float64).clamp(-3, 3)
    values = [float(METRICS[name](x, (x + s * noise).clamp(0, 1))) for s in (0.0, 0.01, 0.02, 0.04, 0.08)]
    sign = 1 if METRICS[name].higher_is_better else -1
    assert all(sign * a > sign * b for a, b in zip(values, values[1:], strict=False)), values


@quick
@given(x=pictures(), seed=st.integers(0, 99))
def test_flips_together_change_nothing(name, x, seed):
    """All four treat positions alike, so mirroring both pictures is no change."""
    y = other(x, seed)
    torch.testing.assert_close(METRICS[name](x, y), METRICS[name](x.flip(-1), y.flip(-1)), rtol=0, atol=1e-12)
