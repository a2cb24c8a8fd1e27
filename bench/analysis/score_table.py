"""Tidy score rows of a scope: read, checked against their runs, and cut into comparable sets of images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.analysis.set_lines import read_scope
from bench.errors import DataError
from bench.files import read_table
from bench.names import label, parse_label, parse_run_id
from bench.scoring.set_metrics import SetScores

if TYPE_CHECKING:
    from bench.config.project import Config
    from bench.store.paths import RunStore

ROW_COLUMNS = ["run_id", "dataset", "method", "variant", "image_id", "task", "metric", "signature", "value"]


@dataclass(frozen=True)
class Scores:
    """All that was measured in a scope.

    Args:
        rows: tidy rows, ROW_COLUMNS, value float64.
        failures: run_id -> image id -> reason, of images that have no picture and so no rows.
        sets: run_id -> (folder, values) of metrics about all its pictures together; see bench/analysis/set_lines.py.
    """

    rows: pd.DataFrame
    failures: Mapping[str, Mapping[str, str]]
    sets: Mapping[str, tuple[Path, SetScores]] = field(default_factory=dict)
    tables: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)  # of `wide`

    def failed(self) -> dict[str, dict[str, str]]:
        """run_id -> image id -> reason, of every image absent from a mean: no picture, or no finite value."""
        named = {run_id: dict(sorted(reasons.items())) for run_id, reasons in self.failures.items() if reasons}
        bad = self.rows[~np.isfinite(self.rows["value"])]
        for run_id, image_id, metric in zip(bad["run_id"], bad["image_id"], summary_metric(bad), strict=True):
            named.setdefault(run_id, {}).setdefault(image_id, f"{metric} is not finite")
        return {run_id: dict(sorted(reasons.items())) for run_id, reasons in sorted(named.items())}


def read_scores(
    store: RunStore, scope: str, labels: Iterable[str] | None = None, datasets: Iterable[str] | None = None
) -> Scores:
    """Rows and failures of a scope, checked against the runs they were computed from.

    Args:
        labels, datasets: keep only these methods (``method`` or ``method.variant``) and datasets; None keeps all.
    Raises:
        DataError: no scores; rows twice; rows for other images than the run holds; one metric under two signatures.
    """
    wanted = None if labels is None else set(labels)
    paths = [p for p in store.scores(scope) if wanted is None or p.stem in wanted]
    frames = [_read_rows(path) for path in paths]
    rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=ROW_COLUMNS)
    if datasets is not None:
        rows = rows[rows["dataset"].isin(set(datasets))].reset_index(drop=True)
    if rows.empty:
        raise DataError(
            f"there are no scores in {store.results / 'scores' / scope}",
            expected="one file per method",
            fix="run `bench score` first",
        )
    failures = {}
    for run_id, part in rows.groupby("run_id"):
        name = parse_run_id(str(run_id))
        run = store.run(scope, name.method, name.dataset, name.variant).read()
        failures[str(run_id)] = dict(run["failures"])
        _check_ids(str(run_id), part, [i for i in run["ids"] if i not in run["failures"]])
    _check_signatures(rows)
    return Scores(rows, failures, read_scope(store, scope, sorted(failures)))


def _read_rows(path: Path) -> pd.DataFrame:
    rows = read_table(path, ROW_COLUMNS, "score file", fix="run `bench score` again").astype({"value": "float64"})
    return rows.assign(variant=rows["variant"].fillna(""))  # groupby would drop missing keys without a word


def _check_ids(run_id: str, rows: pd.DataFrame, ids: Sequence[str]) -> None:
    """Each metric and task has each image of the run once. A row may hold NaN, but it must be there."""
    for (task, metric), part in rows.groupby(["task", "metric"]):
        have = list(part["image_id"])
        if len(set(have)) != len(have) or (task == "inversion" and set(have) != set(ids)):
            missing, extra = sorted(set(ids) - set(have)), sorted(set(have) - set(ids))
            raise DataError(
                f"scores of run {run_id} ({metric}) are not those of its images",
                got=f"{len(have)} rows, missing {missing[:3]}, unexpected {extra[:3]}",
                expected=f"{len(ids)} images, once each",
                fix="run `bench score` again",
            )


def _check_signatures(rows: pd.DataFrame) -> None:
    for (dataset, metric), part in rows.groupby(["dataset", "metric"]):
        found = part.groupby("signature")["run_id"].first()
        if len(found) > 1:
            listed = "; ".join(f"{signature} in {run_id}" for signature, run_id in found.items())
            raise DataError(
                f"scores of {metric} on {dataset} follow different protocols",
                got=listed,
                expected="one signature",
                fix="run `bench score` again for all methods",
            )


def wide(scores: Scores, dataset: str, metric: str) -> pd.DataFrame:
    """Image ids x labels (``method.variant``) of one metric on one dataset; NaN where there is no finite value.

    ``metric`` may be ``<task>:<metric>``.
    """
    if (dataset, metric) not in scores.tables:
        task, _, name = metric.rpartition(":")
        rows = scores.rows[scores.rows["metric"] == name]
        part = rows[(rows["dataset"] == dataset) & (rows["task"] == (task or "inversion"))]
        names = [label(m, v) for m, v in zip(part["method"], part["variant"], strict=True)]
        table = part.assign(label=names).pivot(index="image_id", columns="label", values="value")
        scores.tables[dataset, metric] = table.where(np.isfinite(table))
    return scores.tables[dataset, metric].copy()


def summary_metric(rows: pd.DataFrame) -> pd.Series:
    """The summary's metric name of each row: the id, with the task before it when that is not inversion."""
    return rows["metric"].where(rows["task"] == "inversion", rows["task"] + ":" + rows["metric"])


