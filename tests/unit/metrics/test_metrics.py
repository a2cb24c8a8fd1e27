"""Metrics against closed forms and against scikit-image; tolerances from docs/numerics.md."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from bench import images
from bench.errors import BenchError, DataError, ShapeError
from bench.measures import ssim as windows
from bench.metrics import mae, mae_rel, ms_ssim, mse, mse_pm1, perc_efflite0, psnr, rate, ssim_gauss, ssim_w51

pytestmark = pytest.mark.numeric

PIXEL = {"mae": mae.Metric, "mse": mse.Metric, "psnr": psnr.Metric, "ssim_gauss": ssim_gauss.Metric}
EXACT = 1e-12  # float64 sums of up to 10^6 terms
SSIM_TOLERANCE = 1e-6  # required; 1e-12 is what is reached, see below


def unit(array: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) float64 in [0, 1]."""
    return torch.from_numpy(array.copy()).movedim(-1, 0)[None].double() / 255


def natural_pairs() -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Photographs that scikit-image ships, damaged in different ways; odd sizes on purpose."""
    rng = np.random.default_rng(5)
    pairs = []
    crops = (("astronaut", (128, 128)), ("chelsea", (131, 97)), ("coffee", (64, 75)), ("astronaut", (11, 40)))
    for name, crop in crops:
        source = getattr(data, name)()[40 : 40 + crop[0], 130 : 130 + crop[1]]
        noisy = np.clip(source + rng.normal(0, 20, source.shape), 0, 255).astype(np.uint8)
        shifted = np.roll(source, 3, axis=1)
        darker = (source * 0.7).astype(np.uint8)
        pairs += [
            (f"{name}{crop} {kind}", source, other)
            for kind, other in (
                ("noisy", noisy),
                ("shifted", shifted),
                ("darker", darker),
                ("flat", np.full_like(source, 128)),
            )
        ]
    return pairs


def reference(metric: str, x: np.ndarray, y: np.ndarray) -> float:
    """What numpy and scikit-image say; x, y (H, W, 3) float64 in [0, 1]."""
    if metric == "mae":
        return float(np.mean(np.abs(x - y)))
    if metric == "mse":
        return float(mean_squared_error(x, y))
    if metric == "psnr":
        return float(peak_signal_noise_ratio(x, y, data_range=1))
    return float(
        structural_similarity(
            x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=-1
        )
    )


@pytest.mark.parametrize("name", PIXEL)
@pytest.mark.parametrize(("label", "source", "other"), natural_pairs(), ids=[p[0] for p in natural_pairs()])
def test_equals_reference_on_photographs(name, label, source, other):
    ours = float(PIXEL[name]()(unit(source), unit(other)))
    theirs = reference(name, source / 255, other / 255)
    assert abs(ours - theirs) <= (SSIM_TOLERANCE if name == "ssim_gauss" else 1e-10)


@pytest.mark.parametrize("size", [(11, 11), (12, 43), (42, 42), (43, 75), (128, 128), (150, 33)])
def test_ssim_equals_skimage_at_every_strip_length(size):
    """Sizes around the strip of 32 + 10 rows: the last strip may be short, full or absent."""
    x, y = np.random.default_rng(0).random((2, 3, 3, *size))
    ours = ssim_gauss.Metric()(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    theirs = [reference("ssim_gauss", a.transpose(1, 2, 0), b.transpose(1, 2, 0)) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=EXACT)


def test_constant_offset_has_closed_forms():
    x = torch.full((2, 3, 16, 20), 0.25, dtype=torch.float64)
    y = x + torch.tensor([0.5, -0.125])[:, None, None, None]
    offset = torch.tensor([0.5, 0.125], dtype=torch.float64)
    torch.testing.assert_close(mae.Metric()(x, y), offset, rtol=0, atol=EXACT)
    torch.testing.assert_close(mse.Metric()(x, y), offset**2, rtol=0, atol=EXACT)
    torch.testing.assert_close(psnr.Metric()(x, y), -20 * offset.log10(), rtol=0, atol=1e-9)
    b = y[:, 0, 0, 0]
    luminance = (2 * 0.25 * b + 1e-4) / (0.25**2 + b**2 + 1e-4)  # flat pictures: the structure term is C2 / C2
    torch.testing.assert_close(ssim_gauss.Metric()(x, y), luminance, rtol=0, atol=1e-9)


def test_ssim_of_a_negative_is_negative():
    """An inverted texture has covariance -variance: SSIM is about (C2 - 2v) / (C2 + 2v) < 0 per position."""
    x = torch.from_numpy(np.random.default_rng(1).random((1, 3, 32, 32)))
    x = (x - x.mean()) * 0.5 + 0.5
    assert float(ssim_gauss.Metric()(x, 1 - x)) < -0.9


def test_psnr_cap_is_for_identical_pictures_only():
    """One sample off by one level is the least two 8-bit pictures can differ; at 128 px it stays below the cap."""
    x = torch.zeros(2, 3, 128, 128, dtype=torch.float64)
    y = x.clone()
    y[1, 0, 0, 0] = 1 / 255
    identical, least = psnr.Metric()(x, y).tolist()
    assert identical == psnr.Metric.ideal == 100.0
    assert least == pytest.approx(10 * np.log10(255**2 * 3 * 128**2), abs=1e-9)
    assert peak_signal_noise_ratio(x[1].numpy(), y[1].numpy(), data_range=1) == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize("name", PIXEL)
def test_nan_is_reported_not_hidden(name):
    x = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    y = x.clone()
    y[1, 0, 3, 3] = float("nan")
    value = PIXEL[name]()(x, y)
    assert torch.isfinite(value[0]) and torch.isnan(value[1])


@pytest.mark.parametrize("name", PIXEL)
def test_wrong_input_is_refused(name):
    x = torch.rand(2, 3, 16, 16)
    metric = PIXEL[name]()
    with pytest.raises(ShapeError, match=r"\(2, 3, 16, 16\) and \(1, 3, 16, 16\)"):
        metric(x, x[:1])  # would broadcast
    with pytest.raises(ShapeError):
        metric(x[:, :1], x[:, :1])
    with pytest.raises(BenchError, match="reconstruction leaves the range"):
        metric(x, x * 2 - 1)  # [-1, 1] handed to a [0, 1] metric


def test_ssim_refuses_pictures_smaller_than_its_window():
    with pytest.raises(ShapeError, match="sides of 11 or more"):
        ssim_gauss.Metric()(torch.zeros(1, 3, 10, 32), torch.zeros(1, 3, 10, 32))


def test_values_through_eight_bit_pictures():
    """The path of scoring: uint8 -> [-1, 1] float32 -> [0, 1]; the float32 step costs less than 1e-7."""
    label, source, other = natural_pairs()[0]
    x, y = ((images.to_tensor(a)[None].double() + 1) / 2 for a in (source, other))
    for name, metric in PIXEL.items():
        assert float(metric()(x, y)) == pytest.approx(reference(name, source / 255, other / 255), abs=1e-5), name


def test_rate_comes_from_the_run_record():
    assert rate.Metric().from_run({"run_id": "a-b", "rate_floats": 6144}) == 6144.0
    for bad in (None, "6144", -1, True):
        with pytest.raises(DataError, match="run a-b records no rate"):
            rate.Metric().from_run({"run_id": "a-b", "rate_floats": bad})


@pytest.mark.parametrize("name", [*PIXEL, "rate"])
def test_signature_fixes_the_protocol(name):
    cls = {**PIXEL, "rate": rate.Metric}[name]
    signature = cls.signature(name)
    assert signature.startswith(f"{name}|v1|") and cls.source and cls.title
    if name == "ssim_gauss":
        assert signature == "ssim_gauss|v1|native|none|0..1|rgb|gauss11,sigma=1.5|data_range=1|border cropped"


# --- the metrics of other papers, at 256 px ---


def enlarged(array: np.ndarray) -> torch.Tensor:
    """A photograph at 256 px as the pSp family resizes, (1, 3, 256, 256) float64 in [0, 1]."""
    return unit(images.resize_pil(array[None], 256, "pil_bilinear")[0])


@pytest.mark.parametrize(("label", "source", "other"), natural_pairs()[:12], ids=[p[0] for p in natural_pairs()[:12]])
def test_wide_window_and_scales_equal_their_libraries(label, source, other):
    piq = pytest.importorskip("piq")
    x, y = enlarged(source), enlarged(other)
    a, b = (t[0].numpy() for t in (x, y))
    theirs = structural_similarity(a, b, win_size=51, data_range=1, channel_axis=0)
    assert float(ssim_w51.Metric()(x, y)) == pytest.approx(theirs, abs=1e-10)
    assert float(ms_ssim.Metric()(x, y)) == pytest.approx(float(piq.multi_scale_ssim(x, y)), abs=1e-10)


@pytest.mark.parametrize("size", [(161, 161), (170, 201), (163, 322), (512, 176)])
def test_scales_equal_piq_at_odd_sizes(size):
    piq = pytest.importorskip("piq")
    x, y = torch.from_numpy(np.random.default_rng(0).random((2, 2, 3, *size)))
    torch.testing.assert_close(ms_ssim.Metric()(x, y), piq.multi_scale_ssim(x, y, reduction="none"), rtol=0, atol=1e-10)


WINDOWS = {
    "gauss": windows.gaussian(),
    "wide": windows.uniform(51),
    "narrow": windows.uniform(7),
    "lopsided": (0.5, 0.3, 0.2),  # not compiled
}


def in_torch(x: torch.Tensor, y: torch.Tensor, taps: tuple[float, ...], sample: bool) -> torch.Tensor:
    """SSIM and structure, (2, B, C), from the maps that other devices use."""
    luminance, structure = windows.maps(x, y, taps, sample)
    return torch.stack([(luminance * structure).mean((2, 3)), structure.mean((2, 3))])


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("size", [(51, 51), (64, 75), (97, 53), (256, 256)])
@pytest.mark.parametrize("sample", [False, True])
def test_compiled_ssim_is_that_of_torch(window, size, sample):
    pytest.importorskip("numba")
    rng, taps = np.random.default_rng(3), WINDOWS[window]
    x, y = torch.from_numpy(rng.random((2, 2, 3, *size)))
    x[1, 1] = 0.7  # flat against texture
    x[1, 2], y[1, 2] = 0.7, 0.2  # variances are differences of equal numbers
    found = torch.stack(windows.means(x, y, taps, sample))
    assert windows._compiled(x.dtype) is not None
    allowed = EXACT if len(set(taps)) > 1 else 1e-10  # running sums: what they lose is divided by C2 where all is flat
    torch.testing.assert_close(found, in_torch(x, y, taps, sample), rtol=0, atol=allowed)
    torch.testing.assert_close(torch.stack(windows.means_in_bands(x, y, taps, sample)), found, rtol=0, atol=allowed)
    alone = torch.cat([torch.stack(windows.means(x[n : n + 1], y[n : n + 1], taps, sample)) for n in range(2)], 1)
    apart = 0 if taps != WINDOWS["lopsided"] else EXACT  # torch's products of a batch need not agree in the last bit
    torch.testing.assert_close(alone, found, rtol=0, atol=apart)


@pytest.mark.parametrize("window", WINDOWS)
def test_compiled_ssim_keeps_a_broken_sample_in_its_plane(window):
    pytest.importorskip("numba")
    x, y = torch.from_numpy(np.random.default_rng(4).random((2, 3, 2, 60, 64)))
    y[1, 0, 3, 3] = float("nan")
    broken = torch.zeros(3, 2, dtype=torch.bool)
    broken[1, 0] = True
    for found in windows.means(x, y, WINDOWS[window]):
        assert torch.equal(found.isnan(), broken)


def test_ssim_without_the_compiler(monkeypatch):
    """The extra that brings it may be absent: the same numbers, slower."""
    x, y = (enlarged(a) for a in natural_pairs()[1][1:])
    metrics = [ssim_gauss.Metric(), ssim_w51.Metric(), ms_ssim.Metric()]
    found = [float(metric(x, y)) for metric in metrics]
    monkeypatch.setattr(windows, "_compiled", lambda dtype: None)
    assert [float(metric(x, y)) for metric in metrics] == pytest.approx(found, abs=EXACT)


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_halving_is_pooling(size):
    x = torch.from_numpy(np.random.default_rng(0).random((2, 3, *size)))
    torch.testing.assert_close(windows.halve(x), torch.nn.functional.avg_pool2d(x, 2), rtol=0, atol=EXACT)


def test_windows_differ_where_they_should():
    """Detail moved by three pixels: the wide window forgives, as protocols that use it do."""
    _, source, shifted = natural_pairs()[1]
    narrow, wide = (float(m.Metric()(enlarged(source), enlarged(shifted))) for m in (ssim_gauss, ssim_w51))
    assert wide > narrow + 0.05


def test_sample_covariance_is_part_of_the_definition():
    x, y = (enlarged(a) for a in natural_pairs()[0][1:])
    biased = windows.ssim(x, y, windows.uniform(51), sample=False)
    assert abs(float(biased - ssim_w51.Metric()(x, y))) > 1e-6


def test_pictures_too_small_for_their_windows():
    for metric, side in ((ssim_w51, 50), (ms_ssim, 160)):
        with pytest.raises(ShapeError, match="picture too small"):
            metric.Metric()(torch.zeros(1, 3, 256, side), torch.zeros(1, 3, 256, side))


def test_relative_error_has_closed_forms():
    x = torch.full((4, 3, 8, 8), 0.25, dtype=torch.float64)
    y = torch.tensor([0.75, 0.25, 0.0, 0.25], dtype=torch.float64)[:, None, None, None].expand_as(x)
    x = x * torch.tensor([1.0, 1.0, 1.0, 0.0])[:, None, None, None]
    assert mae_rel.Metric()(x, y).tolist() == [0.5, 0.0, 1.0, 1.0]
    black = torch.zeros(1, 3, 8, 8)
    assert mae_rel.Metric()(black, black).tolist() == [0.0]
    doubled = mae_rel.Metric()(x[:1] * 2, y[:1])  # not a function of the difference alone
    assert float(doubled) == pytest.approx(0.2)


def test_the_psp_family_prints_four_times_the_error():
    x, y = (unit(a) for a in natural_pairs()[0][1:])
    assert float(mse_pm1.Metric()(2 * x - 1, 2 * y - 1)) == pytest.approx(4 * float(mse.Metric()(x, y)), rel=1e-12)


@pytest.mark.parametrize("module", [mae_rel, ms_ssim, ssim_w51, mse_pm1])
def test_nan_of_a_broken_picture_stays(module):
    metric = module.Metric()
    x = torch.rand(2, 3, 256, 256, dtype=torch.float64)
    y = x.clone()
    y[1, 0, 3, 3] = float("nan")
    value = metric(x, y)
    assert torch.isfinite(value[0]) and torch.isnan(value[1])


def test_signatures_of_the_256_px_family():
    found = {m.__name__.rsplit(".", 1)[-1]: m.Metric for m in (mae_rel, ms_ssim, ssim_w51, mse_pm1)}
    for name, cls in found.items():
        low = "-1..1" if name == "mse_pm1" else "0..1"
        assert cls.signature(name).startswith(f"{name}|v1|256|pil_bilinear|{low}|rgb")


@pytest.fixture(scope="module")
def perceptual():
    return perc_efflite0.Metric()


def photographs() -> torch.Tensor:
    """(3, 3, 128, 128) in [-1, 1]: three photographs."""
    crops = [getattr(data, name)()[60:188, 130:258] for name in ("astronaut", "chelsea", "coffee")]
    return images.to_tensor(np.stack(crops))


def test_perceptual_is_zero_for_equal_pictures_and_symmetric(perceptual):
    x = photographs()
    y = x.flip(0)
    assert perceptual(x, x).tolist() == [0.0, 0.0, 0.0]
    there, back = perceptual(x, y), perceptual(y, x)
    assert there.dtype == torch.float64
    torch.testing.assert_close(there, back, rtol=1e-5, atol=1e-7)


def test_perceptual_orders_damage_as_eyes_do(perceptual):
    """More noise is worse; another photograph is worse than noise; a shift of mean by one level is almost nothing."""
    x = photographs()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    values = [perceptual(x, (x + s * noise).clamp(-1, 1)) for s in (0.05, 0.1, 0.2, 0.4)]
    assert all(bool((a < b).all()) for a, b in zip(values, values[1:], strict=False))
    assert bool((perceptual(x, x.roll(1, 0)) > values[2]).all())
    assert bool((perceptual(x, (x + 1 / 127.5).clamp(-1, 1)) < 0.05 * values[0]).all())


def test_perceptual_ignores_batch_split(perceptual):
    """float32 convolutions pick kernels by batch size: 1e-4 of the value, see docs/numerics.md."""
    x = photographs()
    y = x.roll(1, 0)
    single = torch.cat([perceptual(a[None], b[None]) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(perceptual(x, y), single, rtol=1e-4, atol=0)


def test_perceptual_through_lpips_is_the_loss_of_training(perceptual):
    """Two ways of keeping a root from 0; the difference is what docs/numerics.md says."""
    from bench.nets.perceptual import PerceptualDistance

    x = photographs()
    theirs = PerceptualDistance()(x.roll(1, 0), x).double()
    torch.testing.assert_close(perceptual(x, x.roll(1, 0)), theirs, rtol=1e-6, atol=0)


def test_padding_inside_convolutions_changes_nothing():
    from bench.measures.efflite import Trunk
    from bench.nets.perceptual import PerceptualDistance

    x, trunk = photographs(), Trunk()
    convolutions = [layer for layer in trunk.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert sum(layer.padding != (0, 0) for layer in convolutions) == 12
    for found, expected in zip(trunk(x), PerceptualDistance().maps(x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_perceptual_takes_its_own_range_only(perceptual):
    with pytest.raises(BenchError, match="leaves the range of metric 'perc_efflite0'"):
        perceptual(photographs() * 127.5, photographs())


def test_metric_without_its_packages_says_what_to_install(monkeypatch, tmp_path):
    from bench.scoring import build

    assert build.lacking(tmp_path, perc_efflite0.Metric) is None
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    assert build.lacking(tmp_path, perc_efflite0.Metric) == "pip install 'hfgi-bench[perceptual]'"
