"""The verbs from run to report on the toy project: what one part writes, the next one reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd

from bench.analysis.summary import read_summary
from bench.report.readme import BEGIN, END

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"


def test_run_score_aggregate_time_report(cli, project):
    shutil.copytree(REFERENCE, project / "results" / "reference")
    profile = project / "profiles" / "toy.yaml"
    profile.write_text(profile.read_text() + "limits: {toy_codes: 3}\n")
    readme = project / "README.md"
    readme.write_text(f"# Toy\n\n{BEGIN}\n{END}\n")
    runs = [("run", "--method", method) for method in ("toy_copy", "toy_codes")]
    for command in [*runs, ("score",), ("aggregate",), ("time",), ("report",)]:
        answer = cli(*command)
        assert answer.code == 0, answer.err
    summary = read_summary(project / "results" / "summary.csv")
    perfect = summary[(summary.method == "toy_copy") & (summary.protocol == "toy32")].set_index("metric")
    assert perfect["mean"].to_dict() == {"mae": 0.0, "psnr": 100.0, "rate": perfect["mean"]["rate"]}
    assert set(perfect.n) == {8} and set(summary.protocol) == {"toy32", "toy32@common3"}
    rows = pd.read_parquet(project / "results" / "scores" / "toy" / "toy_codes.parquet")
    mae = summary[(summary.method == "toy_codes") & (summary.metric == "mae") & (summary.protocol == "toy32")][
        "mean"
    ].item()
    assert abs(mae - rows[rows.metric == "mae"].value.mean()) <= 1e-5 * mae
    table = (project / "reports" / "tables" / "table1.md").read_text()
    shown = readme.read_text().split(BEGIN)[1].split(END)[0].strip()
    assert shown in table and "0.0617" not in shown and "Controls" not in shown
    assert "*On the first 3 of 8 images only †*" in shown and "| Codes | 3 |" in shown
    assert "README.md" in answer.out, "the verb tells every file that it has written"
    assert "*On the first 3 of 8 images only †*" in table and "| *Controls* |" in table
    assert "PSNR is capped at 100 for identical pictures; pictures at the cap: Copy 8." in table
    assert "not timed" not in table and "0.0617" in table
    records = [json.loads(p.read_text()) for p in (project / "results" / "timing" / "toy").glob("*/*/*.json")]
    assert {r["run_id"] for r in records} == {"toy_copy-toy", "toy_codes-toy"}
    for name in (
        "figures/grid_inversion.png",
        "figures/metrics.svg",
        "figures/toy_sheet.png",
        "index.md",
        "plots/means.json",
    ):
        assert (project / "reports" / name).stat().st_size > 200
    index = (project / "reports" / "index.md").read_text()
    assert "`toy_codes-toy`" in index and "noise=0.1" in index and "toy_generator" in index


def test_verbs_before_their_input_say_what_to_run(cli, one_line_error, project):
    assert "run `bench score` first" in one_line_error("aggregate")
    assert "run `bench aggregate`" in one_line_error("report")
