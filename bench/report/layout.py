"""A table as data, and its two forms: Markdown and LaTeX. Nothing here knows what the numbers mean."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "†": r"\textsuperscript{\textdagger}",
    "–": "--",
    "×": r"$\times$",
    "−": "$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "→": r"$\rightarrow$",
    "°": r"\textdegree{}",
    "·": r"$\cdot$",
    "α": r"$\alpha$",
    "σ": r"$\sigma$",
    "Δ": r"$\Delta$",
    "…": r"\ldots{}",
    "∞": r"$\infty$",
}


@dataclass(frozen=True)
class Cell:
    """One cell: the text, what stands smaller behind it (an interval, a dispersion), whether it is the best, a mark."""

    text: str
    small: str = ""
    bold: bool = False
    mark: str = ""


@dataclass
class Table:
    """A captioned table.

    Args:
        title: one line. caption: what the numbers are, said in full.
        headers: column heads; the first column is text, the others numbers.
        groups: (heading or "", rows) in order; every row has one cell per head.
        notes: lines below the table. label: LaTeX label.
    """

    title: str
    caption: str
    headers: Sequence[str]
    groups: list[tuple[str, list[list[Cell]]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    label: str = "tab:1"


def to_markdown(table: Table, level: int = 2) -> str:
    """GitHub Markdown; group headings are rows of their own, in italics."""
    lines = [f"{'#' * level} {table.title}", "", table.caption, "", *markdown_rows(table)]
    if table.notes:
        lines += ["", *[f"- {note}" for note in table.notes]]
    return "\n".join(lines) + "\n"


def markdown_rows(table: Table) -> list[str]:
    """The lines of the grid alone: heads, alignment, then group headings and rows; no title, caption or notes."""
    head = [_md(h) for h in table.headers]
    lines = ["| " + " | ".join(head) + " |", "| :-- |" + " --: |" * (len(head) - 1)]
    for heading, rows in table.groups:
        if heading and rows:
            lines.append(f"| *{_md(heading)}* |" + " |" * (len(head) - 1))
        lines += ["| " + " | ".join(_md_cell(cell) for cell in row) + " |" for row in rows]
    return lines


def to_latex(table: Table) -> str:
    """A ``table*`` environment, no wider than the page; needs the packages booktabs and graphicx."""
    columns = len(table.headers)
    lines = [r"\begin{table*}[t]", r"\centering", rf"\caption{{{latex(table.title + '. ' + table.caption)}}}"]
    lines += [
        rf"\label{{{table.label}}}",
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",  # made smaller, never larger
        rf"\begin{{tabular}}{{l{'r' * (columns - 1)}}}",
    ]
    lines += [r"\toprule", " & ".join(latex(h) for h in table.headers) + r" \\", r"\midrule"]
    filled = [(heading, rows) for heading, rows in table.groups if rows]
    for n, (heading, rows) in enumerate(filled):
        if n:
            lines.append(r"\midrule")
        if heading:
            lines.append(rf"\multicolumn{{{columns}}}{{l}}{{\emph{{{latex(heading)}}}}} \\")
        lines += [line for row in rows for line in _latex_rows(row)]
    lines += [r"\bottomrule", r"\end{tabular}}"]
    if table.notes:
        notes = r"\\ ".join(latex(note) for note in table.notes)
        lines += [r"\par\smallskip", rf"\parbox{{\textwidth}}{{\scriptsize {notes}}}"]
    return "\n".join([*lines, r"\end{table*}", ""])


def latex(text: str) -> str:
    """Plain text (with Markdown's ``code`` marks) as LaTeX text."""
    parts = re.split(r"`([^`]*)`", text)
    escaped = ["".join(_LATEX.get(c, c) for c in part) for part in parts]
    return "".join(rf"\texttt{{{part}}}" if n % 2 else part for n, part in enumerate(escaped))


def decimals(values: Iterable[float]) -> int:
    """Decimals that give the smallest number of a column three significant digits; 6 at most.

    Numbers below a hundredth of the largest do not count: one control near zero would give all others idle digits.
    """
    found = [abs(v) for v in values if math.isfinite(v) and v]
    found = [v for v in found if v >= max(found) / 100]
    return min(max(2 - math.floor(math.log10(min(found))), 0), 6) if found else 0


def number(value: float, places: int) -> str:
    """A number with thousands separators; exact zero is ``0``, NaN an en dash."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞"
    return "0" if value == 0 else f"{value:,.{places}f}"


def interval(low: float, high: float, places: int) -> str:
    """``[low, high]``, or nothing where there is no spread."""
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return ""
    return f"[{number(low, places)}, {number(high, places)}]"


def _md(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _md_cell(cell: Cell) -> str:
    """The mark stands outside the bold text and escaped: CommonMark ends no emphasis before a blank and an asterisk."""
    text = f"**{_md(cell.text)}**" if cell.bold else _md(cell.text)
    text += f" {cell.mark}".replace("*", "\\*") if cell.mark else ""
    return f"{text} <sub>{_md(cell.small)}</sub>" if cell.small else text


def _latex_rows(row: Sequence[Cell]) -> list[str]:
    """A row, and where cells have something smaller behind them another for that: side by side they are too wide."""
    rows = [" & ".join(_latex_cell(cell) for cell in row) + r" \\"]
    if any(cell.small for cell in row):
        small = (rf"{{\scriptsize {latex(cell.small)}}}" if cell.small else "" for cell in row)
        rows.append(" & ".join(small) + r" \\[2pt]")
    return rows


def _latex_cell(cell: Cell) -> str:
    text = rf"\textbf{{{latex(cell.text)}}}" if cell.bold else latex(cell.text)
    return text + (rf"\textsuperscript{{{latex(cell.mark)}}}" if cell.mark else "")
