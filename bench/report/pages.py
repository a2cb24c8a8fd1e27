"""Files of a report that hold tables: a page in Markdown and, for papers, the same tables in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.files import atomic_write
from bench.report.layout import Table, to_latex, to_markdown

LATEX_HEAD = "% needs: booktabs, graphicx\n"


def write_pages(
    folder: Path,
    name: str,
    title: str,
    tables: Sequence[Table],
    introduction: str = "",
    latex_tables: Sequence[Table] | None = None,
) -> list[Path]:
    """Write the tables of one subject as ``<name>.md`` and ``<name>.tex``.

    Args:
        folder: for the two files; made where it does not exist.
        name: of both files, without an ending.
        title: heading of the Markdown page.
        tables: at least one.
        introduction: Markdown between the heading and the first table; the LaTeX file goes without it.
        latex_tables: the tables of the LaTeX file where they or their order differ; None means ``tables``.
    Returns:
        Both files, Markdown first.
    Raises:
        BenchError: a file cannot be written.
    """
    markdown, latex = folder / f"{name}.md", folder / f"{name}.tex"
    atomic_write(markdown, page(title, tables, introduction))
    atomic_write(
        latex, LATEX_HEAD + "\n".join(to_latex(table) for table in (tables if latex_tables is None else latex_tables))
    )
    return [markdown, latex]


def page(title: str, tables: Sequence[Table], introduction: str = "") -> str:
    """Markdown of a page: heading, introduction and tables, one blank line between two of them."""
    parts = [introduction] if introduction else []
    return f"# {title}\n\n" + "\n".join([*parts, *(to_markdown(table) for table in tables)])
