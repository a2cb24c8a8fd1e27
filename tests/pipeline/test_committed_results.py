"""The committed tables belong to the committed code, parameters, manifests and lock: there is nothing left to run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def left_to_run(project: Path) -> str:
    """What `dvc repro` would still do, "" for nothing; data that only the cache holds may be absent."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--allow-missing", "--dry"],
        cwd=project,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
    )
    nothing = done.returncode == 0 and "Data and pipelines are up to date." in done.stdout
    return "" if nothing else done.stdout + done.stderr


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What is committed, without anything that lies about beside it."""
    if not (ROOT / ".git").exists():  # a source archive: its files are what was committed
        return ROOT
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--shared", str(ROOT), str(folder)], check=True, capture_output=True)
    return folder


def test_the_committed_results_are_those_of_the_committed_code(clone):
    assert not left_to_run(clone), "run `dvc repro` and commit dvc.lock, results/ and reports/"


def test_a_changed_definition_would_be_seen(clone, tmp_path):
    """The proof above can fail: one changed line of code makes it do so."""
    if clone == ROOT:
        pytest.fail("needs a git checkout: it changes a file in a clone")
    file = clone / "bench" / "analysis" / "statistics.py"
    file.write_text(file.read_text().replace("CONFIDENCE = 0.95", "CONFIDENCE = 0.9"))
    assert left_to_run(clone)
