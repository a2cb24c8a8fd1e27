"""dvc.yaml names the code its stages use: neither less, which would leave stale results, nor more, which would rerun.

The code of a stage is everything that its verb's file, its method's file or the metrics import, wherever the import
stands, read from the syntax trees. Nothing is imported and no stage is run.
"""

import ast
from functools import lru_cache
from pathlib import Path

import pytest
import yaml

from bench import provenance

ROOT = Path(__file__).parents[2]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
METHODS = sorted(p.stem for p in (ROOT / "methods").glob("*.py") if p.stem != "__init__")

# Code that no number, no picture and no page depends on: changing it must not compute anything again.
WITHOUT_EFFECT = {
    "bench/__init__.py": "the version's number",
    "bench/cli/__init__.py": "finds the verb and prints errors",
    "bench/cli/common.py": "texts of options and progress bars",
    "bench/errors.py": "texts of errors",
    "bench/locking.py": "who may write",
    "bench/listed.py": "which stages a profile has",
    "bench/csvfiles.py": "damaged tables are refused; nothing is read otherwise",
}
VERBS = {  # stage -> (verb, plug-ins it loads by name)
    "prepare": ("prepare", ()),
    "run": ("run", ("methods/{method}.py",)),
    "run_ablation": ("run", ("methods/{method}.py",)),
    "score": ("score", ("bench/metrics/*.py",)),
    "score_ablation": ("score", ("bench/metrics/*.py",)),
    "edit_targets": ("edit-targets", ()),
    "edits": ("score-edits", ("methods/{method}.py", "bench/metrics/*.py")),
    "edits_ablation": ("score-edits", ("methods/{method}.py", "bench/metrics/*.py")),
    "video_targets": ("video-targets", ()),
    "video": ("score-video", ("methods/{method}.py", "bench/metrics/*.py")),
    "rate": ("rate", ("methods/{method}.py", "bench/metrics/*.py")),
    "rate_ablation": ("rate", ("methods/{method}.py", "bench/metrics/*.py")),
    "rate_codec": ("rate", ("bench/metrics/*.py",)),
    "aggregate": ("aggregate", ()),
    "time": ("time", ("methods/{method}.py",)),
    "report": ("report", ()),
}


def module(name):
    """The file of a dotted name under the project, if it is one of ours."""
    path = ROOT / Path(*name.split("."))
    found = [p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()]
    return found[0].relative_to(ROOT).as_posix() if found else None


def _imported(node):
    """Dotted names below a node, those for the type checker alone left out."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return [name for inner in node.orelse for name in _imported(inner)]
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for inner in ast.iter_child_nodes(node) for name in _imported(inner)]


@lru_cache
def imports(file):
    """Our files that a file imports."""
    names = _imported(ast.parse((ROOT / file).read_text()))
    found = {module(name) for name in names if name.split(".")[0] in ("bench", "methods")}
    return found - {None} - set(WITHOUT_EFFECT)


DATA = {"bench/protocol.py": "bench/protocols"}  # folders of settings that a module reads


def closure(*starts):
    seen, todo = set(), list(starts)
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += imports(file)
    return seen


def body(stage):
    return PIPELINE[stage].get("do", PIPELINE[stage])


def code_deps(stage, method=""):
    deps = [d.replace("${item.method}", method).replace("${item}", method) for d in body(stage)["deps"]]
    return [d for d in deps if d.startswith(("bench/", "methods"))]


def used(stage, method=""):
    verb, plugins = VERBS[stage]
    files = [p for pattern in plugins for p in ROOT.glob(pattern.format(method=method))]
    found = closure(f"bench/cli/{verb.replace('-', '_')}.py", *(p.relative_to(ROOT).as_posix() for p in files))
    return found | {DATA[file] for file in found if file in DATA}


def covered(file, deps):
    return any(file == d or file.startswith(d + "/") for d in deps)


@pytest.mark.parametrize("stage", sorted(VERBS))
@pytest.mark.parametrize("method", METHODS)
def test_no_code_is_missing(stage, method):
    missing = sorted(f for f in used(stage, method) if not covered(f, code_deps(stage, method)))
    assert not missing, f"dvc.yaml, stage {stage}, deps: add {', '.join(missing)}"


@pytest.mark.parametrize("stage", sorted(VERBS))
def test_no_code_is_too_much(stage):
    together = set().union(*(used(stage, method) for method in METHODS))
    deps = code_deps(stage, METHODS[0])
    idle = [d for d in deps if not any(covered(f, [d]) for f in together)]
    assert not idle, f"dvc.yaml, stage {stage}, deps: remove {', '.join(idle)}"
    assert sorted(deps) == deps and len(set(deps)) == len(deps), "in order, once each"
    assert all((ROOT / d).exists() for d in deps)


def test_every_stage_is_checked_and_runs_its_verb():
    assert set(VERBS) == set(PIPELINE)
    for stage, (verb, _) in VERBS.items():
        assert body(stage)["cmd"].startswith(f"bench {verb} --profile ${{profile}}")


def test_the_two_forms_of_a_stage_are_one():
    """Methods and their ablations go through the same code with the same settings."""
    for stage in ("run", "score", "edits", "rate"):
        assert code_deps(stage, "m") == code_deps(f"{stage}_ablation", "m")
        ours, theirs = (body(name)["params"] for name in (stage, f"{stage}_ablation"))
        shared = [
            {k: [v for v in keys if v != "ablations"] for k, keys in p.items()} if isinstance(p, dict) else p
            for p in theirs
            if "ablations.yaml" not in p
        ]
        assert shared == ours


def test_changes_rerun_what_they_touch_only():
    """What costs hours does not wait on what is drawn from it."""
    for stage in ("run", "run_ablation"):
        deps = code_deps(stage, "hfgi")
        assert not any(covered(f, deps) for f in ("bench/report/grid.py", "bench/metrics/mae.py", "methods/e4e.py"))
        assert not any(covered(f, deps) for f in ("bench/scoring.py", "bench/tables.py", "bench/annyfaces/scene.py"))
        assert all(covered(f, deps) for f in ("bench/seeds.py", "bench/device.py", "bench/weights.py"))
    assert not covered("bench/report/grid.py", code_deps("score", "") + code_deps("aggregate"))
    assert not covered("methods/e4e.py", code_deps("time", "hfgi"))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_s_code_is_in_the_hash_of_its_results(method):
    """`bench run --overwrite` keeps runs of an equal hash, so what a method imports must be in it."""
    hashed = {f"bench/{name}" for name in provenance.RESULT_CODE} | {"bench/training/losses.py"}
    named_by_api = {"bench/metric_api.py"}  # metrics' base classes: api.py offers them beside the methods'
    ours = {f for f in closure(f"methods/{method}.py") if not f.startswith(("bench/nets/", "methods/"))}
    assert ours <= hashed | named_by_api, f"bench/provenance.py, RESULT_CODE: add {sorted(ours - hashed)}"


def test_what_has_no_effect_is_used_by_somebody():
    for file in WITHOUT_EFFECT:
        assert (ROOT / file).is_file()
