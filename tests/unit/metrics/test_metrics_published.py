"""Metrics that repeat what others print: HyperStyle's MS-SSIM on [-1, 1], and the gray readings of the paper's table."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from bench.measures.ssim import SCALE_WEIGHTS, gaussian
from bench.metrics import mae_rel, mae_rel_gray, ms_ssim_pm1, ssim_w51, ssim_w51_gray

pytestmark = pytest.mark.numeric

PORT = ms_ssim_pm1.Metric()


def photograph(name="astronaut"):
    """(1, 3, 256, 256) float64 in [0, 1]."""
    return torch.from_numpy(getattr(data, name)()[:256, :256] / 255.0).movedim(-1, 0)[None].contiguous()


def noisy(x, strength=0.1):
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    return (x + strength * noise).clamp(0, 1)


def ported(x, y, ranges=None):
    """The port, for one picture, as its formulas stand there: convolutions and a guess at each of the five scales.

    Returns:
        the value, and the ranges guessed.
    """
    taps = torch.tensor(gaussian(), dtype=torch.float64)
    window = (taps[:, None] * taps).expand(3, 1, 11, 11)
    sims, structures, guesses = [], [], []
    for scale in range(5):
        guess = 2.0 if float(y.min()) < -0.5 else 1.0
        guesses.append(ranges[scale] if ranges else guess)
        c1, c2 = (0.01 * guesses[-1]) ** 2, (0.03 * guesses[-1]) ** 2
        mx, my = (F.conv2d(p, window, groups=3) for p in (x, y))
        xx, yy, xy = (F.conv2d(p, window, groups=3) for p in (x * x, y * y, x * y))
        structure = (2 * (xy - mx * my) + c2) / (xx - mx**2 + yy - my**2 + c2)
        sims.append((structure * (2 * mx * my + c1) / (mx**2 + my**2 + c1)).mean())
        structures.append(structure.mean())
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    weights = torch.tensor(SCALE_WEIGHTS, dtype=torch.float64)
    return float(torch.prod(torch.stack(structures)[:4] ** weights[:4]) * sims[4] ** weights[4]), guesses


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
def test_equals_the_port_on_photographs(name):
    x = photograph(name)
    y = noisy(x)
    expected, _ = ported(2 * x - 1, 2 * y - 1)
    assert float(PORT(2 * x - 1, 2 * y - 1)) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("source", "reconstruction", "guess"), [(-0.4, -0.6, 2), (-0.6, -0.4, 1), (0.9, 0.1, 1)])
def test_flat_pictures_have_a_closed_form(source, reconstruction, guess):
    """Structure is perfect; luminance counts once, with the constant of the range that the reconstruction suggests."""
    x, y = (torch.full((1, 3, 256, 256), v, dtype=torch.float64) for v in (source, reconstruction))
    c1 = (0.01 * guess) ** 2
    luminance = (2 * source * reconstruction + c1) / (source**2 + reconstruction**2 + c1)
    assert float(PORT(x, y)) == pytest.approx(luminance**0.1333, abs=1e-9)


def test_the_range_is_guessed_at_each_scale():
    """Lone dark pixels: 2 at the first scale, 1 once they are averaged away; not one range for all."""
    x = 0.2 * photograph()
    y = noisy(x, 0.02)
    y[..., 3::8, 3::8] = -0.9
    expected, guesses = ported(x, y)
    assert guesses == [2.0, 1.0, 1.0, 1.0, 1.0]
    assert float(PORT(x, y)) == pytest.approx(expected, abs=1e-10)
    assert abs(expected - ported(x, y, [2.0] * 5)[0]) > 1e-3 and abs(expected - ported(x, y, [1.0] * 5)[0]) > 1e-3


def test_pictures_do_not_guess_for_each_other():
    """A dark one in the batch leaves the others' constants alone."""
    light = 0.3 * photograph()
    pair = torch.cat([light, 2 * photograph() - 1]), torch.cat([noisy(light), 2 * noisy(photograph()) - 1])
    alone = [float(PORT(a[None], b[None])) for a, b in zip(*pair, strict=True)]
    assert PORT(*pair).tolist() == pytest.approx(alone, abs=1e-13)