def ablation_rows(labels: Iterable[str], ablations: Collection[str]) -> list[str]:
    """Those of ``labels`` that are named variants of a method that is among them: their table pairs each by itself."""
    known = list(labels)
    split = [(name, *parse_label(name)) for name in known]
    return [name for name, method, variant in split if variant in ablations and method in known]


def common_ids(scores: Scores, dataset: str, ablations: Collection[str] = ()) -> list[str] | None:
    """Ids on which every run of ``dataset`` has a finite value of each of its metrics; None when nobody lacks any.

    An empty list means that the methods share no image: then nothing on this dataset can be compared.

    Args:
        ablations: names of variants that do not count where their method has results: they may have fewer images.
    """
    rows = scores.rows[(scores.rows["dataset"] == dataset) & (scores.rows["task"] == "inversion")]
    names = rows["run_id"].str.partition("-")[0]
    rows = rows[~names.isin(ablation_rows(names.unique(), ablations))]
    sets, everyone = [], set(rows["image_id"])
    for run_id, part in rows.groupby("run_id"):
        failed = set(scores.failures.get(str(run_id), {}))
        everyone |= failed
        sets.append(set(part["image_id"]) - set(part.loc[~np.isfinite(part["value"]), "image_id"]) - failed)
    if not sets:
        return None
    shared = set.intersection(*sets)
    return None if shared == everyone else sorted(shared)


@dataclass(frozen=True)
class LedgerLine:
    """How many images stand behind a mean, and why the others do not.

    Args:
        asked: images of the run. n: those with a finite value. reasons: id -> why it has none.
    """

    label: str
    metric: str
    asked: int
    n: int
    reasons: Mapping[str, str]


def ledger(scores: Scores, dataset: str) -> list[LedgerLine]:
    """One line per row and metric of a dataset, inversion only."""
    rows = scores.rows[(scores.rows["dataset"] == dataset) & (scores.rows["task"] == "inversion")]
    lines = []
    for (run_id, metric), part in rows.groupby(["run_id", "metric"], sort=True):
        failed = dict(scores.failures.get(str(run_id), {}))
        bad = part.loc[~np.isfinite(part["value"]), "image_id"]
        reasons = {**{i: "no finite value (such as: no face found)" for i in bad}, **failed}
        n = len(part) - len(bad)
        lines.append(LedgerLine(parse_run_id(str(run_id)).label, str(metric), n + len(reasons), n, reasons))
    return lines


def scope_scores(store: RunStore, scope: str, config: Config) -> Scores:
    """The scores a scope's tables are made of: those the profile names, or everything in any other scope."""
    if scope != config.profile:
        return read_scores(store, scope)
    return read_scores(store, scope, config.labels, config.datasets)
