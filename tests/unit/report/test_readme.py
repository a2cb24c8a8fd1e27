"""Table 1 in README.md: the rows of table1.md, between two markers, and nothing else changes."""

from pathlib import Path

import pytest

from bench.analysis import summary
from bench.errors import DataError
from bench.report.readme import BEGIN, END, write_readme
from bench.report.report_data import load_report_data
from bench.report.tables import write_tables

ROOT = Path(__file__).resolve().parents[3]
BEFORE, AFTER = "# Mine\n\nText | with a bar.\n\n", "\n\n## More\n\n| a | table |\n| - | - |\n"


def rows(text):
    """The lines of the first table of a Markdown text."""
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("| "))
    last = next((n for n in range(first, len(lines)) if not lines[n].startswith("|")), len(lines))
    return lines[first:last]


def of_methods(table):
    """The rows of a main table before those of the controls."""
    return table[: next((n for n, line in enumerate(table) if line.startswith("| *Controls*")), len(table))]


@pytest.fixture
def report(tiny):
    summary.aggregate(tiny.store, "toy", tiny.config)
    return load_report_data(tiny.root, "toy")


def test_readme_has_the_rows_of_the_committed_table():
    text = (ROOT / "README.md").read_text()
    shown = rows(text.split(BEGIN)[1].split(END)[0])
    assert shown == of_methods(rows((ROOT / "reports" / "tables" / "table1.md").read_text())), "run `bench report`"
    assert len(shown) > 5 and shown[0].startswith("| Method | n |") and "<sub>[" in shown[2]


def test_only_the_lines_between_the_markers_change(tiny, report):
    readme = tiny.root / "README.md"
    readme.write_text(f"{BEFORE}{BEGIN}\nold\n{END}{AFTER}")
    assert write_readme(report) == [readme]
    text = readme.read_text()
    assert text.startswith(BEFORE + BEGIN + "\n\n| Method |") and text.endswith("|\n\n" + END + AFTER)
    table = rows(write_tables(report, tiny.root / "tables", tiny.root)[0].read_text())
    assert rows(text.split(BEGIN)[1]) == of_methods(table)
    assert len(of_methods(table)) < len(table), "the toy project has a control, which README leaves out"
    written = readme.stat().st_mtime_ns
    write_readme(report)
    assert readme.read_text() == text and readme.stat().st_mtime_ns == written, "the same rows: the file is left alone"


def test_a_readme_without_markers_and_no_readme_stay_as_they_are(tiny, report):
    readme = tiny.root / "README.md"
    assert write_readme(report) == [] and not readme.exists()
    readme.write_text(BEFORE + AFTER)
    assert write_readme(report) == [] and readme.read_text() == BEFORE + AFTER


def test_another_profile_is_not_shown(tiny, report):
    from dataclasses import replace

    readme = tiny.root / "README.md"
    text = f"{BEFORE}{BEGIN}\nold\n{END}{AFTER}"
    readme.write_text(text)
    other = replace(report, config=replace(report.config, main_profile="other"))
    assert write_readme(other) == [] and readme.read_text() == text


@pytest.mark.parametrize("middle", [BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_a_missing_marker_is_told_in_one_line(tiny, report, middle):
    readme = tiny.root / "README.md"
    readme.write_text(BEFORE + middle + AFTER)
    with pytest.raises(DataError, match="has no place for Table 1") as caught:
        write_readme(report)
    assert (
        "\n" not in str(caught.value)
        and "README.md" in str(caught.value)
        and "add the missing marker" in str(caught.value)
    )
    assert readme.read_text() == BEFORE + middle + AFTER
