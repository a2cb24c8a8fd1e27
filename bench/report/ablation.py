"""Tables of ablations: each variant beside the method it varies, with paired differences on the images both have."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bench.images import atomic_write
from bench.report.layout import Cell, Table, decimals, interval, number, to_latex, to_markdown
from bench.report.material import Material
from bench.report.tables import metric_head
from bench.runid import parse_label
from bench.scores import wide
from bench.statistics import Statistics, statistics


def write_ablations(material: Material, folder: Path) -> list[Path]:
    """ablation.md and .tex in ``folder`` when there are ablations, measured or listed; otherwise nothing."""
    tables = [t for dataset in material.datasets if (t := ablation_table(material, dataset)) is not None]
    if not tables:
        return []
    atomic_write(folder / "ablation.md", "# Ablations\n\n" + "\n".join(to_markdown(t) for t in tables))
    atomic_write(folder / "ablation.tex", "% needs: booktabs, graphicx\n" + "\n".join(to_latex(t) for t in tables))
    return [folder / "ablation.md", folder / "ablation.tex"]


def ablation_table(material: Material, dataset: str) -> Table | None:
    """A group per method: the method itself, then its variants in the order of params.yaml."""
    measured = material.ablations(dataset)
    absent = [name for name in material.unscored(dataset) if parse_label(name)[1]]
    if not measured and not absent:
        return None
    metrics = [m for m in material.picture_metrics(dataset) if not m.endswith("rate")]
    groups = []
    for base in dict.fromkeys(parse_label(name)[0] for name in measured):
        variants = [name for name in measured if parse_label(name)[0] == base]
        groups.append((material.method(base).title, group(material, dataset, base, variants, metrics)))
    caption = (
        f"Dataset `{dataset}`, protocol `{material.protocol}`. Means over the images a variant and its method both "
        f"have (n); behind them the mean difference variant − method, image by image, with its 95 % bootstrap "
        f"percentile interval ({material.config.bootstrap:,} resamples of images)."
    )
    heads = ["Variant", "n", *[metric_head(material, m) for m in metrics]]
    table = Table(f"Ablations on {material.manifest(dataset).title or dataset}", caption, heads, groups)
    table.label = f"tab:{dataset}-ablation"
    if absent:
        names = ", ".join(f"`{name}`" for name in absent)
        table.notes.append(f"Listed in params.yaml, but without scores: {names}.")
    return table


def group(material: Material, dataset: str, base: str, variants: list[str], metrics: list[str]) -> list[list[Cell]]:
    """Rows of one method: itself, then its variants."""
    rows = [[Cell("as it is"), Cell("")], *[[Cell(material.method(v).title), Cell("")] for v in variants]]
    for metric in metrics:
        table = wide(material.scores, dataset, metric)
        columns = [base, *variants]
        known = {name: table[[base, name] if name != base else [base]].dropna() for name in columns if name in table}
        places = decimals(float(pairs[name].mean()) for name, pairs in known.items())
        for row, name in zip(rows, columns, strict=True):
            if name not in known or not len(known[name]):
                row.append(Cell("not scored"))
                continue
            row[1] = Cell(f"{len(known[name]):,}")
            text = number(float(known[name][name].mean()), places)
            row.append(Cell(text, "" if name == base else gain(difference(material, known[name], name, base), places)))
    return rows


def difference(material: Material, pairs: pd.DataFrame, name: str, base: str) -> Statistics:
    """Of ``name - base`` over images; ``pairs`` has a column of each."""
    values = (pairs[name] - pairs[base]).to_numpy()
    return statistics([values], material.config.bootstrap, material.config.seed)[0]


def gain(found: Statistics, places: int) -> str:
    """``+0.0031 [0.0028, 0.0034]``, one decimal more than the means have."""
    sign = "+" if found.mean > 0 else ""
    return f"{sign}{number(found.mean, places + 1)} {interval(found.ci_low, found.ci_high, places + 1)}".strip()
