"""Table 1 in README.md: the methods' rows of reports/tables/table1.md, between two markers."""

from __future__ import annotations

from pathlib import Path

from bench.errors import DataError
from bench.files import atomic_write
from bench.report.layout import Table, markdown_rows
from bench.report.report_data import ReportData
from bench.report.tables import CONTROLS, dataset_tables

README = "README.md"
BEGIN = "<!-- table 1: written by bench report -->"
END = "<!-- end of table 1 -->"


def write_readme(report: ReportData) -> list[Path]:
    """Write the methods' rows of Table 1 of the first dataset into the project's README.md.

    Only the lines between BEGIN and END change. Only the main profile's report is shown there. README.md is no output
    of the report stage, which would delete it before each run: DVC neither keeps nor checks what is written here.

    Returns:
        [README.md], or [] where there is none, where it has no markers, or where another profile is reported.
    Raises:
        DataError: one of the two markers is missing, stands twice, or they are in the wrong order.
        BenchError: the file cannot be written.
    """
    path = report.root / README
    if report.scope != report.config.main_profile or not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    if BEGIN not in text and END not in text:
        return []
    written = with_table(text, dataset_tables(report, report.datasets[0])[0], path)
    if written != text:
        atomic_write(path, written)
    return [path]


def with_table(text: str, table: Table, path: Path) -> str:
    """Return ``text`` with the table's rows between the markers, the group of controls left out.

    Args:
        text: with both markers. table: the main table of a dataset. path: of the text, for errors.
    Raises:
        DataError: one of the two markers is missing, stands twice, or they are in the wrong order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise DataError(
            f"{path} has no place for Table 1",
            got=f"{text.count(BEGIN)} x `{BEGIN}`, {text.count(END)} x `{END}`",
            expected="each once, in this order, on lines of their own",
            fix="add the missing marker, or remove both if README.md is to stay as it is",
        )
    methods = Table(table.title, "", table.headers, [group for group in table.groups if group[0] != CONTROLS])
    before, _, rest = text.partition(BEGIN)
    return "\n".join([before + BEGIN, "", *markdown_rows(methods), "", END + rest.partition(END)[2]])
