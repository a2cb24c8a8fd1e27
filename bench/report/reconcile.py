"""Our rows beside every published value, each under the preset it follows: reports/reconciliation.md.

A difference is taken only where definition, images and domain are the same; everywhere else the reason stands in its
place. So nothing here ranks one domain with another, and no published number is lost for want of a counterpart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict

from bench.analysis.protocol import CERTAINTIES, Protocol, protocols
from bench.analysis.summary import read_summary
from bench.config.project import Config
from bench.data.manifest import load_manifest
from bench.errors import DataError
from bench.files import atomic_write, read_yaml
from bench.report.layout import Cell, Table
from bench.report.pages import page
from bench.report.reference import RESTORE, read_reference, references
from bench.store.paths import RunStore

MAPPING = "reconcile.yaml"


class ColumnRule(BaseModel):
    """One published column; see the head of results/reference/reconcile.yaml."""

    model_config = ConfigDict(extra="forbid")
    metric: str = ""
    differs: str = ""
    scale: float = 1.0
    offset: float = 0.0


class TableRule(BaseModel):
    """One published table: the preset it follows ("" for none) and its columns."""

    model_config = ConfigDict(extra="forbid")
    protocol: str
    columns: dict[str, ColumnRule]


class Rules(BaseModel):
    """All of reconcile.yaml."""

    model_config = ConfigDict(extra="forbid")
    within: dict[str, float | str]
    methods: dict[str, str]
    tables: dict[str, TableRule]


@dataclass(frozen=True)
class Line:
    """A published value and ours.

    Args:
        published: as printed; dispersion and n likewise. ours: a summary line of the method
            and metric, or None. scale: from ours to what they print. verdict: agreement, or why there is none to state.
    """

    method: str
    metric: str
    published: str
    dispersion: str
    n: str
    certainty: str
    ours: Any
    scale: float
    verdict: str


def read_rules(folder: Path) -> Rules:
    """results/reference/reconcile.yaml; DataError when it is damaged or absent."""
    return read_yaml(folder / MAPPING, Rules, fix=RESTORE)


def write_reconciliation(config: Config, store: RunStore, scope: str) -> Path:
    """reports/reconciliation.md of a scope.

    Raises:
        DataError: no summary; a published table without a rule, a column or a preset that nobody knows.
    """
    folder = store.results / "reference"
    summary = read_summary(store.summary_path(scope))
    files = references(folder)
    rules = read_rules(folder) if files else Rules(within={}, methods={}, tables={})
    tables = []
    for path in files:
        if path.stem not in rules.tables:
            raise DataError(f"{folder / MAPPING} has no rule for {path.name}", fix=f"add {path.stem!r} under tables")
        rows = read_reference(path)
        preset = preset_of(config.root, rules.tables[path.stem])
        tables.append(table_of(path.stem, rows, lines_of(rows, rules, path.stem, preset, summary), preset))
    target = store.reports_dir(scope) / "reconciliation.md"
    atomic_write(target, page("Reconciliation with published numbers", tables, scope_note(config, summary)))
    return target


def preset_of(root: Path, rule: TableRule) -> Protocol | None:
    """The preset a published table follows; None where its protocol is not stated."""
    if not rule.protocol:
        return None
    known = protocols(root)
    if rule.protocol not in known:
        raise DataError(f"{MAPPING} names protocol {rule.protocol!r}", expected=f"one of: {', '.join(known)}")
    return known[rule.protocol]


def scope_note(config: Config, summary: pd.DataFrame) -> str:
    """Which data ours are of."""
    parts = [f"`{d}` (domain {load_manifest(config.root, d).domain})" for d in dict.fromkeys(summary["dataset"])]
    return (
        f"Ours: {', '.join(parts)}, profile `{config.profile}`. A difference is stated only for the same images "
        "under the same definition; a published value without one says why. Domains are never ranked together.\n"
    )


def lines_of(rows: pd.DataFrame, rules: Rules, name: str, preset: Protocol | None, summary: pd.DataFrame) -> list[Line]:
    """One line per published value, in the order of the file."""
    full = summary[~summary["protocol"].str.contains("@") & (summary["variant"] == "")]
    ours = {(r.dataset, r.method, r.metric): r for r in full.itertuples()}
    lines = []
    for row in rows.itertuples():
        rule = rules.tables[name].columns.get(row.metric)
        if rule is None:
            raise DataError(f"{MAPPING} has no rule for column {row.metric!r} of {name}", fix="add it under columns")
        mine, verdict = judge(row, rule, rules, preset, ours)
        cells = (row.method, row.metric, row.value, row.dispersion, row.n, row.certainty)
        lines.append(Line(*cells, mine, rule.scale, verdict))
    return lines


def judge(
    row: Any, rule: ColumnRule, rules: Rules, preset: Protocol | None, ours: Mapping[tuple[str, str, str], Any]
) -> tuple[Any, str]:
    """(our summary line of the same data, or None; what can be said)."""
    method = rules.methods.get(row.method)
    if not rule.metric:
        return None, f"no counterpart: {rule.differs}"
    if method is None:
        return None, "no counterpart: the method is not in this suite"
    data = preset.datasets if preset else []
    mine = next((ours[d, method, rule.metric] for d in data if (d, method, rule.metric) in ours), None)
    if mine is None or math.isnan(mine.mean):
        other = next((line for (_, m, metric), line in ours.items() if (m, metric) == (method, rule.metric)), None)
        where = " or ".join(data) or "unknown data"
        if other is None or math.isnan(other.mean):
            return None, f"not measured: `{method}` with `{rule.metric}` on {where}"
        return other, f"not compared: ours are of `{other.dataset}`, theirs of {where}"
    if rule.differs:
        return mine, f"another definition: {rule.differs}"
    if row.n and int(row.n) != mine.n:
        return mine, f"other images: n = {int(row.n):,} there, {mine.n:,} here"
    right = float(row.value) + rule.offset
    gap = mine.mean * rule.scale - right
    expected = rules.within.get(rule.metric)
    share = f"{gap:+.4g} ({gap / right:+.1%})" if right else f"{gap:+.4g}"
    if expected is None:
        return mine, share
    text = str(expected)
    limit = float(text.removesuffix("%")) / 100 * abs(right) if text.endswith("%") else float(text)
    return mine, f"{share}: {'agrees' if abs(gap) <= limit else 'DIFFERS'} (expected within {expected})"


def table_of(name: str, rows: pd.DataFrame, lines: list[Line], preset: Protocol | None) -> Table:
    """The lines of one published table."""
    first = rows.iloc[0]
    under = f"`{preset.id}` ({CERTAINTIES[preset.certainty]})" if preset else "none: it is not stated"
    caption = f"{first['source']}. Data: {first['dataset']}. Preset: {under}."
    body = [
        [
            Cell(line.method),
            Cell(line.metric),
            Cell(line.published, f"± {line.dispersion}" if line.dispersion else ""),
            Cell(line.n or "–"),
            Cell("read" if line.certainty == "read" else "transcribed"),
            _ours(line),
            Cell(line.verdict),
        ]
        for line in lines
    ]
    heads = ["Method", "Metric", "Published", "n", "Certainty", "Ours", "Ours − published"]
    return Table(name, caption, heads, [("", body)])


def _ours(line: Line) -> Cell:
    if line.ours is None:
        return Cell("–")
    low, high = line.ours.ci_low * line.scale, line.ours.ci_high * line.scale
    small = f"[{low:.4g}, {high:.4g}]" if math.isfinite(low) and low != high else ""
    return Cell(f"{line.ours.mean * line.scale:.4g}", f"{small} n={line.ours.n:,}".strip())