def test_a_negative_scale_is_not_a_number_and_named(project, cli):
    """Grey on the other side of 0: the score is NaN, stays in the rows, and is counted as a failure."""
    import pandas as pd

    (project / "methods" / "toy_turned.py").write_text(
        "from bench import api\n"
        "class Method(api.Method):\n"
        '    """The negative of the picture."""\n'
        '    title, source = "Turned", "test"\n'
        "    def embed(self, x):\n"
        '        return api.Inversion(self.generator.latent_avg.expand(len(x), -1, -1).clone(), {"x": x.clone()})\n'
        "    def render(self, w_plus, inversion):\n"
        '        return -inversion.memory["x"]\n'
    )
    for words in (("run", "--method", "toy_turned", "--limit", 4), ("score", "--scope", "local")):
        extra = ("--method", "toy_turned", "--metric", "ms_ssim_pm1") if words[0] == "score" else ()
        done = cli(*words, *extra)
        assert done.code == 0, done.err
    rows = pd.concat([pd.read_parquet(p) for p in (project / "results" / "scores" / "local").glob("*.parquet")])
    rows = rows[rows.metric == "ms_ssim_pm1"]
    lost = rows[rows.value.isna()]
    assert len(rows) == 4 and 1 <= len(lost) < 4  # others stay positive at the coarsest scale, badly
    assert cli("aggregate", "--scope", "local").code == 0
    summary = pd.concat([pd.read_csv(p) for p in (project / "results").rglob("summary*.csv")])
    row = summary[summary.metric == "ms_ssim_pm1"].iloc[0]
    assert row.n == 4 - len(lost) and row.n_failed == len(lost)


def test_gray_forms_equal_scikit_image():
    x = photograph()
    y = noisy(x) * torch.tensor([0.8, 1.0, 0.9], dtype=torch.float64)[:, None, None]
    a, b = (rgb2gray(p[0].movedim(0, -1).numpy()) for p in (x, y))
    theirs = structural_similarity(a, b, win_size=51, data_range=1)
    assert float(ssim_w51_gray.Metric()(x, y)) == pytest.approx(theirs, abs=1e-10)
    relative = np.abs(a - b).sum() / (a + b).sum()
    assert float(mae_rel_gray.Metric()(x, y)) == pytest.approx(relative, abs=1e-12)


def test_gray_forms_agree_with_rgb_on_gray_pictures_only():
    x = photograph().mean(1, keepdim=True).expand(-1, 3, -1, -1)
    y = noisy(photograph()).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    for own, rgb in ((mae_rel_gray, mae_rel), (ssim_w51_gray, ssim_w51)):
        assert float(own.Metric()(x, y)) == pytest.approx(float(rgb.Metric()(x, y)), abs=1e-10)
        there, back = own.Metric()(photograph(), noisy(photograph())), rgb.Metric()(photograph(), noisy(photograph()))
        assert abs(float(there - back)) > 1e-3
    black = torch.zeros(1, 3, 64, 64)
    assert mae_rel_gray.Metric()(black, black).tolist() == [0.0]
    red, green = torch.zeros(2, 1, 3, 64, 64, dtype=torch.float64)
    red[:, 0], green[:, 1] = 1, 1
    expected = (0.7154 - 0.2125) / (0.7154 + 0.2125)
    assert float(mae_rel_gray.Metric()(red, green)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("module", [ms_ssim_pm1, mae_rel_gray, ssim_w51_gray])
def test_contract_of_the_family(module):
    name = module.__name__.rsplit(".", 1)[-1]
    low, high = module.Metric.value_range
    form = "rgb" if name == "ms_ssim_pm1" else "gray"
    assert module.Metric.signature(name).startswith(f"{name}|v1|256|pil_bilinear|{low:g}..{high:g}|{form}")
    x = low + (high - low) * photograph().repeat(2, 1, 1, 1)
    y = x.clone()
    y[1, 0, 3, 3] = float("nan")
    value = module.Metric()(x, y)
    assert float(value[0]) == pytest.approx(module.Metric.ideal, abs=1e-12) and torch.isnan(value[1])
