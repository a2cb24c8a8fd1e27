"""Who may import whom, read from the syntax trees: rooms, floors, no circles.

A room is a folder of ``bench`` (``bench/edits/``), a file that lies flat in ``bench/``, or a package beside it
(``annyfaces``, ``methods``). ROOMS says what a room stands on: it may import these rooms and all that they stand on.
"""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("annyfaces", "bench", "methods")
ROOMS = {
    "errors": "",
    "seeds": "",
    "compiled": "",
    "names": "errors",
    "files": "errors",
    "images": "errors",
    "device": "errors",
    "api": "errors",
    "annyfaces": "compiled errors seeds",
    "engine": "device",
    "registry": "api names",
    "weights": "files names",
    "nets": "api files images",
    "config": "files registry",
    "measures": "compiled nets",
    "generator": "nets seeds weights",
    "predictors": "nets registry weights",
    "metrics": "measures",
    "methods": "predictors",
    "store": "files names",
    "directions": "generator predictors",
    "renderers": "annyfaces api",
    "data": "engine images renderers store",
    "inversion": "config data generator predictors",
    "scoring": "config data generator",
    "training": "data generator registry",
    "planning": "config data directions",
    "analysis": "measures scoring",
    "contract": "inversion scoring",
    "edits": "directions inversion measures scoring",
    "rate": "edits",
    "video": "edits",
    "report": "analysis edits",
}
TOP = "cli"  # stands on all others
MOST_FLOORS, MOST_NAMES, MOST_FLAT = 8, 4, 12
FOR_METHODS = {"api", "nets", "images", "predictors.landmarks", "training.losses"}
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
    return {name for name in found if name.split(".")[0] in PACKAGES}


def room(path):
    """The room of a file: bench/cli/run.py -> cli, bench/files.py -> files, methods/e4e.py -> methods."""
    first, *rest = path.relative_to(ROOT).with_suffix("").parts
    return rest[0] if first == "bench" else first


def room_of_module(name):
    first, *rest = name.split(".")
    return rest[0] if first == "bench" and rest else first


def allowed(name, seen=()):
    """All rooms below one, by ROOMS."""
    assert name not in seen, f"rooms in a circle: {' -> '.join([*seen, name])}"
    below = set(ROOMS[name].split())
    return below.union(*(allowed(other, (*seen, name)) for other in below))


FILES = [path for package in PACKAGES for path in modules(package)]
ARROWS = {path: {room_of_module(n) for n in imports(path)} - {room(path), "__version__"} for path in FILES}


def test_every_file_has_a_room():
    used = {room(path) for path in FILES} - {"__init__"}
    assert used - set(ROOMS) == {TOP}, f"tests/unit/test_layering.py, ROOMS: {sorted(used - set(ROOMS) - {TOP})}"
    assert not set(ROOMS) - used, f"no such room: {sorted(set(ROOMS) - used)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    own = room(path)
    if own == TOP:
        return
    wrong = ARROWS[path] - allowed(own) if own in ROOMS else ARROWS[path]
    assert not wrong, f"{own} stands on {ROOMS.get(own)!r}, but {path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_the_table_is_short_and_says_nothing_idle():
    """Each name in a row is imported, and is not below another name of the row already."""
    for name, row in ROOMS.items():
        names = row.split()
        assert len(names) <= MOST_NAMES, f"{name} stands on {len(names)} rooms"
        used = set().union(*(ARROWS[path] for path in FILES if room(path) == name))
        assert set(names) <= used, f"{name} does not import {sorted(set(names) - used)}"
        for one in names:
            others = set().union(*(allowed(other) for other in names if other != one))
            assert one not in others, f"{name}: {one} is below another name of its row"


def test_floors():
    """A room is one floor above the highest room that it imports."""

    def floor(name):
        return 1 + max((floor(other) for other in ROOMS[name].split()), default=-1)

    assert 1 + max(map(floor, ROOMS)) + 1 <= MOST_FLOORS  # the ground floor, and TOP above all
    flat = sorted(p.name for p in (ROOT / "bench").glob("*.py"))
    assert len(flat) <= MOST_FLAT, flat


def test_the_picture_in_the_docs_is_the_table():
    """docs/architecture.md, Mermaid: ``edits --> directions & inversion`` is the row of ``edits``."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    picture = text.split("```mermaid\n")[1].split("```")[0]
    drawn = [line.strip().split(" --> ") for line in picture.splitlines()[1:]]
    assert {name: " ".join(below.split(" & ")) for name, below in drawn} == {k: v for k, v in ROOMS.items() if v}
    named = set(re.findall(r"`([a-z_]+)`", text.split("| room | holds |")[1].split("\n\n")[0]))
    assert set(ROOMS) - {"annyfaces", "methods"} | {TOP} <= named, "each room has a line in the table below the picture"


def test_no_module_imports_itself_through_others():
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    arrows = {
        name: {other for found in imports(path) if (other := nearest(found, names)) not in (None, name)}
        for name, path in names.items()
    }
    while free := {name for name, others in arrows.items() if not others & arrows.keys()}:
        arrows = {name: others for name, others in arrows.items() if name not in free}
    assert not arrows, f"in circles, or above them: {sorted(arrows)}"


def nearest(found, names):
    """The module that a dotted name belongs to: bench.files.read_json -> bench.files."""
    while found and found not in names:
        found = found.rpartition(".")[0]
    return found or None


@pytest.mark.parametrize("path", modules("bench/metrics"), ids=lambda p: p.stem)
def test_metrics_import_only_what_they_may(path):
    assert {n.split(".")[1] for n in imports(path)} <= FOR_METRICS, f"a metric may import {sorted(FOR_METRICS)} only"


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
        "from bench.cli.app import run_cli; run_cli(['ls', '--root', {root!r}])",
        "from bench.cli.app import run_cli; run_cli(['run', '--help'])",
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
    assert {"bench.inversion.runner", "bench.scoring.pair_metrics", "bench.scoring.score_run"} <= set(module_strings())


def test_files_stay_small():
    """A file longer than this does several jobs. About 300 lines is the aim, this the end of all slack."""
    long = {
        str(p.relative_to(ROOT)): n
        for p in modules("bench") + modules("methods")
        if (n := len(p.read_text().splitlines())) > 400
    }
    assert not long, long
