"""Set metrics of a scope, read back and turned into lines of the summary."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.errors import DataError
from bench.names import label, parse_run_id
from bench.scoring.set_metrics import SetScores, SetValue, on_subset, read_sets

if TYPE_CHECKING:
    from bench.store.paths import RunStore


def read_scope(store: RunStore, scope: str, run_ids: Iterable[str]) -> dict[str, tuple[Path, SetScores]]:
    """run_id -> (folder, values) of the runs that have set metrics.

    Raises:
        DataError: values for other images than the run holds; one metric under two signatures.
    """
    latest: dict[str, tuple[Path, SetScores]] = {}
    for run_id in run_ids:
        name = parse_run_id(run_id)
        folder = store.sets_dir(scope, label(name.method, name.variant), name.dataset)
        scores = read_sets(folder)
        if scores is None or not scores.values:
            continue
        record = store.run(scope, name.method, name.dataset, name.variant).read()
        if scores.ids != [i for i in record["ids"] if i not in record["failures"]]:
            raise DataError(f"set metrics of run {run_id} are not those of its images", fix="run `bench score` again")
        latest[run_id] = folder, scores
    _check_signatures(latest)
    return latest


def _check_signatures(latest: Mapping[str, tuple[Path, SetScores]]) -> None:
    signatures: dict[tuple[str, str], tuple[str, str]] = {}
    for run_id, (_, scores) in latest.items():
        for value in scores.values:
            first = signatures.setdefault((scores.dataset, value.metric), (value.signature, run_id))
            if first[0] != value.signature:
                raise DataError(
                    f"scores of {value.metric} on {scores.dataset} follow different protocols",
                    got=f"{first[0]} in {first[1]}; {value.signature} in {run_id}",
                    expected="one signature",
                    fix="run `bench score` again for all methods",
                )


def lines(
    sets: Mapping[str, tuple[Path, SetScores]],
    failures: Mapping[str, Mapping[str, str]],
    shared: Mapping[str, list[str] | None],
    apart: Collection[str],
    protocol: str,
    seed: int,
    root: Path | None = None,
) -> list[dict[str, Any]]:
    """Summary lines of all set metrics: on each run's own images and, where these differ, on those all runs share.

    Args:
        failures: run_id -> images without a reconstruction. shared: dataset -> ids all runs share, or None.
        apart: run_ids that take no part in these.
    """
    out = []
    for run_id, (folder, scores) in sets.items():
        failed = len(failures.get(run_id, {}))
        out += [_line(scores, value, protocol, failed) for value in scores.values]
        common = shared.get(scores.dataset)
        if common and run_id not in apart:
            known = registry.metrics(root)
            classes = {n: known.load(n) for n in dict.fromkeys(v.metric.partition(".")[0] for v in scores.values)}
            values = on_subset(folder, scores, classes, common, seed)
            out += [_line(scores, value, f"{protocol}@common{len(common)}", 0) for value in values]
    return out


def _line(scores: SetScores, value: SetValue, protocol: str, failed: int) -> dict[str, Any]:
    """An estimate in the column of means; it has no spread over images."""
    return {
        "dataset": scores.dataset,
        "method": scores.method,
        "variant": scores.variant,
        "metric": value.metric,
        "protocol": protocol,
        "n": value.n,
        "n_failed": failed,
        "mean": value.value,
        "sd": math.nan,
        "sem": value.sem,
        "ci_low": value.ci_low,
        "ci_high": value.ci_high,
    }
