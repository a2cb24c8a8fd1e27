"""The example package of docs: installed through its entry point, its method is listed, checked, run and scored."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "third_party_method"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installed by pip into a folder of its own on the path; nothing comes from a network."""
    source, target = tmp_path / "source", tmp_path / "site"
    shutil.copytree(EXAMPLE, source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(str(target))
    yield target
    sys.modules.pop("bench_example_colour_code", None)


def test_a_third_party_method_gets_its_row(installed, cli):
    listed = {m["id"]: m for m in json.loads(cli("ls", "methods", "--json").out)["methods"]}
    assert listed["colour_code"]["origin"] == "bench-example-colour-code" and not listed["colour_code"]["error"]
    checked = cli("check", "colour_code")
    assert checked.code == 0 and "FAIL" not in checked.out and checked.out.count("pass") > 8, checked
    assert cli("run", "--method", "colour_code", "--set", "codes=16").code == 0
    assert cli("score", "--scope", "local", "--method", "colour_code").code == 0
    assert cli("aggregate", "--scope", "local").code == 0
    with open("results/local/summary.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "colour_code"]
    assert {row["metric"] for row in rows} >= {"mae", "psnr"} and all(row["n"] == "8" for row in rows)


def test_without_the_package_it_is_unknown(one_line_error):
    assert "unknown method 'colour_code'" in one_line_error("run", "--method", "colour_code")


def test_the_example_is_as_short_as_it_says():
    (source,) = (EXAMPLE / "src").glob("*.py")
    assert len(source.read_text().splitlines()) <= 40
