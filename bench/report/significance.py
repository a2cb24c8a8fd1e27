"""tables/significance.md: which differences are more than chance, on how many images, and where the controls land."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from bench import registry
from bench.analysis.controls import EXPECTATIONS, Landing, landings, set_landing
from bench.analysis.score_table import ledger
from bench.analysis.significance import PERMUTATIONS, Comparison, Ranking, clear_winner, compare_all, ranking
from bench.errors import BenchError
from bench.files import atomic_write
from bench.names import parse_label
from bench.report.layout import Cell, Table, decimals, interval, to_markdown
from bench.report.report_data import ReportData
from bench.scoring.set_metrics import features_of

SHOWN = 8  # ids named per line of the ledger
LEDGER = "ledger.csv"  # names them all


def write_significance(report: ReportData, path: Path) -> list[Path]:
    """All pages of a scope in one file, and every image without a value in ``ledger.csv`` beside it."""
    parts = ["# Significance, counts and controls\n"]
    for dataset in report.datasets:
        parts += [f"## Dataset `{dataset}`, protocol `{report.protocol}`\n", controls_text(report, dataset)]
        parts += [*pair_texts(report, dataset), to_markdown(ledger_table(report, dataset), 3)]
    atomic_write(path, "\n".join(parts))
    everything = path.with_name(LEDGER)
    atomic_write(everything, ledger_rows(report).to_csv(index=False, lineterminator="\n"))
    return [path, everything]


def per_image_metrics(report: ReportData, dataset: str) -> list[str]:
    """Metrics of pictures that have a value per image: no set metric, and not the rate, which is a price."""
    signatures = report.signatures(dataset)
    return [m for m in report.picture_metrics(dataset) if "|run" not in signatures.get(m, "")]


def scored(report: ReportData, dataset: str, metric: str, control: bool) -> list[str]:
    """Labels with values of a metric, controls or methods."""
    lines = report.lines(dataset)
    return [
        name
        for name in report.labels(dataset)
        if (name, metric) in lines and lines[name, metric].n and report.method(name).control == control
    ]


def comparisons(report: ReportData, dataset: str, metric: str, ids: Collection[str] | None = None) -> list[Comparison]:
    """Every pair of methods that are no control, on the images a pair has or on ``ids`` alone."""
    key = ("comparisons", dataset, metric, None if ids is None else tuple(ids))
    if key not in report.memo:
        labels, config = scored(report, dataset, metric, control=False), report.config
        higher = report.metric(metric).higher_is_better
        report.memo[key] = compare_all(
            report.scores, dataset, metric, labels, higher, config.bootstrap, config.seed, ids=ids
        )
    return report.memo[key]


def winner(
    report: ReportData, dataset: str, metric: str, among: Collection[str], ids: Collection[str] | None = None
) -> str | None:
    """The method that is significantly better than every other of ``among``; Table 1 marks it.

    Holm's correction is over all pairs of methods, as on the page of pairs. None for metrics of sets and for the rate.
    """
    if metric not in per_image_metrics(report, dataset):
        return None
    found = comparisons(report, dataset, metric, ids)
    return clear_winner([c for c in found if c.a in among and c.b in among])


def pair_texts(report: ReportData, dataset: str) -> list[str]:
    """A table of pairs and the rankings, per metric."""
    texts = []
    for metric in per_image_metrics(report, dataset):
        if found := comparisons(report, dataset, metric):
            notes = ranking_notes(report, report.metric(metric).unit, rankings(report, dataset, metric))
            texts.append(to_markdown(pair_table(report, metric, found, notes), 3))
    return texts or ["Fewer than two methods share an image: there is no pair to compare.\n"]


def rankings(report: ReportData, dataset: str, metric: str) -> list[Ranking]:
    """Of the methods that were run on the most images, and of all methods where some were run on fewer."""
    labels = scored(report, dataset, metric, control=False)
    sizes = {name: report.run_size(dataset, name) for name in labels}
    most = [name for name in labels if sizes[name] == max(sizes.values())]
    higher, seed = report.metric(metric).higher_is_better, report.config.seed
    groups = [most] if most == labels else [most, labels]
    found = [ranking(report.scores, dataset, metric, group, higher, seed) for group in groups]
    return [order for order in found if order is not None]


def pair_table(report: ReportData, metric: str, found: Sequence[Comparison], notes: list[str]) -> Table:
    """Pairs of one metric."""
    info = report.metric(metric)
    places = decimals(v for c in found for v in (c.mean, c.high - c.low))
    rows = [
        [
            Cell(f"{report.method(c.a).title} − {report.method(c.b).title}"),
            Cell(f"{c.n:,}", f"left out {c.only_a} and {c.only_b}" if c.only_a or c.only_b else ""),
            Cell(f"{c.mean:+.{places}f}", interval(c.low, c.high, places), c.significant),
            Cell(p_text(c.p)),
            Cell(p_text(c.p_holm)),
            Cell(f"{c.d_z:+.2f}"),
            Cell(f"{100 * c.better:.0f} %"),
        ]
        for c in found
    ]
    heads = ["Difference", "n", "Mean", "p", "p (Holm)", "Effect (d_z)", "First is better on"]
    caption = (
        f"Mean difference over the images both have, with its 95 % bootstrap interval (BCa); "
        f"{'higher' if info.higher_is_better else 'lower'} is better. p: paired permutation test ({PERMUTATIONS:,} "
        f"sign patterns), corrected by Holm over these {len(found)} pairs; bold: p (Holm) ≤ 0.05."
    )
    return Table(info.title, caption, heads, [("", rows)], notes)


def ranking_notes(report: ReportData, unit: str, orders: Sequence[Ranking]) -> list[str]:
    """Per ranking: the order, how few images would have given it, and which differences its images resolve."""
    notes = []
    for order in orders:
        names = " > ".join(report.method(name).title for name in order.order)
        notes.append(
            f"Order on the {order.n:,} images that these {len(order.order)} methods have, best first: {names}."
        )
        if order.stability:
            shares = "; ".join(f"{n:,} images: {best:.0%} / {same:.0%}" for n, best, same in order.stability)
            notes.append(f"Random subsets of these {order.n:,} with the same best method / the same order: {shares}.")
        resolved = f"{order.resolves:.2g}{f' {unit}' if unit else ''}"
        notes.append(
            f"Power: n = {order.n:,} resolves differences of {resolved} (80 % power at 5 %, corrected over the pairs of "
            f"these {len(order.order)}, for the median spread of a pair)."
        )
    return notes


def p_text(p: float) -> str:
    """Format a p-value: four decimals, or scientific below 0.001."""
    return f"{p:.4f}" if p >= 0.001 else f"{p:.1e}"


def ledger_table(report: ReportData, dataset: str) -> Table:
    """n and failures of every row and metric; complete rows in one line each."""
    lines = ledger(report.scores, dataset)
    rows = []
    for label in report.labels(dataset):
        mine = [line for line in lines if line.label == label]
        whole = [line for line in mine if not line.reasons]
        if whole:
            names = ", ".join(line.metric for line in whole)
            rows.append([Cell(report.method(label).title), Cell(names), Cell(f"{whole[0].n:,}"), Cell("0"), Cell("–")])
        for line in (line for line in mine if line.reasons):
            named = "; ".join(f"{i}: {why}" for i, why in list(line.reasons.items())[:SHOWN])
            more = f"; and {len(line.reasons) - SHOWN} more" if len(line.reasons) > SHOWN else ""
            cells = [f"{line.n:,}", str(len(line.reasons)), named + more]
            rows.append([Cell(report.method(label).title), Cell(line.metric), *[Cell(c) for c in cells]])
    caption = (
        f"Images behind every mean, and the ones that are not: the first {SHOWN} by name, all of them in {LEDGER}."
    )
    notes = ["Means over different images are compared on those both have, never silently."]
    return Table("Ledger", caption, ["Method", "Metrics", "n", "Without value", "Which, why"], [("", rows)], notes)


def ledger_rows(report: ReportData) -> pd.DataFrame:
    """A line for each image that is missing from a mean; none where every mean has all its images."""
    columns = ["dataset", "row", "metric", "image_id", "reason"]
    found = [
        (dataset, line.label, line.metric, image_id, why)
        for dataset in report.datasets
        for line in ledger(report.scores, dataset)
        for image_id, why in sorted(line.reasons.items())
    ]
    return pd.DataFrame(found, columns=columns)


def expected(report: ReportData, label: str) -> str:
    """What a control expects, read from its file; "" for those that say nothing."""
    try:
        attributes = registry.methods(report.root).entry(parse_label(label)[0]).attributes
    except BenchError:
        return ""
    return str(attributes.get("expects", ""))


def control_landings(report: ReportData, dataset: str) -> list[Landing]:
    """Every control in every metric of pictures."""
    names = [n for n in report.labels(dataset) if report.method(n).control]
    expects = {name: expected(report, name) for name in names}
    found: list[Landing] = []
    for metric in per_image_metrics(report, dataset):
        info = report.metric(metric)
        methods = scored(report, dataset, metric, control=False)
        found += landings(report.scores, dataset, metric, methods, expects, info.higher_is_better, info.ideal)
    return found + _set_landings(report, dataset, expects)


def _set_landings(report: ReportData, dataset: str, expects: dict[str, str]) -> list[Landing]:
    """Every control in every metric of sets, on the control's own images."""
    known = registry.metrics(report.root)
    ideals: dict[tuple[str, tuple[str, ...]], tuple[float, float]] = {}  # controls share their sources
    landed = []
    for label in expects:
        folder, scores = report.scores.sets.get(f"{label}-{dataset}", (report.root, None))
        for value in scores.values if scores and len(scores.ids) > 1 else []:
            name, ids = value.metric.partition(".")[0], tuple(scores.ids)
            if (name, ids) not in ideals:
                cls = known.load(name)
                ideals[name, ids] = cls.ideal_of(features_of(folder, f"{cls.extractor}.source", range(len(ids))))
            landed.append(set_landing(label, value.metric, expects[label], value.value, *ideals[name, ids]))
    return [landing for landing in landed if landing is not None]


def controls_text(report: ReportData, dataset: str) -> str:
    """Verdict first, then every control by metric."""
    found = control_landings(report, dataset)
    wrong = [landing for landing in found if not landing.ok]
    rows = [
        [
            Cell(report.method(landing.label).title),
            Cell(landing.metric),
            Cell("lands" if landing.ok else "DOES NOT LAND", bold=not landing.ok),
            Cell(landing.said),
        ]
        for landing in found
    ]
    verdict = (
        "No control states where it must land: nothing is checked here."
        if not found
        else f"All {len(found)} landings are where theory says."
        if not wrong
        else f"{len(wrong)} of {len(found)} landings are NOT where theory says: "
        + ", ".join(f"{landing.label} in {landing.metric}" for landing in wrong)
        + ". Do not trust these metrics before this is explained."
    )
    kinds = dict.fromkeys((landing.label, landing.expects) for landing in found)
    notes = [f"{report.method(label).title}: {EXPECTATIONS[kind]}." for label, kind in kinds]
    table = Table("Negative controls", verdict, ["Control", "Metric", "Verdict", "Numbers"], [("", rows)], notes)
    return to_markdown(table, 3)
