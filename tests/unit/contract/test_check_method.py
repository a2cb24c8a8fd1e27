"""Each clause of the contract of methods can fail: a sound method passes, one with the fault fails that clause."""

import re
from pathlib import Path

import numpy as np
import pytest

from bench import registry
from bench.contract.check_method import MethodChecks, run_checks
from bench.contract.check_metric import MetricChecks

SOUND = '''
import torch
from bench import api
class Method(api.Method):
    """Half the picture, and a code from its mean and its own random number."""
    title, source = "Sound", "test"
    options = {"part": 0.25}
    lasting = 0.0
    def embed(self, x):
        w = self.generator.latent_avg.expand(len(x), -1, -1).clone() + 0.1 * x.mean((1, 2, 3))[:, None, None]
        for n, seed in enumerate(self.context.image_seeds):
            w[n] += 0.01 * torch.rand((), generator=torch.Generator().manual_seed(seed))
        return api.Inversion(w, {"kept": x * self.opt["part"]})
    def render(self, w_plus, inversion):
        return self.generator.synthesize(w_plus) + inversion.memory["kept"]
'''
RENDER = 'return self.generator.synthesize(w_plus) + inversion.memory["kept"]'
INVERSION = 'return api.Inversion(w, {"kept": x * self.opt["part"]})'
STEPPING = SOUND.replace(INVERSION, "return api.Inversion(w, steps=torch.stack([0.5 * w, w], 1))").replace(
    ' + inversion.memory["kept"]', ""
)
STACKED = "torch.stack([0.5 * w, w], 1)"

# clause -> (what of the sound method, its fault, words of the reason)
FAULTS = {
    "documented": ('title, source = "Sound", "test"', 'title = "Sound"', "no source"),
    "options are listed and checked": (
        "    lasting = 0.0\n",
        "    def __init__(self, context, **options):\n        super().__init__(context)\n",
        "unknown option is accepted",
    ),
    "skip gives a reason or None": (
        "    lasting = 0.0\n",
        "    @classmethod\n    def skip(cls, dataset):\n        return False\n",
        "skip.* returned False",
    ),
    "shapes and types": (INVERSION, INVERSION.replace("(w,", "(w[:, 1:],"), "w_plus.* wrong shape|codes"),
    "finite": (INVERSION, INVERSION.replace('x * self.opt["part"]', "x / 0"), "kept|x_hat has values"),
    "steps lead to the result": (
        INVERSION,
        INVERSION.replace("})", "}, torch.stack([w, w], 1))"),
        r"steps beside memory .kept.",
    ),
    "range of pictures": (RENDER, f"{RENDER} * 0 + 127.5 * (1 + inversion.memory['kept'])", "x_hat reaches 1"),
    "deterministic": ("generator=torch.Generator().manual_seed(seed)", "dtype=None", "use context.image_seeds"),
    "independent of batch split": ("x.mean((1, 2, 3))[:, None, None]", "x.mean()", "one by one differ"),
    "independent of order": ("enumerate(self.context.image_seeds):", "enumerate([1, 2, 3, 4][:len(x)]):", "another or"),
    "degree 0 is the reconstruction": (
        RENDER,
        "return self.generator.synthesize(w_plus) + (w_plus is inversion.w_plus)",
        "the same codes differs",
    ),
    "input is left alone": (INVERSION, f"x.zero_()\n        {INVERSION}", "its input is changed"),
}
MORE = [
    ("shapes and types", INVERSION, "return w", "expected Inversion"),
    ("shapes and types", INVERSION, INVERSION.replace("(w,", "(w.double(),"), "float64"),
    ("shapes and types", INVERSION, INVERSION.replace('x * self.opt["part"]', "x[:1]"), "memory that is not per image"),
    (
        "shapes and types",
        RENDER,
        f"{RENDER} [..., :32]".replace("synthesize(w_plus) +", "synthesize(w_plus)[..., :32] +"),
        "rendered the wrong shape",
    ),
    ("input is left alone", RENDER, f"inversion.memory['kept'].mul_(0.5)\n        {RENDER}", "render changes kept"),
    ("input is left alone", RENDER, f"w_plus += 0.1\n        {RENDER}", "render changes codes"),
    ("input is left alone", RENDER, f"inversion.memory['more'] = w_plus\n        {RENDER}", "render changes memory"),
]


# of a method that keeps steps: clause, what of it, its fault, words of the reason
STEPS = [
    ("shapes and types", STACKED, "torch.stack([w, w])", "wrong shape; got .2, 4, 10, 16.; expected .4, S, 10"),
    ("shapes and types", STACKED, "w[:, None][:, :0]", "steps of the wrong shape; got .4, 0, 10"),
    ("shapes and types", STACKED, f"{STACKED}.double()", "steps are torch.float64"),
    ("finite", "0.5 * w, w]", "w / 0, w]", "steps has values that are not finite"),
    ("steps lead to the result", "0.5 * w, w]", "w, 0.5 * w]", "the last step differs from w_plus by"),
    ("steps lead to the result", "synthesize(w_plus)", "synthesize(w_plus) * 0.9", "the shared generator, which draws"),
    ("independent of batch split", "0.5 * w, w]", "w * len(x), w]", "steps of images computed one by one differ"),
    ("independent of batch split", "0.5 * w, w]", "*[w] * len(x)]", "numbers of steps differ: 1, 4"),
    ("independent of batch split", f"steps={STACKED}", f"steps={STACKED} if len(x) > 1 else None", "differ: 2, None"),
    ("input is left alone", "return self.gen", "inversion.steps[:, 0] = 0; return self.gen", "render changes steps"),
]


