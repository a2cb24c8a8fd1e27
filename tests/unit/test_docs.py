"""Files that the documentation names are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "weights").rglob("*.md")])
# What a reader is told to write: examples of the guides, which must not be there.
EXAMPLES = {"methods/half_gray.py", "methods/mine.py", "bench/metrics/max_error.py"}


def paths(text):
    """Python files of the suite that a text names, ``bench/edits/apply.py``; ``bench/cli/NAME.py`` is a place to fill."""
    found = re.findall(r"(?<![\w/.-])(?:annyfaces|bench|methods|tests)/[\w/]+\.py\b", text)
    return {path for path in found if Path(path).stem != "NAME"}


def names(text):
    """Dotted names below ``bench`` that a text gives in `code`: ``bench.edits.results.read_edits``."""
    return set(re.findall(r"(?<![\w/.])bench(?:\.\w+)+", text))


def is_module(name):
    """Whether a dotted name, or what stands before its last dots, is a module of ours below ``bench``."""
    parts = name.split(".")
    files = [ROOT.joinpath(*parts[:n]) for n in range(2, len(parts) + 1)]
    return any(file.with_suffix(".py").is_file() or (file / "__init__.py").is_file() for file in files)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_named_in_the_documentation_exist(page):
    named = paths(page.read_text())
    absent = sorted(path for path in named - EXAMPLES if not (ROOT / path).is_file())
    assert not absent, f"{page.relative_to(ROOT)} names {absent}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_modules_named_in_the_documentation_exist(page):
    groups = {"bench.methods", "bench.metrics", "bench.judges", "bench.landmarks"}  # of entry points
    absent = sorted(name for name in names(page.read_text()) - groups if not is_module(name))
    assert not absent, f"{page.relative_to(ROOT)} names {absent}"


def test_the_search_finds_what_it_should():
    found = set().union(*(paths(page.read_text()) for page in PAGES))
    assert {"bench/api/method.py", "bench/edits/results.py", "annyfaces/scene.py", "methods/e4e.py"} <= found
    assert EXAMPLES <= found and not [path for path in EXAMPLES if (ROOT / path).is_file()]
    assert paths("see `bench/gone.py`, `methods/NAME.py` and x/bench/no.py") == {"bench/gone.py"}
    assert is_module("bench.edits.results.read_edits") and not is_module("bench.gone.read")


def test_links_between_pages_lead_somewhere():
    """Relative links of README.md and docs/: the file is there, and so is the heading after ``#``."""
    broken = []
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
            if "://" in target:
                continue
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            if not file.exists():
                broken.append((page.name, target))
            elif anchor:
                heads = re.findall(r"^#+ (.+)$", file.read_text(), flags=re.MULTILINE)
                slugs = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
                broken += [] if anchor in slugs else [(page.name, target)]
    assert not broken, broken
