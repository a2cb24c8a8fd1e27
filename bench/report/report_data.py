"""Read what a report needs from results/, once: summary, scores, runs, timings, and titles of methods and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bench import registry
from bench.analysis.score_table import Scores, ablation_rows, common_ids, scope_scores
from bench.analysis.summary import MetricInfo, metric_info, read_summary
from bench.config.project import Config, load_config
from bench.data.dataset import PreparedDataset
from bench.data.manifest import Manifest, load_manifest
from bench.errors import BenchError
from bench.names import parse_label
from bench.scoring.build import lacking
from bench.store.paths import RunStore, read_json


@dataclass(frozen=True)
class MethodInfo:
    """A row's name and place: ``label`` is ``method`` or ``method.variant``."""

    label: str
    title: str
    control: bool


@dataclass(frozen=True)
class ReportData:
    """Everything measured in a scope; built by :func:`load_report_data`.

    Args:
        config: settings of the profile in use.
        store: paths below results/ and reports/.
        scope: profile id, or ``local``.
        summary: a row per dataset, method, variant and metric, as in summary.csv.
        scores: values per image, and set metrics.
        timings: run id -> timing record, all from one machine.
        machine: that machine's folder name; "" without timings.
        memo: tests and edits that several pages print, computed once per process.
    """

    config: Config
    store: RunStore
    scope: str
    summary: pd.DataFrame
    scores: Scores
    timings: Mapping[str, Mapping[str, Any]]
    machine: str
    memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def root(self) -> Path:
        """Folder of the project."""
        return self.config.root

    @property
    def protocol(self) -> str:
        """Name of the report's protocol."""
        return self.config.protocol

    @cached_property
    def datasets(self) -> list[str]:
        """Ids of the summary's datasets, in its order."""
        return list(dict.fromkeys(self.summary["dataset"]))

    def manifest(self, dataset: str) -> Manifest:
        """Read the manifest of a dataset."""
        return load_manifest(self.root, dataset)

    def prepared(self, dataset: str) -> PreparedDataset:
        """Open a prepared dataset."""
        return PreparedDataset.open(self.root, dataset)

    def rows(self, dataset: str) -> list[str]:
        """Return all labels of a dataset in the summary's order: methods as in params.yaml, controls last."""
        part = self.summary[self.summary["dataset"] == dataset]
        names = dict.fromkeys(f"{m}.{v}" if v else m for m, v in zip(part["method"], part["variant"], strict=True))
        return sorted(names, key=lambda name: self.method(name).control)

    def ablations(self, dataset: str) -> list[str]:
        """Return the labels of variants whose method has results too: they have a table of their own."""
        return ablation_rows(self.rows(dataset), self.config.ablations)

    def labels(self, dataset: str) -> list[str]:
        """Return the labels of Table 1 and of the figures: all but the ablations."""
        ablations = self.ablations(dataset)
        return [name for name in self.rows(dataset) if name not in ablations]

    def metrics(self, dataset: str) -> list[str]:
        """Return the metrics of a dataset, in the profile's order."""
        return list(dict.fromkeys(self.summary.loc[self.summary["dataset"] == dataset, "metric"]))

    def lines(self, dataset: str, common: bool = False) -> dict[tuple[str, str], Any]:
        """Return (label, metric) -> summary line, over each method's images or over the images that all methods have."""
        part = self.summary[
            (self.summary["dataset"] == dataset) & (self.summary["protocol"].str.contains("@") == common)
        ]
        return {(f"{r.method}.{r.variant}" if r.variant else r.method, r.metric): r for r in part.itertuples()}

    def shared_ids(self, dataset: str) -> list[str]:
        """Return the sorted ids that every method has a finite score for, ablations apart; may be empty."""
        shared = common_ids(self.scores, dataset, self.config.ablations)
        if shared is None:
            rows = self.scores.rows
            shared = sorted(set(rows.loc[rows["dataset"] == dataset, "image_id"]))
        return shared

    def method(self, label: str) -> MethodInfo:
        """Return title and kind, from the method's file and ablations.yaml; a removed method keeps its id as title."""
        method, variant = parse_label(label)
        try:
            attributes = registry.methods(self.root).entry(method).attributes
        except BenchError:
            attributes = {}
        title = attributes.get("title") or method
        if variant:
            ablation = self.config.ablations.get(variant)
            title = (ablation.title if ablation else "") or f"{title} ({variant})"
        return MethodInfo(label, title, bool(attributes.get("control", False)))

    def metric(self, metric: str) -> MetricInfo:
        """Return title, unit and direction of a metric."""
        return metric_info(metric, self.root)

    def signatures(self, dataset: str) -> dict[str, str]:
        """Return metric -> signature, the exact definition of its values."""
        rows = self.scores.rows
        part = rows[(rows["dataset"] == dataset) & (rows["task"] == "inversion")].drop_duplicates("metric")
        sets = [value for _, found in self.scores.sets.values() if found.dataset == dataset for value in found.values]
        of_sets = {value.metric: value.signature for value in sets}
        return {**dict(zip(part["metric"], part["signature"], strict=True)), **of_sets}

    def picture_metrics(self, dataset: str) -> list[str]:
        """Return the metrics that have a value for each image; the others compare sets of images."""
        of_sets = {value.metric for _, found in self.scores.sets.values() for value in found.values}
        return [metric for metric in self.metrics(dataset) if metric not in of_sets]

    def absent_metrics(self, dataset: str) -> dict[str, str]:
        """Return the profile's metrics without any score: metric -> ``needs: ...``."""
        reasons, scored = {}, {metric.partition(".")[0] for metric in self.metrics(dataset)}
        for metric in self.config.metrics:
            if metric not in scored:
                missing = lacking(self.root, registry.metrics(self.root).load(metric))
                reasons[metric] = f"needs: {missing or 'bench score'}"
        return reasons

    def unscored(self, dataset: str) -> list[str]:
        """Return the methods and ablations of params.yaml that have no row, in the profile's own scope."""
        return (
            [m for m in self.config.labels if m not in self.rows(dataset)] if self.scope == self.config.profile else []
        )

    def run_record(self, dataset: str, label: str) -> dict[str, Any]:
        """Read run.json of one row."""
        method, variant = parse_label(label)
        return self.store.run(self.scope, method, dataset, variant).read()

    def run_size(self, dataset: str, label: str) -> int:
        """Count the images that the method was asked to invert, failures included."""
        return len(self.run_record(dataset, label)["ids"])

    def reconstruction(self, dataset: str, label: str, image_id: str) -> Path:
        """File of a reconstruction."""
        method, variant = parse_label(label)
        return self.store.run(self.scope, method, dataset, variant).image(image_id)


def load_report_data(root: Path, scope: str, config: Config | None = None) -> ReportData:
    """Read all a report needs.

    Raises:
        DataError: no summary or scores; the message names the verb that makes them.
    """
    config = config or load_config(root)
    store = RunStore(config.root, config.main_profile)
    summary = read_summary(store.summary_path(scope))
    machine, timings = read_timings(store, scope)
    return ReportData(config, store, scope, summary, scope_scores(store, scope, config), timings, machine)


def read_timings(store: RunStore, scope: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return the machine last timed on and its records by run id: times of two machines never share a table."""
    folders: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted(store.timing_dir(scope).glob("*/*/*.json")):
        folders.setdefault(path.parent.name, {})[path.stem] = read_json(path)
    if not folders:
        return "", {}
    latest = max(folders, key=lambda name: (max(r["started"] for r in folders[name].values()), name))
    return latest, folders[latest]