@pytest.fixture
def outcomes(project):
    """Clause -> outcome for a method of this source."""

    def run(source, **given):
        (project / "methods" / "subject.py").write_text(source)
        registry.methods.cache_clear()
        return {o.check: o for o in run_checks(MethodChecks(project, "subject", given))}

    return run


def test_a_sound_method_passes(outcomes):
    found = outcomes(SOUND)
    assert all(o.passed for o in found.values()), found
    moved = {clause for clause in found if clause.startswith("the same on ")}
    assert set(found) == set(FAULTS) | moved  # a clause without a fault below is a clause nobody has seen fail


@pytest.mark.parametrize(("clause", "sound", "fault", "words"), [*((k, *v) for k, v in FAULTS.items()), *MORE])
def test_a_fault_is_found(outcomes, clause, sound, fault, words):
    assert sound in SOUND
    outcome = outcomes(SOUND.replace(sound, fault))[clause]
    assert outcome.checked and not outcome.passed and re.search(words, outcome.reason), outcome


def test_a_sound_method_with_steps_passes(outcomes):
    found = outcomes(STEPPING)
    assert all(o.passed for o in found.values()), found


@pytest.mark.parametrize(("clause", "sound", "fault", "words"), STEPS)
def test_a_fault_of_steps_is_found(outcomes, clause, sound, fault, words):
    assert sound in STEPPING
    outcome = outcomes(STEPPING.replace(sound, fault))[clause]
    assert outcome.checked and not outcome.passed and re.search(words, outcome.reason), outcome


def test_a_device_is_found_out(outcomes, monkeypatch):
    """Where there is an accelerator the clause is tried; here a stand-in shows what it asks for."""
    monkeypatch.setattr(MethodChecks, "accelerators", ["meta"])
    fixed = SOUND.replace("self.generator.latent_avg.expand", "torch.zeros(self.generator.latent_avg.shape).expand")
    for source in (fixed, fixed.replace("+ 0.1 * x", "+ 0.1 * x.cpu()")):
        outcome = outcomes(source)["the same on meta"]
        assert outcome.checked and not outcome.passed
    monkeypatch.setattr(MethodChecks, "accelerators", ["cpu"])
    assert outcomes(SOUND)["the same on cpu"].passed
    monkeypatch.setattr(MethodChecks, "_gap", staticmethod(lambda a, b: 1.0))
    assert "differ by 1, allowed 0.02" in outcomes(SOUND)["the same on cpu"].reason


def test_a_metric_is_tried_on_a_device(project, monkeypatch):
    monkeypatch.setattr("bench.contract.check_metric.accelerators", lambda: ["cpu"])

    def outcome(name):
        return {o.check: o for o in run_checks(MetricChecks(project, name))}["the same on cpu"]

    for name in ("mae", "perc_efflite0", "kd_efflite0"):
        assert outcome(name).passed, outcome(name)
    monkeypatch.setattr(MetricChecks, "of_noise", np.full(4, 0.5))
    monkeypatch.setattr(MetricChecks, "features", lambda self, x: np.zeros((len(x), 1280), np.float32))
    for name in ("mae", "kd_efflite0"):
        assert re.search("values differ by .* allowed 0.0001", outcome(name).reason)


def test_a_variant_is_checked_with_its_options(outcomes):
    assert all(o.passed for o in outcomes(SOUND, part=0.5).values())
    broken = outcomes(SOUND, part=float("inf"))
    assert not broken["finite"].passed and broken["documented"].passed


def test_a_variant_that_lacks_something_is_not_tried(outcomes):
    needy = SOUND.replace(
        "    lasting = 0.0\n",
        "    def setup(self):\n        if self.opt['part'] > 0.3: raise api.BenchError('no such thing here')\n",
    )
    assert all(o.passed for o in outcomes(needy).values())
    found = outcomes(needy, part=0.5)
    assert not found["finite"].checked and "no such thing here" in found["finite"].reason


def test_cli_checks_ablations(cli, one_line_error):
    answer = cli("check", "--ablation", "quiet")
    assert answer.code == 0 and "toy_codes.quiet" in answer.out and "FAIL" not in answer.out
    assert ("no accelerator here" in answer.out) == (not MethodChecks(Path(), "latent_avg").accelerators)
    assert "ablation 'quite'" in one_line_error("check", "--ablation", "quite")
    assert "nothing to check" in one_line_error("check")
