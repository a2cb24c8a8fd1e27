"""What every metric that compares pictures by formula must obey, for pictures hypothesis makes up."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics import mae, mae_rel, ms_ssim, mse, mse_pm1, psnr, ssim_gauss, ssim_w51

MODULES = (mae, mse, psnr, ssim_gauss, ssim_w51, ms_ssim, mae_rel, mse_pm1)
METRICS = {m.__name__.rsplit(".", 1)[-1]: m.Metric() for m in MODULES}
BOUNDS = {"psnr": (0, 100), "ssim_gauss": (-1, 1), "ssim_w51": (-1, 1), "mse_pm1": (0, 4)}
# Least and largest side: windows must fit; five scales of an even number treat both ends alike.
SIDES = {"ssim_w51": (51, 70), "ms_ssim": (176, 176)}
EXACT = 1e-12
pytestmark = [pytest.mark.numeric, pytest.mark.parametrize("name", METRICS)]
quick = settings(max_examples=15, deadline=None, derandomize=True)  # derandomised: a run is a fact, not a draw


def score(name: str, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The metric of pictures in [0, 1], whatever range it takes."""
    low, high = METRICS[name].value_range
    return METRICS[name](*(low + (high - low) * p for p in (x, y)))


def draw_pictures(data: st.DataObject, name: str, least: int = 1) -> torch.Tensor:
    """(B, 3, H, W) float64 in [0, 1] on the 8-bit grid, smooth or rough."""
    side = st.integers(*SIDES.get(name, (11, 48)))
    shape = (data.draw(st.integers(least, 4)), 3, data.draw(side), data.draw(side))
    rng = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    x = torch.rand(shape, generator=rng, dtype=torch.float64)
    contrast, level = data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1))
    return ((x - 0.5) * contrast + level).clamp(0, 1).mul(255).round().div(255)


def other(x: torch.Tensor, seed: int, strength: float = 0.3) -> torch.Tensor:
    """``x`` with seeded noise, clamped and on the 8-bit grid."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (x + strength * noise).clamp(0, 1).mul(255).round().div(255)


@quick
@given(data=st.data())
def test_identity_is_ideal(name, data):
    x = draw_pictures(data, name)
    ideal = torch.full((len(x),), METRICS[name].ideal, dtype=torch.float64)
    torch.testing.assert_close(score(name, x, x), ideal, rtol=0, atol=EXACT)


@quick
@given(data=st.data(), seed=st.integers(0, 99))
def test_symmetric(name, data, seed):
    x = draw_pictures(data, name)
    y = other(x, seed)
    torch.testing.assert_close(score(name, x, y), score(name, y, x), rtol=0, atol=EXACT)


@quick
@given(data=st.data(), seed=st.integers(0, 99))
def test_within_bounds(name, data, seed):
    x = draw_pictures(data, name)
    value = score(name, x, other(x, seed))
    low, high = BOUNDS.get(name, (0, 1))
    assert bool(((value >= low - EXACT) & (value <= high + EXACT)).all())


@quick
@given(data=st.data(), seed=st.integers(0, 99), cut=st.integers(1, 3))
def test_batch_split_changes_nothing(name, data, seed, cut):
    """Same float64 values to the last bits (1e-13): the harness may batch as it likes."""
    x = draw_pictures(data, name, least=2)
    y, cut = other(x, seed), min(cut, len(x) - 1)
    split = torch.cat([score(name, x[:cut], y[:cut]), score(name, x[cut:], y[cut:])])
    torch.testing.assert_close(score(name, x, y), split, rtol=0, atol=1e-13)


@quick
@given(seed=st.integers(0, 999), contrast=st.floats(0.1, 0.4))
def test_more_noise_is_never_better(name, seed, contrast):
    """Noise steps a factor of two apart on pictures away from the clamp, so that chance cannot reverse them."""
    rng = torch.Generator().manual_seed(seed)
    side = max(32, SIDES.get(name, (0, 0))[1])
    x = 0.5 + contrast * (torch.rand(1, 3, side, side, generator=rng, dtype=torch.float64) - 0.5)
    noise = torch.randn(x.shape, generator=rng, dtype=torch.float64).clamp(-3, 3)
    values = [float(score(name, x, (x + s * noise).clamp(0, 1))) for s in (0.0, 0.01, 0.02, 0.04, 0.08)]
    sign = 1 if METRICS[name].higher_is_better else -1
    assert all(sign * a > sign * b for a, b in zip(values, values[1:], strict=False)), values


@quick
@given(data=st.data(), seed=st.integers(0, 99))
def test_flips_together_change_nothing(name, data, seed):
    """All treat positions alike, so mirroring both pictures is no change."""
    x = draw_pictures(data, name)
    y = other(x, seed)
    torch.testing.assert_close(score(name, x, y), score(name, x.flip(-1), y.flip(-1)), rtol=0, atol=EXACT)


@quick
@given(data=st.data(), seed=st.integers(0, 99))
def test_colours_are_alike(name, data, seed):
    """All treat channels alike, so exchanging them in both pictures is no change."""
    x = draw_pictures(data, name)
    y = other(x, seed)
    torch.testing.assert_close(score(name, x, y), score(name, x.flip(1), y.flip(1)), rtol=0, atol=EXACT)
