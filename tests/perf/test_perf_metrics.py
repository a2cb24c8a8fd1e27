"""Speed of metrics, scoring and statistics against plain references; equal results are asserted, speed is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from skimage.metrics import structural_similarity

from bench.analysis.statistics import statistics
from bench.metrics import mae, mse, perc_efflite0, psnr, ssim_gauss
from bench.scoring import pair_metrics as scoring_pairs

pytestmark = pytest.mark.perf


def pairs(count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, side, side, 3) uint8 pictures and noisy copies."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (count, side, side, 3))
    return x.astype(np.uint8), np.clip(x + rng.normal(0, 20, x.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("side", "count"), [(128, 16), (256, 8), (1024, 1)])
def test_batched_ssim_against_skimage_in_a_loop(versus, benchmark, side, count):
    x, y = (torch.from_numpy(a).movedim(-1, 1).double() / 255 for a in pairs(count, side))
    arrays = [(a.numpy(), b.numpy()) for a, b in zip(x, y, strict=True)]
    metric = ssim_gauss.Metric()

    def loop() -> list[float]:
        return [
            structural_similarity(
                a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=0
            )
            for a, b in arrays
        ]

    np.testing.assert_allclose(metric(x, y).numpy(), loop(), rtol=0, atol=1e-12)
    versus(lambda: metric(x, y), loop, rounds=5)
    benchmark.extra_info["images"] = count


def test_scoring_a_batch_against_one_by_one(versus, benchmark):
    x, y = pairs(16, 128)
    metrics = {m.__name__.rsplit(".", 1)[-1]: m.Metric() for m in (mae, mse, psnr, ssim_gauss, perc_efflite0)}

    def batch() -> list[list[float]]:
        return [scoring_pairs.score_batch(metric, name, x, y) for name, metric in metrics.items()]

    def loop() -> list[list[float]]:
        return [
            [scoring_pairs.score_batch(metric, name, x[i : i + 1], y[i : i + 1])[0] for i in range(len(x))]
            for name, metric in metrics.items()
        ]

    np.testing.assert_allclose(batch(), loop(), rtol=1e-4, atol=1e-12)
    versus(batch, loop, rounds=5)
    benchmark.extra_info["images"] = len(x)


def test_bootstrap_of_a_table_against_scipy(versus, benchmark):
    """Six metrics of four methods on 1,500 images, 2,000 resamples."""
    values = list(np.random.default_rng(0).random((24, 1500)))

    def reference() -> list:
        return [
            stats.bootstrap((v,), np.mean, n_resamples=2000, method="percentile", rng=0, batch=500).confidence_interval
            for v in values[:4]  # a sixth of the work: the ratio is scaled below
        ]

    ratio = versus(lambda: statistics(values, 2000, 0), reference, rounds=3)
    benchmark.extra_info["ratio"] = round(ratio * 6, 3)
