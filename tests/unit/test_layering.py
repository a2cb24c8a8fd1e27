"""Who may import whom, read from the syntax trees. A module may import what stands in its own group or left of it."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROUPS = [
    "errors imports seeds images csvfiles runid toy drift metric_api edit_settings edit_matching video_settings",
    "api recipes manifest prepared annyfaces",
    "nets landmarks measures weights published generator editing directions",
    "registry attributes metric_build codes locking rundir store engine device listed config provenance loading plan "
    "probe needs",
    "rendering pictures folders numbered prepare runner pairs sets set_lines step_results step_scoring scoring scores "
    "statistics tables timing "
    "training directing edits check_subject checks metric_checks cost forecast stage_code "
    "edit_preparation edit_features edit_results edit_sets edit_targets edit_measures edit_work edit_batch edit_scoring "
    "rate_coding rate_quantise rate_edits rate rate_codecs rate_results "
    "alignment_ffhq video_frames video_film video_faces video_motion video_measures video_results video_preparation "
    "video_scoring video "
    "mapping protocol resultset gate gate_report significance controls explain",
    "report rehearsal reconcile",
    "cli warm",
]
RANK = {name: rank for rank, group in enumerate(GROUPS) for name in group.split()}
FOR_METHODS = {"api", "nets", "images", "landmarks", "training.losses"}
FOR_METRICS = {"api", "images", "nets", "measures"}


def modules(folder):
    return sorted(p for p in (ROOT / folder).rglob("*.py") if p.name != "__init__.py" or p.read_text().strip())


def imports(path):
    """Dotted names below bench or methods that a file imports, anywhere in it but for the type checker alone."""
    found = set()
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("bench", "methods")}


def part(path):
    """The second level of a module's name: bench/cli/run.py -> cli."""
    return path.relative_to(ROOT / "bench").with_suffix("").parts[0]


@pytest.mark.parametrize("path", modules("bench"), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_left(path):
    own = part(path)
    if own == "__init__":
        assert not imports(path)
        return
    if own == "metrics":
        allowed = FOR_METRICS
        assert {n.split(".")[1] for n in imports(path)} <= allowed, f"a metric may import {sorted(allowed)} only"
        return
    assert own in RANK, f"{path.name} has no place in GROUPS"
    for name in imports(path):
        pieces = name.split(".")
        assert pieces[0] == "bench", f"{path.name} imports {name}: the harness knows no method"
        other = pieces[1]
        if (other in RANK and RANK[other] <= RANK[own]) or other == "__version__":
            continue
        pytest.fail(f"bench/{own} (group {RANK[own]}) imports {name} (group {RANK.get(other)})")


@pytest.mark.parametrize("path", modules("methods"), ids=lambda p: p.stem)
def test_methods_import_only_what_they_may(path):
    for name in imports(path):
        assert name.startswith("bench."), f"{path.name} imports {name}: methods do not know each other"
        assert any((name + ".").startswith(f"bench.{ok}.") for ok in FOR_METHODS), f"{path.name} imports {name}"


def test_the_harness_names_no_method():
    """No string or identifier in bench/ is the id of a method: adding one changes no core file."""
    ids = [p.stem for p in modules("methods")]
    hits = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules("bench")
        for name in ids
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Constant) and node.value == name)
        or (isinstance(node, ast.Name) and node.id == name)
        or (isinstance(node, ast.Attribute) and node.attr == name)
    ]
    assert not [h for h in hits if not h.endswith(": latent_avg")], hits  # also the generator's mean code


def test_data_folders_are_no_packages():
    for folder in ("datasets", "results", "reports", "weights"):
        assert not list((ROOT / folder).rglob("__init__.py"))


@pytest.mark.parametrize(
    "command",
    [
        "import bench",
        "from bench.cli import run_cli; run_cli(['ls', '--root', {root!r}])",
        "from bench.cli import run_cli; run_cli(['run', '--help'])",
    ],
)
def test_listing_imports_nothing_heavy(command):
    heavy = ["torch", "anny", "numba", "pandas", "matplotlib", "seaborn", "scipy", "skimage", "dvc"]
    code = f"{command.format(root=str(ROOT))}\nimport sys\nprint('LOADED', [m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^LOADED \[\]$", done.stdout, re.MULTILINE), done.stdout[-300:]


def module_strings():
    """Dotted names of our modules in strings of the code: what is imported by name. {name: file}."""
    found = {}
    for path in modules("bench"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if re.fullmatch(r"bench(\.[a-z_0-9]+)+", node.value):
                    found[node.value] = path.relative_to(ROOT)
    return found


@pytest.mark.parametrize("name", sorted(module_strings()))
def test_modules_named_in_strings_are_there(name):
    """They are imported by name where an absent one is passed over: a moved one would only cost time, unseen."""
    groups = {"bench.methods", "bench.metrics", "bench.judges", "bench.landmarks"}  # of entry points
    assert name in groups or importlib.util.find_spec(name) is not None, f"{module_strings()[name]} names {name}"


def test_strings_with_modules_are_found():
    assert {"bench.runner", "bench.pairs", "bench.scoring"} <= set(module_strings())


def test_files_stay_small():
    """A file longer than this does several jobs. About 300 lines is the aim, this the end of all slack."""
    long = {
        str(p.relative_to(ROOT)): n
        for p in modules("bench") + modules("methods")
        if (n := len(p.read_text().splitlines())) > 400
    }
    assert not long, long
