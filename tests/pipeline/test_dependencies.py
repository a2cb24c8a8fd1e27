"""Stages depend on the code they use: neither less, which would leave stale results, nor more, which would rerun.

`bench code` reads it from the syntax trees (bench/store/imports.py); dvc.yaml names the part of it for every stage.
"""

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml

from bench.errors import BenchError
from bench.planning.code_hashes import VERBS, stage_code
from bench.store.imports import WITHOUT_EFFECT, Sources

ROOT = Path(__file__).parents[2]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
METHODS = sorted(p.stem for p in (ROOT / "methods").glob("*.py") if p.stem != "__init__")
STAGES = sorted(set(PIPELINE) - {"code"})
CODE = stage_code(ROOT)


def body(stage):
    return PIPELINE[stage].get("do", PIPELINE[stage])


def commands(stage):
    found = body(stage)["cmd"]
    return [found] if isinstance(found, str) else found


def code_deps(stage):
    return [d for d in body(stage)["deps"] if d.startswith(("annyfaces", "bench", "methods", "results/code"))]


def other_deps(stage):
    return [d for d in body(stage)["deps"] if d not in code_deps(stage)]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_of_its_verb_and_its_method(stage):
    wanted = set()
    for command in commands(stage):
        verb, method = re.match(r"bench ([a-z-]+) --profile \$\{profile\}", command)[1], ""
        if "methods" in VERBS[verb] and "--codec" not in command:  # a variant's stage is keyed by its name
            method = "${item.method}" if "matrix" in PIPELINE[stage] else "${item}"
        wanted.add(f"results/code/{verb}/{method}.json" if method else f"results/code/{verb}.json")
    assert len(code_deps(stage)) == len(wanted) and set(code_deps(stage)) == wanted


def test_every_verb_has_a_stage_and_a_part_for_every_method():
    assert {command.split()[1] for stage in STAGES for command in commands(stage)} == set(VERBS)
    of_methods = {f"{verb}/{method}" for verb, kinds in VERBS.items() if "methods" in kinds for method in METHODS}
    assert set(CODE) == set(VERBS) | of_methods
    assert PIPELINE["code"]["deps"] == ["annyfaces", "bench", "methods"] and PIPELINE["code"]["outs"] == [
        "results/code"
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_settings_of_edits_and_clips_come_by_their_targets(stage):
    """They are long, dozens of stages need them, and DVC writes them into dvc.lock for each."""
    verbs = {command.split()[1] for command in commands(stage)}
    keys = set(profile_keys(body(stage).get("params", [])))
    if verbs & {"edit-targets", "video-targets"}:
        assert "edits" in keys and ("video" in keys) == ("video-targets" in verbs)
        return
    assert not keys & {"edits", "video"}
    recorded = {
        "score-edits": {"results/edits/${profile}/targets.json"},
        "score-video": {"results/video/${profile}/targets.json"},
        "rate": {"results/edits/${profile}"},  # of methods: codecs are not edited
    }
    for verb in verbs & recorded.keys() if stage != "rate_codec" else ():
        assert recorded[verb] <= set(other_deps(stage))


def profile_keys(params):
    return [key for p in params if isinstance(p, dict) for file, keys in p.items() if "profile" in file for key in keys]


def test_the_two_forms_of_a_stage_are_one():
    """Methods and their ablations go through the same code with the same settings."""
    both = {key for name in ("run", "score") for key in profile_keys(body(name)["params"])}
    assert set(profile_keys(body("ablation")["params"])) == both | {"ablations"}
    for stage in ("edits", "rate"):
        ours, theirs = (body(name)["params"] for name in (stage, f"{stage}_ablation"))
        shared = [
            {k: [v for v in keys if v != "ablations"] for k, keys in p.items()} if isinstance(p, dict) else p
            for p in theirs
            if "ablations.yaml" not in p
        ]
        assert shared == ours


@pytest.mark.parametrize("method", METHODS)
def test_changes_rerun_what_they_touch_only(method):
    """What costs hours does not wait on what is drawn from it."""
    for verb in ("run", "time"):
        used = CODE[f"{verb}/{method}"]
        assert not any(f.startswith(("bench/report/", "bench/metrics/", "bench/annyfaces/sc")) for f in used)
        own = {f for f in Sources(ROOT).closure([f"methods/{method}.py"]) if f.startswith("methods/")}
        assert {f for f in used if f.startswith("methods/")} == own
        assert not used.keys() & {"bench/scoring/score_run.py", "bench/analysis/summary.py", *WITHOUT_EFFECT}
        assert used.keys() >= {f"bench/cli/{verb}.py", "bench/seeds.py", "bench/device.py", "bench/weights/manifest.py"}
        assert ("bench/nets/alignment.py" in used) == (method == "hfgi")
    assert not any(f.startswith("bench/report/") for verb in ("aggregate", "score", "edit-targets") for f in CODE[verb])
    assert CODE[f"score-edits/{method}"].keys() >= {"bench/metrics/mae.py", "annyfaces/scene.py"}


def test_settings_that_a_module_reads_are_its_code():
    assert {p.relative_to(ROOT).as_posix() for p in (ROOT / "bench" / "analysis" / "protocols").iterdir()} <= CODE[
        "report"
    ].keys()


def test_what_has_no_effect_is_there():
    assert all((ROOT / file).is_file() for file in WITHOUT_EFFECT)


FILES = {
    "bench/__init__.py": "",
    "bench/errors.py": "",
    "bench/near.py": "def f():\n    from bench.deep import far\n",
    "bench/deep/__init__.py": "",
    "bench/deep/far.py": "import torch\nimport bench.near\n",
    "bench/types.py": "",
    "methods/mine.py": "from typing import TYPE_CHECKING\nfrom bench import errors, near\n"
    "if TYPE_CHECKING:\n    from bench import types\n",
    "methods/broken.py": "def f(:\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Sources(tmp_path)


def test_imports_are_found_wherever_they_stand(tree):
    """In functions, through packages, in rings; not those for the type checker, nor what has no effect."""
    used = tree.closure(["methods/mine.py"])
    assert used == {"methods/mine.py", "bench/near.py", "bench/deep/__init__.py", "bench/deep/far.py"}


def test_code_that_cannot_be_read_is_named(tree):
    with pytest.raises(BenchError, match="methods/broken.py cannot be read.*correct it"):
        tree.closure(["methods/broken.py"])
    with pytest.raises(BenchError, match="bench/cli/run.py is not there.*checkout"):
        tree.closure(["bench/cli/run.py"])


def test_bench_code_writes_what_the_stages_read(project, cli, one_line_error):
    assert "is not there" in one_line_error("code")  # a project without the code
    for package in ("annyfaces", "bench"):
        (project / package).symlink_to(ROOT / package)
    gone = project / "results" / "code" / "run" / "gone.json"
    gone.parent.mkdir(parents=True)
    gone.write_text("{}")
    assert cli("code").code == 0 and not gone.exists()
    written = json.loads((project / "results" / "code" / "run" / "toy_codes.json").read_text())
    assert (
        written["bench/api/method.py"]
        == hashlib.sha256((ROOT / "bench" / "api" / "method.py").read_bytes()).hexdigest()
    )
