"""steps.md and its figure, from rows written by hand: means, paired differences, one set of pictures for all."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.analysis import summary
from bench.errors import DataError
from bench.names import config_hash
from bench.report import build
from bench.report.report_data import load_report_data
from bench.report.steps import write_step_figure, write_steps
from bench.store.steps import steps_path
from bench.store.steps import write_steps as write_rows

SPREAD = 0.2  # between pictures: far more than between steps


def add(tiny, method, means, ids, metrics=("mae", "ssim_gauss"), signature="v1", without=()):
    """Picture n of N has, after each step, the mean of that step and its own share of SPREAD; the same for all."""
    rows = []
    for metric in metrics:
        for n, i in enumerate(ids):
            own = SPREAD * (n / (len(ids) - 1) - 0.5)
            for step, mean in enumerate(means, 1):
                value = np.nan if (i, step) in without else mean + own * (1 + 0.01 * step)
                rows.append(("tiny_set", method, "", i, step, metric, f"{metric}|{signature}", value))
    columns = ["dataset", "method", "variant", "image_id", "step", "metric", "signature", "value"]
    state = config_hash(tiny.store.run("toy", method, "tiny_set").read())
    write_rows(steps_path(tiny.store, "toy", method, "tiny_set"), pd.DataFrame(rows, columns=columns), state)


@pytest.fixture
def report(tiny):
    """Two methods of three steps and of one; the second lacks a value of the last picture of the first's five."""
    add(tiny, "latent_avg", [0.5, 0.4, 0.37], tiny.ids[:5])
    add(tiny, "optimize_w_plus", [0.3], tiny.ids[:5], without=[(tiny.ids[4], 1)])
    summary.aggregate(tiny.store, "toy", tiny.config)
    return load_report_data(tiny.root, "toy")


def cells(text, start):
    return [c.strip() for c in next(x for x in text.splitlines() if x.startswith(f"| {start} |")).strip("|").split("|")]


def test_means_and_paired_differences(tiny, report):
    markdown, latex = write_steps(report, tiny.root / "tables")
    after, change = markdown.read_text().split("## What each step changes")
    first, second = after.split(f"*{title(report)}*")
    assert "*Optimization (W+)*" in first and "1 of 5 pictures" in after
    # four pictures are left: their own shares are -0.1, -0.05, 0 and 0.05, in the mean -0.025
    for step, mean in ((1, 0.5), (2, 0.4), (3, 0.37)):
        expected = mean - 0.025 * (1 + 0.01 * step)
        found = cells(second, step)
        assert found[1] == "4" and float(found[2].split()[0]) == pytest.approx(expected, abs=6e-4)
        low, high = found[2].split("[")[1].split("]")[0].split(", ")
        assert float(high) - float(low) > 0.05
    assert cells(change.split(f"*{title(report)}*")[1], "1 → 2")[2].startswith("-0.1002")
    found = cells(change, "2 → 3")
    low, high = map(float, found[2].split("[")[1].split("]")[0].split(", "))
    assert found[2].startswith("-0.0303 ") and found[3].startswith("-0.0303 ")
    assert -0.0315 < low < high < -0.029, "paired: what pictures have in common is gone"
    assert "→ 4" not in change and r"\begin{table*}" in latex.read_text()


def title(report):
    return report.method("latent_avg").title


def test_the_figure(tiny, report):
    [(caption, path)] = write_step_figure(report, "tiny_set", tiny.root)
    assert "interval" in caption and path.name == "steps.png"
    with Image.open(path) as picture:
        assert np.asarray(picture.convert("L")).std() > 5
    add(tiny, "latent_avg", [0.5], tiny.ids[:5])
    assert write_step_figure(report, "tiny_set", tiny.root) == [], "one step is no curve"


def test_the_page_links_them(tiny, report):
    written = build(tiny.root, "toy", tiny.config)
    index = (tiny.root / "reports" / "index.md").read_text()
    assert "(tables/steps.md)" in index and "![steps](figures/steps.png)" in index
    assert {"steps.md", "steps.tex", "steps.png"} <= {path.name for path in written}


def test_nothing_without_steps(tiny):
    summary.aggregate(tiny.store, "toy", tiny.config)
    report = load_report_data(tiny.root, "toy")
    assert write_steps(report, tiny.root) == [] and write_step_figure(report, "tiny_set", tiny.root) == []


def test_two_protocols_are_refused(tiny, report):
    add(tiny, "latent_avg", [0.5, 0.4], tiny.ids[:5], signature="v2")
    with pytest.raises(DataError, match="mae after each step follow different protocols; got .*v1 of .*v2 of"):
        write_steps(report, tiny.root)
