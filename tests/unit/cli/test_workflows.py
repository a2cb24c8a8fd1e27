"""The workflows call commands and options that exist, and the gate stands before the comment."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from bench.cli.app import app

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".github" / "workflows"
VERBS = typer.main.get_command(app).commands


def steps(name):
    jobs = yaml.safe_load((FOLDER / name).read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("name", sorted(p.name for p in FOLDER.glob("*.yml")))
def test_commands_exist(name):
    lines = [line.strip() for step in steps(name) for line in step.get("run", "").splitlines()]
    for words in (shlex.split(line) for line in lines if line.startswith("bench ")):
        options = {text for parameter in VERBS[words[1]].params for text in parameter.opts}
        used = {word for word in words if re.match(r"--\w", word)}
        assert used <= options, f"{' '.join(words)}: {sorted(used - options)}"


def test_both_sides_are_compared_and_the_result_is_shown():
    runs = [step.get("run", "") for step in steps("gate.yml")]
    order = [next(n for n, run in enumerate(runs) if text in run) for text in ("--save", "--baseline", "cml comment")]
    assert order == sorted(order) and all(
        s.get("if") == "always()" for s in steps("gate.yml") if "comment" in str(s.get("run"))
    )
    assert any("dvc repro --allow-missing --dry" in step.get("run", "") for step in steps("tests.yml"))


def test_another_processors_rounding_reaches_the_tests():
    """By tox, which hands on to the installation's environment what that lets pass; and by the workflow, the same."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    other = dict(re.findall(r"^([A-Z_]+) = (\S+)$", tox["testenv:numeric"]["set_env"], re.MULTILINE))
    assert {"ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"} <= set(other) <= set(tox["testenv:suite"]["pass_env"].split())
    (step,) = [step for step in steps("tests.yml") if "pytest -m numeric" in step.get("run", "")]
    assert step["env"] == other and "pytest -m numeric" in tox["testenv:numeric"]["commands"]
    assert "tox run -e numeric" in (ROOT / ".ci" / "run").read_text()
