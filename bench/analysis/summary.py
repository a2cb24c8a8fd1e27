"""Tidy rows -> summary. The only place where a mean is taken.

Every number in a table comes from here with its n, the count of images that failed, three dispersions and a bootstrap
interval, because a bare "+-" is not a number. Means over different sets of images are never put side by side alone:
where the methods of a dataset do not all have the same images, further rows repeat every method on the images that all
have, under the protocol ``<name>@common<N>``. Ablations are compared pair by pair elsewhere and take no part in this.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench import registry
from bench.analysis.score_table import Scores, ablation_rows, common_ids, scope_scores, summary_metric
from bench.analysis.set_lines import lines as set_lines
from bench.analysis.statistics import statistics
from bench.errors import DataError, message_of
from bench.files import atomic_write
from bench.names import label
from bench.store.paths import write_json

if TYPE_CHECKING:
    from bench.config.project import Config
    from bench.store.paths import RunStore

COLUMNS = [
    "dataset",
    "method",
    "variant",
    "metric",
    "protocol",
    "n",
    "n_failed",
    "mean",
    "sd",
    "sem",
    "ci_low",
    "ci_high",
    "higher_is_better",
]


@dataclass(frozen=True)
class MetricInfo:
    """What tables need to know of a metric; see :class:`bench.api.PairMetric`."""

    id: str
    title: str
    unit: str
    higher_is_better: bool
    ideal: float


def metric_info(metric: str, root: Path | None = None) -> MetricInfo:
    """A metric's class attributes, read without importing it where its source states them.

    ``<task>:<metric>`` (how the summary names tasks other than inversion) is looked up as ``<metric>``, and so is
    ``<metric>.<part>`` (one of several numbers of a set metric), whose title is the part's.
    """
    metric_id, _, part = metric.rpartition(":")[2].partition(".")
    known = registry.metrics(root)
    entry = known.entry(metric_id)
    names = ("title", "higher_is_better", "ideal")
    values = dict(entry.attributes) if all(n in entry.attributes for n in names) else vars_of(known.load(metric_id))
    return MetricInfo(
        metric,
        (values["parts"][part] if part else values["title"]) or metric_id,
        values.get("unit", ""),
        bool(values["higher_is_better"]),
        float(values["ideal"]),
    )


def vars_of(cls: type) -> dict[str, Any]:
    """The public class attributes, inherited ones included."""
    return {name: getattr(cls, name) for name in dir(cls) if not name.startswith("_")}


def summarise(
    scores: Scores,
    *,
    protocol: str,
    resamples: int,
    seed: int,
    methods: Sequence[str] = (),
    metrics: Sequence[str] = (),
    ablations: Collection[str] = (),
    root: Path | None = None,
) -> pd.DataFrame:
    """One line per dataset, method, variant and metric (COLUMNS, full precision), then the common-subset lines.

    Args:
        protocol: the profile's protocol id.
        methods, metrics: the order of rows; what they do not name follows, sorted.
        ablations: names of variants that have no common-subset lines and do not make that subset smaller.
    """
    rows = scores.rows.assign(metric=summary_metric(scores.rows))
    keys, series, common, apart = [], [], {}, set()
    for dataset, on_dataset in rows.groupby("dataset"):
        shared = common[str(dataset)] = common_ids(scores, str(dataset), ablations)
        subsets = [(protocol, None)] + ([(f"{protocol}@common{len(shared)}", set(shared))] if shared else [])
        names = on_dataset["run_id"].str.partition("-")[0].unique()
        apart |= {f"{name}-{dataset}" for name in ablation_rows(names, ablations)}
        for (run_id, method, variant, metric), part in on_dataset.groupby(["run_id", "method", "variant", "metric"]):
            failed = scores.failures.get(str(run_id), {})
            for name, subset in subsets[: 1 if run_id in apart else None]:
                chosen = part if subset is None else part[part["image_id"].isin(subset)]
                values = chosen.sort_values("image_id")["value"]
                finite = values[np.isfinite(values)].to_numpy()
                n_failed = len(values) - len(finite) + (len(failed) if subset is None else 0)
                keys.append((dataset, method, variant, metric, name, n_failed))
                series.append(finite)
    of_sets = set_lines(scores.sets, scores.failures, common, apart, protocol, seed, root)
    info = {m: metric_info(m, root) for m in {key[3] for key in keys} | {line["metric"] for line in of_sets}}
    lines = [
        {
            "dataset": d,
            "method": m,
            "variant": v,
            "metric": name,
            "protocol": p,
            "n_failed": failed,
            **stats._asdict(),
            "higher_is_better": info[name].higher_is_better,
        }
        for (d, m, v, name, p, failed), stats in zip(keys, statistics(series, resamples, seed), strict=True)
    ]
    lines += [{**line, "higher_is_better": info[line["metric"]].higher_is_better} for line in of_sets]
    table = pd.DataFrame(lines, columns=COLUMNS)
    order = pd.DataFrame(
        {
            "dataset": table["dataset"],
            "common": table["protocol"] != protocol,
            "method": _rank(table["method"], methods),
            "variant": table["variant"],
            "metric": _rank(table["metric"], metrics),
        }
    )
    return table.loc[order.sort_values(list(order)).index].reset_index(drop=True)


def _rank(column: pd.Series, order: Sequence[str]) -> pd.Series:
    names = [*order, *sorted({name.partition(".")[0] for name in column} - set(order))]
    places = {name: i for i, name in enumerate(names)}
    return column.map(lambda name: places[name] if name in places else places[name.partition(".")[0]])


def round6(value: float) -> float:
    """Six significant digits: what differs in the last bits between two processors is equal in the files."""
    return float(f"{value:.6g}")


def to_csv(summary: pd.DataFrame) -> str:
    """The text of summary.csv: numbers rounded by :func:`round6`, NaN left empty, LF line ends."""
    rounded = summary.copy()
    for column in ("mean", "sd", "sem", "ci_low", "ci_high"):
        rounded[column] = rounded[column].map(round6)
    return rounded.to_csv(index=False, lineterminator="\n")


def read_summary(path: Path) -> pd.DataFrame:
    """summary.csv as written by :func:`aggregate`; DataError when it is absent or has other columns."""
    try:
        table = pd.read_csv(
            path,
            dtype={"variant": str, "protocol": str},
            keep_default_na=False,
            na_values={c: [""] for c in ("mean", "sd", "sem", "ci_low", "ci_high")},
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read", got=message_of(error), fix="run `bench aggregate`") from None
    if list(table.columns) != COLUMNS:
        raise DataError(
            f"{path} has other columns",
            got=", ".join(table.columns),
            expected=", ".join(COLUMNS),
            fix="run `bench aggregate`",
        )
    return table


def means(summary: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """{dataset: {method[.variant]: {metric: mean}}} of the lines over all images, rounded; for ``dvc metrics``."""
    nested: dict[str, dict[str, dict[str, float]]] = {}
    for line in summary[~summary["protocol"].str.contains("@") & summary["mean"].notna()].itertuples():
        name = label(line.method, line.variant)
        nested.setdefault(line.dataset, {}).setdefault(name, {})[line.metric] = round6(line.mean)
    return nested


def aggregate(store: RunStore, scope: str, config: Config) -> list[Path]:
    """Write summary.csv and metrics.json of a scope from its scores.

    Raises:
        DataError: see :func:`read_scores`.
    """
    summary = summarise(
        scope_scores(store, scope, config),
        protocol=config.protocol,
        resamples=config.bootstrap,
        seed=config.seed,
        methods=config.methods,
        metrics=config.metrics,
        ablations=config.ablations,
        root=config.root,
    )
    atomic_write(store.summary_path(scope), to_csv(summary))
    write_json(store.metrics_path(scope), means(summary))
    return [store.summary_path(scope), store.metrics_path(scope)]
