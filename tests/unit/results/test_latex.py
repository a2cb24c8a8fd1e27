"""The .tex tables are well formed: braces and environments balance, specials are escaped, rows have all columns."""

import re
from pathlib import Path

import pytest

from bench.report.layout import Cell, Table, to_latex

COMMITTED = sorted((Path(__file__).resolve().parents[3] / "reports" / "tables").glob("*.tex"))


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
    assert all(ord(c) < 0x2000 for c in body), "a letter that LaTeX's fonts lack"


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.name)
def test_committed_tables_are_well_formed(path):
    check(path.read_text())


def test_awkward_texts_are_escaped():
    text = to_latex(Table("A_b & 50 % of #1", "x^2 ~ {y} <z> \\ `a_b` ↑ ± † – × ∞ − …", ["M", "n_1"], [("g_1", [[Cell("a&b"), Cell("1_0", "± 3")]])], ["note_1"]))  # fmt: skip  # noqa: E501
    check(text)


@pytest.mark.parametrize("wrong", ["{", "}", "a_b", r"\begin{x}", "$", r"\begin{tabular}{lr}a & b & c \\\end{tabular}"])
def test_the_check_sees(wrong):
    with pytest.raises(AssertionError):
        check(wrong)
