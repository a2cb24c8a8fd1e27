"""Products, convolutions and every metric: an accelerator gives the CPU's numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from bench import registry
from bench.api import SetMetric
from bench.config.project import load_config
from bench.contract.check_metric import MetricChecks
from bench.scoring.build import lacking, lacking_packages
from bench.scoring.set_metrics import read_sets

ROOT = Path(__file__).parents[2]

NETWORKS = 1e-4  # of the value (docs/numerics.md)
EXACT = 1e-9  # of the value: float64 sums in another order
SETS = 1e-3  # of the value: differences of features within 1e-4, and of moments that nearly cancel


def test_float32_is_not_rounded(accelerator):
    """TF32 would err by 3e-4 here; torch's default for convolutions."""
    rng = torch.Generator().manual_seed(0)
    x, w = torch.randn(2, 64, 32, 32, generator=rng), torch.randn(64, 64, 3, 3, generator=rng)
    a, b = torch.randn(256, 256, generator=rng), torch.randn(256, 256, generator=rng)
    for compute, parts in ((F.conv2d, (x, w)), (torch.matmul, (a, b))):
        exact = compute(*(p.double() for p in parts))
        there = compute(*(p.to(accelerator) for p in parts)).cpu().double()
        assert float((there - exact).abs().max() / exact.abs().max()) < 1e-5


def test_scores_are_those_of_the_cpu(command, accelerator, drawn):
    """Every metric of the profile that is installed, on the pictures of one run."""
    asked = ["--method", "e4e", "--dataset", drawn.dataset]
    assert command("run", *asked, "--device", "cpu", "--variant", "scored", "--overwrite")[0] == 0
    values, sets, results = {}, {}, drawn.root / "results"
    for device in ("cpu", accelerator):
        code, err = command("score", *asked, "--variant", "scored", "--scope", "local", "--device", device)
        assert code == 0, err
        rows = pd.read_parquet(results / "scores" / "local" / "e4e.scored.parquet").sort_values("image_id")
        values[device] = {metric: part["value"].to_numpy() for metric, part in rows.groupby("metric")}
        found = read_sets(results / "sets" / "local" / "e4e.scored" / drawn.dataset)
        sets[device] = {v.metric: v.value for v in found.values} if found else {}
    known = registry.metrics(ROOT)
    classes = {name: known.load(name) for name in load_config(drawn.root).settings.metrics}
    here = {name: cls for name, cls in classes.items() if not lacking(drawn.root, cls)}
    of_sets = {name for name, cls in here.items() if issubclass(cls, SetMetric)}
    assert set(values["cpu"]) == set(here) - of_sets and {m.split(".")[0] for m in sets["cpu"]} == of_sets
    gaps = {m: np.abs(values[accelerator][m] - v).max() / max(np.abs(v).max(), 1e-12) for m, v in values["cpu"].items()}
    assert not {m: gap for m, gap in gaps.items() if gap > (NETWORKS if here[m].packages else EXACT)}
    assert sets[accelerator] == pytest.approx(sets["cpu"], rel=SETS)


@pytest.mark.parametrize("metric", registry.metrics(ROOT).names())
def test_contract_of_metrics(accelerator, metric):
    if lacking_packages(registry.metrics(ROOT).load(metric)):
        pytest.skip("needs a package that is not installed")
    subject = MetricChecks(ROOT, metric)
    if f"the same on {accelerator}" not in subject.checks():
        pytest.skip("reads the run's record, computes nothing")
    subject.checks()[f"the same on {accelerator}"]()
