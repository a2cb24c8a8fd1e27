"""An accelerator computes what the CPU computes: every trained method of the embedded domain, its edits and scores.

Pictures are the generator's own samples, so nothing has to be rendered.
"""

from functools import lru_cache
from pathlib import Path

import pytest
import torch

from bench.contract.check_method import checks_of, run_checks
from bench.images import to_uint8
from bench.inversion.runner import invert_batch, load_method
from bench.registry import methods, metrics
from bench.scoring.build import build
from bench.scoring.pair_metrics import score_batch

ROOT = Path(__file__).parents[2]
METHODS = ["psp", "e4e", "restyle_psp", "restyle_e4e", "hfgi"]
SEEDS = list(range(4))
# Grey levels of 255, mean over the pictures. Measured on an H200: 0.0000; optimisation, which feeds rounding back, 0.21.
LEVELS = {"optimize_w_plus": 1.0}
FEW = 0.01
SPLIT = 0.1  # between batches of another size


@lru_cache
def pictures():
    """(4, 3, 128, 128) in [-1, 1]: samples, the same on every device."""
    generator = load_method(ROOT, "e4e", "annyfaces").generator
    return generator.synthesize(generator.sample_w(len(SEEDS), 0, 0.8)).clamp(-1, 1)


@lru_cache
def inverted(name, device, precision="fp32", moved=False):
    """Pictures as uint8 and the codes; ``moved``: of an edit, all codes shifted by one seeded direction."""
    method = load_method(ROOT, name, "annyfaces", {"steps": 10} if "optimize" in name else {}, device, precision)
    x = pictures().to(device)
    shown, inversion, finite = invert_batch(method, x, SEEDS, precision)
    assert all(finite)
    if moved:
        direction = torch.randn(inversion.w_plus.shape[1:], generator=torch.Generator().manual_seed(1)).to(device)
        with torch.no_grad():
            shown = to_uint8(method.render(inversion.w_plus + 0.1 * direction, inversion))
    return shown.astype(float), inversion.w_plus.float().cpu()


@pytest.mark.parametrize("name", [*METHODS, "optimize_w_plus"])
@pytest.mark.parametrize("moved", [False, True], ids=["inversion", "edit"])
def test_pictures_are_those_of_the_cpu(name, moved, accelerator, capsys):
    (one, codes), (other, others) = inverted(name, "cpu", moved=moved), inverted(name, accelerator, moved=moved)
    mean, most = abs(one - other).mean(), abs(one - other).max()
    with capsys.disabled():
        print(f"\n{name}: mean {mean:.4f}, most {most:.0f} levels; codes {float((codes - others).abs().max()):.2e}")
    assert mean < LEVELS.get(name, FEW)


@pytest.mark.parametrize("name", METHODS)
def test_batches_of_one_on_the_device(name, accelerator):
    method = load_method(ROOT, name, "annyfaces", {}, accelerator)
    whole, _ = inverted(name, accelerator)
    alone = [
        invert_batch(method, pictures()[n : n + 1].to(method.device), [n], "fp32")[0].astype(float)[0] for n in SEEDS
    ]
    assert max(abs(a - b).mean() for a, b in zip(alone, whole, strict=True)) < SPLIT


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_is_near(name, accelerator, capsys):
    mean = abs(inverted(name, accelerator, "bf16")[0] - inverted(name, accelerator)[0]).mean()
    with capsys.disabled():
        print(f"\n{name}: bf16 differs by {mean:.3f} levels")
    assert mean < 1


@pytest.mark.parametrize("name", ["mae", "psnr", "ssim_gauss", "ssim_w51", "ms_ssim", "mae_rel", "mse_pm1"])
def test_scores_are_those_of_the_cpu(name, accelerator):
    x, x_hat = to_uint8(pictures()), inverted("e4e", "cpu")[0].astype("uint8")
    values = [
        score_batch(build(ROOT, metrics(ROOT).load(name), torch.device(device)), name, x, x_hat)
        for device in ("cpu", accelerator)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


@pytest.mark.parametrize("name", [*METHODS, "optimize_w_plus", "copy_input", "latent_avg"])
def test_the_contract_holds_on_the_device(name, accelerator):
    assert name in methods(ROOT).names()
    outcomes = [outcome for subject in checks_of(ROOT, name) for outcome in run_checks(subject)]
    assert f"the same on {accelerator}" in [outcome.check for outcome in outcomes]
    assert not [outcome for outcome in outcomes if outcome.checked and not outcome.passed]
