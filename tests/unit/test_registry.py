"""Plug-ins are found by file name, listed without being imported, and a broken one is listed with its error."""

import sys
from importlib.metadata import EntryPoint

import pytest

from bench import api, registry
from bench.errors import BenchError, UnknownName
from bench.registry import Folder, Registry, class_attributes

GOOD = '''
"""A method."""
raise_on_import = 1 / {zero}
from bench import api
class Method(api.Method):
    """Says nothing."""
    title, cost = "Good", "slow"
    source: str = "test"
    options = {{"steps": 3}}
    weights = dict(a=1)
'''


@pytest.fixture
def folder(tmp_path):
    def make(**files):
        for name, source in files.items():
            (tmp_path / f"{name}.py").write_text(source)
        return Registry("method", "Method", (api.Method,), [Folder(tmp_path, "", "project")], "bench.test_none")

    return make


def test_listing_imports_nothing(folder):
    found = folder(good=GOOD.format(zero=0))
    assert found.names() == ["good"]
    have = found.entry("good").attributes
    assert have["title"] == "Good" and have["cost"] == "slow" and have["source"] == "test" and have["base"] == "Method"
    assert have["options"] == {"steps": 3} and "weights" not in have and have["doc"] == "Says nothing."
    with pytest.raises(BenchError, match="cannot be imported; got ZeroDivisionError.*good.py"):
        found.load("good")


def test_load_gives_the_class_once(folder):
    found = folder(good=GOOD.format(zero=1))
    cls = found.load("good")
    assert issubclass(cls, api.Method) and found.load("good") is cls
    assert "good" not in sys.modules  # it shadows no package


@pytest.mark.parametrize(
    "source, words",
    [
        ("def f(:", "SyntaxError"),
        ("x = 1", "defines no class Method"),
        ("class Metric: pass", "defines no class Method"),
        ("\0", "SyntaxError|ValueError"),
    ],
)
def test_broken_files_are_listed(folder, source, words):
    found = folder(bad=source, good=GOOD.format(zero=1))
    assert found.names() == ["bad", "good"] and found.entry("bad").error
    with pytest.raises(BenchError, match=words):
        found.load("bad")
    found.load("good")


def test_wrong_base_class(folder):
    with pytest.raises(BenchError, match=r"wrong class.*class Method\(api.Method\)"):
        folder(bare="class Method: pass").load("bare")


def test_bad_file_names_and_private_files(folder):
    found = folder(**{"Upper": GOOD, "_private": GOOD, "__init__": ""})
    assert found.names() == ["Upper"] and "cannot be the id" in found.entry("Upper").error


def test_unknown_name_suggests(folder):
    with pytest.raises(UnknownName, match="did you mean 'good'"):
        folder(good=GOOD).load("goood")


def test_a_name_found_twice_is_an_error(tmp_path):
    folders = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.py").write_text(GOOD.format(zero=1))
        folders.append(Folder(tmp_path / name, "", "project"))
    found = Registry("method", "Method", (api.Method,), folders, "bench.test_none")
    with pytest.raises(BenchError, match="defined twice: .*a/same.py and .*b/same.py"):
        found.load("same")


def test_entry_points(tmp_path, monkeypatch):
    (tmp_path / "third_party_plugin.py").write_text(GOOD.format(zero=1))
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint(name="third", value="third_party_plugin:Method", group="bench.methods")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "bench.methods" else [])
    found = Registry("method", "Method", (api.Method,), [], "bench.methods")
    assert found.names() == ["third"] and "third_party_plugin" not in sys.modules
    assert issubclass(found.load("third"), api.Method)
    sys.modules.pop("third_party_plugin")


def test_project_methods_are_seen(project):
    names = registry.methods(project).names()
    assert "toy_codes" in names
    assert registry.methods(project).entry("toy_codes").origin == "project"


def test_metrics_of_the_package():
    assert {"mae", "psnr", "ssim_gauss", "rate"} <= set(registry.metrics().names())
    assert registry.metrics().entry("mae").module == "bench.metrics.mae"
    assert issubclass(registry.metrics().load("rate"), api.RunMetric)


def test_class_attributes_reads_tuples_and_skips_expressions():
    source = (
        "class Metric(api.PairMetric):\n    a, b = (0, 1), True\n    c = d = 5\n    e = f()\n    def g(self): pass\n"
    )
    assert class_attributes(source, "Metric") == {
        "doc": "",
        "base": "PairMetric",
        "computed": ["e"],
        "a": (0, 1),
        "b": True,
        "c": 5,
        "d": 5,
    }
    assert class_attributes(source, "Method") is None


def test_an_attribute_is_read_before_the_class_is_imported(folder):
    """Literals and defaults from the text alone; what is computed there from the class."""
    found = folder(
        good=GOOD.format(zero=0),
        inherits="from bench.api import Method as Base\n\nclass Method(Base):\n    title = 'x'\n",
        made=GOOD.format(zero=1).replace("weights = dict(a=1)", "unpublished = dict(a='why')"),
    )
    assert found.attribute("good", "cost", "fast") == "slow" and found.attribute("good", "quick", {}) == {}
    with pytest.raises(BenchError, match="cannot be imported"):
        found.attribute("good", "weights", {})
    assert found.attribute("made", "unpublished", {}) == {"a": "why"}
    assert found.attribute("inherits", "cost", "") == "fast"  # its base goes by a name that says nothing


def test_the_groups_of_entry_points_are_a_promise_to_other_packages():
    """They are names that other distributions write down: moving one of our files does not rename them."""
    groups = {folder: kind().group for folder, kind in registry.KINDS.items()}
    assert groups == {name: f"bench.{name}" for name in ("methods", "metrics", "judges", "landmarks")}
