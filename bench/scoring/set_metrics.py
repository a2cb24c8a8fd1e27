"""Set metrics of a run: features on disk, one value with its own interval per metric. No value per picture exists.

results/sets/<scope>/<method[.variant]>/<dataset>/ holds ``values.json`` and, in the order of its ids, (N, D) float32
``<extractor>.npy`` of the reconstructions and ``<extractor>.source.npy``; tables compare other subsets from these.

Intervals: pictures (pairs of source and reconstruction) are dealt into ten groups; each is left out in turn, and the
spread of the ten values gives the standard error (delete-a-group jackknife, Shao and Tu 1995, Sec. 2.3), Student's t
with nine degrees of freedom the interval. Drawing pictures with replacement, as for means, is no way here: repeated
pictures make a set look less spread, which moves all these numbers.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.api import SetMetric
from bench.errors import DataError
from bench.files import atomic_write, read_json, write_json
from bench.seeds import seed_for

GROUPS, CONFIDENCE = 10, 0.95
VALUES = "values.json"


@dataclass(frozen=True)
class SetValue:
    """A number about a run's pictures as a set.

    Args:
        metric: id, with ``.<part>`` where a metric has several numbers. n: pictures in each set.
        sem: jackknife standard error; ci_low, ci_high: its interval; NaN below 2 pictures a group.
    """

    metric: str
    signature: str
    n: int
    value: float
    sem: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class SetScores:
    """values.json of one run: the ids its features have rows for, and their values."""

    run_id: str
    dataset: str
    method: str
    variant: str
    state: str
    ids: list[str]
    values: list[SetValue]


def groups(ids: Sequence[str], seed: int) -> np.ndarray:
    """(N,) group of each picture, 0 to 9, of equal sizes up to one: dealt in an order that depends on seed and ids."""
    order = np.random.default_rng(seed_for(seed, "set groups", *sorted(ids)[:1], len(ids))).permutation(len(ids))
    dealt = np.empty(len(ids), dtype=np.int64)
    dealt[np.argsort(np.asarray(ids, dtype=object), kind="stable")[order]] = np.arange(len(ids)) % GROUPS
    return dealt


def evaluate(
    metric: type[SetMetric],
    name: str,
    signature: str,
    ids: Sequence[str],
    source: np.ndarray,
    reconstruction: np.ndarray,
    seed: int,
) -> list[SetValue]:
    """The values of one metric on rows of features that belong to ``ids``, with their intervals."""
    n = len(ids)
    if n < 2:
        return [SetValue(_id(name, part), signature, n, *[math.nan] * 4) for part in metric.parts]
    everything = np.arange(n)
    dealt = groups(ids, seed) if n >= 2 * GROUPS else None
    subsets = [] if dealt is None else [everything[dealt != g] for g in range(GROUPS)]
    whole, *others = metric.values(source, reconstruction, [everything, *subsets])
    return [
        SetValue(
            _id(name, part), signature, n, whole[part], *interval(whole[part], [o[part] for o in others], metric.bounds)
        )
        for part in metric.parts
    ]


def interval(
    value: float, left_out: Sequence[float], bounds: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float, float]:
    """Standard error and interval from the values with one group left out each, cut at ``bounds``; NaN without any."""
    from scipy.special import stdtrit

    count = len(left_out)
    if not count:
        return math.nan, math.nan, math.nan
    sem = math.sqrt((count - 1) / count * float(np.square(np.asarray(left_out) - np.mean(left_out)).sum()))
    reach = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * sem
    return sem, max(value - reach, bounds[0]), min(value + reach, bounds[1])


def _id(name: str, part: str) -> str:
    return f"{name}.{part}" if part else name


def update_sets(
    folder: Path,
    scores: SetScores,
    rescored: Collection[str],
    features: Mapping[str, np.ndarray],
    sources: Mapping[str, np.ndarray],
) -> list[str]:
    """Replace a run's values of the metrics ``rescored``; keep its others if they are of the same state of the run.

    Returns:
        ids of metrics whose values were dropped as stale.
    """
    old = read_sets(folder)
    others = [v for v in old.values if v.metric.partition(".")[0] not in rescored] if old else []
    same = old is not None and (old.state, old.ids) == (scores.state, scores.ids)
    if not same:
        for path in folder.glob("*.npy"):
            path.unlink()
    other_values = others if same else []
    values = sorted([*other_values, *scores.values], key=lambda value: value.metric)
    arrays = {**features, **{f"{extractor}.source": array for extractor, array in sources.items()}}
    write_sets(folder, replace(scores, values=values), arrays)
    return [] if same else sorted({value.metric.partition(".")[0] for value in others})


def write_sets(folder: Path, scores: SetScores, arrays: Mapping[str, np.ndarray]) -> None:
    """Write features, then the values that speak of them; NaN is stored as null."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, np.asarray(array, dtype=np.float32))
        atomic_write(folder / f"{name}.npy", buffer.getvalue())
    raw = asdict(scores)
    raw["values"] = [{k: None if v != v else v for k, v in value.items()} for value in raw["values"]]
    write_json(folder / VALUES, raw)


def read_sets(folder: Path) -> SetScores | None:
    """The values of a run, or None where it has none.

    Raises:
        DataError: a file that cannot be what :func:`write_sets` wrote.
    """
    if not (folder / VALUES).is_file():
        return None
    raw = read_json(folder / VALUES)
    try:
        values: list[Any] = [{k: math.nan if v is None else v for k, v in value.items()} for value in raw["values"]]
        return SetScores(**{**raw, "values": [SetValue(**value) for value in values]})
    except (TypeError, KeyError) as error:
        raise DataError(f"{folder / VALUES} cannot be read", got=str(error), fix="run `bench score` again") from None


def features_of(folder: Path, name: str, rows: Sequence[int]) -> np.ndarray:
    """Some rows of a run's features, float32; DataError when the file is gone."""
    path = folder / f"{name}.npy"
    try:
        return np.asarray(np.load(path, mmap_mode="r")[list(rows)])
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"features {path} cannot be read", got=str(error), fix="run `bench score` again") from None


def on_subset(
    folder: Path, scores: SetScores, metrics: Mapping[str, type[SetMetric]], ids: Sequence[str], seed: int
) -> list[SetValue]:
    """The values of a run's set metrics on some of its pictures.

    Args:
        metrics: id -> class, of those the run has values of.
    Raises:
        DataError: features are gone, or a picture has none.
    """
    place = {image_id: row for row, image_id in enumerate(scores.ids)}
    if lost := [i for i in ids if i not in place]:
        raise DataError(f"run {scores.run_id} has no features of {lost[0]}", fix="run `bench score` again")
    rows = [place[i] for i in ids]
    signatures = {value.metric.partition(".")[0]: value.signature for value in scores.values}
    results: list[SetValue] = []
    for name, cls in metrics.items():
        source, features = (features_of(folder, n, rows) for n in (f"{cls.extractor}.source", cls.extractor))
        results += evaluate(cls, name, signatures[name], list(ids), source, features, seed)
    return results
