"""The real pipeline, profile smoke, on a copy of the project: everything runs, the second time nothing does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from bench.cli import fork_server
from bench.config.project import load_config

ROOT = Path(__file__).parents[2]
COPIED = (
    "annyfaces",
    "bench",
    "methods",
    "datasets",
    "profiles",
    "weights",
    "results/reference",
    ".dvc/config",
    ".dvcignore",
)
COPIED_FILES = ("dvc.yaml", "params.yaml", "ablations.yaml", "pyproject.toml")
SERVER = {}  # variable of the warm server that the commands of this project are forked from
METHODS = ("copy_input", "latent_avg", "optimize_w_plus")


def dvc(project: Path, *arguments: str) -> str:
    """Output of a DVC command that must succeed; `bench` on its PATH is this installation's and imports the copy."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = {**os.environ, **SERVER, "PATH": path, "PYTHONPATH": str(project), "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=project, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def switch(folder: Path, profile: str) -> None:
    """Set params.yaml as `bench repro --profile` does, which needs a Git repository."""
    params, config = yaml.safe_load((folder / "params.yaml").read_text()), load_config(folder, profile)
    lists = {"ablations": config.listed_ablations, **config.lists}
    for key, names in lists.items():
        params[key] = {n: params[key][n] for n in names} if isinstance(params[key], dict) else names
    params |= {"profile": profile, "methods": config.methods}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    assert load_config(folder).pipeline_settings() == []


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project after one `dvc repro` with profile smoke."""
    folder = tmp_path_factory.mktemp("pipeline")
    for name in COPIED:
        ignored = shutil.ignore_patterns("prepared", "raw", "__pycache__", *(["training"] if name == "weights" else []))
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for name in COPIED_FILES:
        shutil.copy(ROOT / name, folder / name)
    switch(folder, "smoke")
    dvc(folder, "config", "core.no_scm", "true")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))  # the server's code is the copy's
        with fork_server.serving() as found:
            patch.setitem(SERVER, *next(iter(found.items()), ("", "")))
            dvc(folder, "repro")
            yield folder


def test_table_1_is_in_the_order_it_must_be(project):
    """The ceiling is perfect, the floor is worst, optimisation lies between; n is stated."""
    summary = pd.read_csv(project / "results" / "summary.csv")
    summary = summary[summary["variant"].isna()]
    full = summary[summary["protocol"] == "strict128"].set_index(["method", "metric"])
    assert full.loc[("copy_input", "mae"), "mean"] == 0 and full.loc[("copy_input", "ssim_gauss"), "mean"] == 1
    assert [int(full.loc[(m, "mae"), "n"]) for m in METHODS] == [32, 32, 8]
    common = summary[summary["protocol"] == "strict128@common8"].set_index(["method", "metric"])["mean"]
    for metric, better in (("mae", -1), ("ssim_gauss", 1), ("perc_efflite0", -1)):
        ceiling, floor, optimised = (better * common[(m, metric)] for m in METHODS)
        assert floor < optimised < ceiling, metric
    table = (project / "reports" / "tables" / "table1.md").read_text()
    assert "annyfaces_smoke" in table and "| Optimization (W+) | 8 |" in table


def test_everything_promised_is_written(project):
    for name in (
        "tables/table1.tex",
        "figures/grid_inversion.png",
        "figures/annyfaces_sheet.png",
        "figures/metrics.svg",
        "index.md",
    ):
        assert (project / "reports" / name).stat().st_size > 500, name
    record = json.loads((project / "results/runs/smoke/optimize_w_plus/annyfaces_smoke/run.json").read_text())
    assert len(record["ids"]) == 8 and not record["failures"] and record["config_hash"]
    assert "mae" in dvc(project, "metrics", "show")


def test_edits_are_scored(project):
    """Of the one method and the one variant that the profile asks for, on pictures that have a target."""
    edits = project / "results" / "edits" / "smoke"
    assert {p.parent.name for p in edits.glob("*/edits.json")} == {"hfgi", "hfgi.no_dci"}
    rows = pd.read_parquet(edits / "hfgi" / "rows.parquet")
    assert {"edit", "curve", "round_trip", "cycle", "sweep"} == set(rows["task"])
    assert set(pd.read_parquet(edits / "hfgi.no_dci" / "rows.parquet")["task"]) == {"edit"}
    page = (project / "reports" / "tables" / "editing.md").read_text()
    assert "yaw+0.2" in page and "HFGI" in page


def test_second_repro_does_nothing_and_a_change_reruns_its_own_stages_only(project):
    assert "Data and pipelines are up to date." in dvc(project, "repro")
    method = project / "methods" / "latent_avg.py"
    method.write_text(method.read_text() + "\n# touched\n")
    assert "code" in json.loads(dvc(project, "status", "--json"))
    dvc(project, "repro", "code")  # says whose code it was
    status = json.loads(dvc(project, "status", "--json"))
    assert {stage for stage in status if stage.startswith(("run@", "score@"))} == {"run@latent_avg"}
    assert "prepare" not in status
