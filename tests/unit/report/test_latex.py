"""The .tex tables are well formed: braces and environments balance, specials are escaped, rows have all columns."""

import ast
import re
from pathlib import Path

import pytest

from bench.report.layout import Cell, Table, to_latex

ROOT = Path(__file__).resolve().parents[3]
COMMITTED = sorted((ROOT / "reports" / "tables").glob("*.tex"))


def check(text):
    """Raise AssertionError for what LaTeX would refuse or set wrongly."""
    body = "\n".join(re.sub(r"(?<!\\)%.*", "", line) for line in text.splitlines())
    plain = re.sub(r"\\[\\{}&%$#_]", "", body)
    depth = 0
    for character in plain:
        depth += (character == "{") - (character == "}")
        assert depth >= 0, "a brace closes nothing"
    assert depth == 0, "a brace stays open"
    assert plain.count("$") % 2 == 0, "mathematics stays open"
    opened = []
    for word, name in re.findall(r"\\(begin|end)\{([a-z*]+)\}", body):
        if word == "begin":
            opened.append(name)
        else:
            assert opened and opened.pop() == name, f"{name} ends"
    assert not opened, opened
    labels = re.sub(r"\\label\{[^}]*\}", "", plain)
    assert not re.search(r"[#_^~]", labels), "unescaped special"
    for columns, rows in re.findall(r"\\begin\{tabular\}\{([lrc]+)\}(.*?)\\end\{tabular\}", body, re.DOTALL):
        for row in re.split(r"\\\\", rows)[:-1]:
            row = re.sub(r"\\(top|mid|bottom)rule", "", row).strip()
            if "multicolumn" not in row:
                assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1, row
    assert all(ord(c) < 0x180 and c not in "×±°·" for c in body), "a letter that LaTeX's fonts lack"


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.name)
def test_committed_tables_are_well_formed(path):
    check(path.read_text())


def written(folder):
    """Non-ASCII letters of all texts in the sources of a folder: what tables of the report may print."""
    trees = (ast.parse(path.read_text()) for path in folder)
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {c for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str) for c in node.value}


def test_every_letter_of_our_texts_has_its_latex():
    """Titles, captions, heads and notes of every table there is, the report's, the metrics' and the methods'."""
    folders = [ROOT / "bench" / "report", ROOT / "bench" / "metrics", ROOT / "methods"]
    files = [path for folder in folders for path in folder.glob("*.py") if path.name != "layout.py"]
    files += [ROOT / "bench" / name for name in ("edits/results.py", "analysis/controls.py", "analysis/protocol.py")]
    letters = written(files) | set((ROOT / "ablations.yaml").read_text())
    letters |= {c for path in (ROOT / "bench" / "analysis" / "protocols").glob("*.yaml") for c in path.read_text()}
    letters -= {"\n", "\t"}
    assert {"≤", "−", "↑", "†"} <= letters
    check(to_latex(Table("".join(sorted(letters - set("`"))), "", ["M", "n"], [])))


def test_awkward_texts_are_escaped():
    text = to_latex(Table("A_b & 50 % of #1", "x^2 ~ {y} <z> \\ `a_b` ↑ ± † – × ∞ − …", ["M", "n_1"], [("g_1", [[Cell("a&b"), Cell("1_0", "± 3")]])], ["note_1"]))  # fmt: skip  # noqa: E501
    check(text)


@pytest.mark.parametrize("wrong", ["{", "}", "a_b", r"\begin{x}", "$", r"\begin{tabular}{lr}a & b & c \\\end{tabular}"])
def test_the_check_sees(wrong):
    with pytest.raises(AssertionError):
        check(wrong)
