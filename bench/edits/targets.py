"""What an edit must show: the same scene with one factor moved, rendered exactly. Only rendered datasets have that.

A target whose factor would leave its bounds is none (the change would be a smaller one), nor is one that equals its
source (hair colour on a bald head): nothing there could be seen to change. Such pictures are left out of that edit's
scores, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.api.renderer import FactorEdit
from bench.data.dataset import PreparedDataset
from bench.data.prepare import counterfactuals, read_labels
from bench.engine import Execution, Shard, Work, even_shards, map_shards
from bench.errors import BenchError, UnknownName
from bench.files import read_rgb
from bench.images import pixel_sha256
from bench.renderers.by_name import renderer_of

SLACK = 1e-9  # of a factor's change: rounding alone
SHARD = 8


@dataclass(frozen=True)
class Wanted:
    """One edit to score.

    Args:
        direction: name. attribute: what its judge calls what it moves. change: of the attribute, in its own unit.
    """

    direction: str
    attribute: str
    change: float

    @property
    def name(self) -> str:
        """Direction and signed change, e.g. ``smile+0.5``."""
        return f"{self.direction}{self.change:+g}"


@dataclass(frozen=True)
class Targets:
    """Exact targets of some pictures for one edit.

    Args:
        images, labels: id -> (R, R, 3) and (R, R) uint8, of those that have room for the change and show it.
        unseen: ids that have room, but whose target is their source again.
    """

    images: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    unseen: tuple[str, ...] = ()


def degree_of(dataset: PreparedDataset, wanted: Wanted) -> float:
    """The renderer's degree for a change in the attribute's unit.

    Raises:
        UnknownName: the renderer has no such edit. BenchError: it moves another factor than the judge reads.
    """
    edits = edits_of(dataset)
    if wanted.direction not in edits:
        raise UnknownName.of(f"exact edit of dataset {dataset.id!r}", wanted.direction, edits)
    edit = edits[wanted.direction]
    if edit.factor != wanted.attribute:
        raise BenchError(
            f"edit {wanted.direction!r} of the renderer moves another attribute than the direction",
            got=edit.factor,
            expected=wanted.attribute,
        )
    return wanted.change / edit.amount


def parts_of(dataset: PreparedDataset) -> tuple[str, ...]:
    """Names of the part labels of a dataset's renderer."""
    spec = dataset.manifest.render
    return renderer_of(spec.renderer if spec else None).parts


def edits_of(dataset: PreparedDataset) -> Mapping[str, FactorEdit]:
    """Attribute -> the factor that its exact edit moves, of a dataset's renderer."""
    spec = dataset.manifest.render
    return renderer_of(spec.renderer if spec else None).edits


def with_room(dataset: PreparedDataset, ids: Sequence[str], wanted: Wanted) -> list[str]:
    """Those of ``ids`` whose factor can change by the whole amount."""
    degree_of(dataset, wanted)
    edit = edits_of(dataset)[wanted.direction]
    truth = dataset.factor(edit.factor)
    return [i for i in ids if edit.low - SLACK <= truth[i] + wanted.change <= edit.high + SLACK]


def exact(dataset: PreparedDataset, ids: Sequence[str], wanted: Wanted) -> Targets:
    """The targets of ``ids`` that have room and show the change; rendered where they are not yet on the disk."""
    chosen = with_room(dataset, ids, wanted)
    if not chosen:
        return Targets({}, {})
    made = counterfactuals(dataset, chosen, wanted.direction, degree_of(dataset, wanted))
    paths = dict(zip(chosen, made, strict=True))
    side = dataset.manifest.resolution
    images = {i: read_rgb(path, side) for i, path in paths.items()}
    unseen = {i for i, x in zip(chosen, dataset.stack(chosen), strict=True) if np.array_equal(images[i], x)}
    labels = {i: read_labels(paths[i].with_suffix(".labels.png")) for i in chosen if i not in unseen}
    return Targets({i: images[i] for i in labels}, labels, tuple(i for i in chosen if i in unseen))


def render_targets(
    root: Path, parts: Mapping[str, Sequence[str]], edits: Sequence[Wanted], execution: Execution
) -> dict[str, dict[str, dict[str, str | None]]]:
    """Render all targets of some datasets, on all cores; those that are there are read.

    Args:
        parts: dataset -> ids.
    Returns:
        dataset -> edit -> {id: hash of the target's pixels, "" where it equals the source, None without room}.
    """
    found: dict[str, Any] = {}
    for dataset, ids in parts.items():
        shards = even_shards(list(ids), SHARD)
        work = Work(_render_shard, {"root": root, "dataset": dataset, "edits": tuple(edits)})
        alone = len(shards) == 1 or _all_there(PreparedDataset.open(root, dataset), ids, edits)
        done = map_shards(work, shards, execution.quiet().serial_if(alone))
        found[dataset] = {
            one.name: {i: part[one.name].get(i) for shard, part in zip(shards, done, strict=True) for i in shard.ids}
            for one in edits
        }
    return found


def _all_there(dataset: PreparedDataset, ids: Sequence[str], edits: Sequence[Wanted]) -> bool:
    """Nothing is left to render, to all appearances: then workers would cost more than they save."""
    paths = [
        dataset.paths.counterfactual(i, one.direction, degree_of(dataset, one))
        for one in edits
        for i in with_room(dataset, ids, one)
    ]
    return all(path.with_suffix(".json").is_file() for path in paths)


def _render_shard(shard: Shard, root: Path, dataset: str, edits: Sequence[Wanted]) -> dict[str, dict[str, str]]:
    prepared = PreparedDataset.open(root, dataset)
    found = {}
    for one in edits:
        targets = exact(prepared, shard.ids, one)
        found[one.name] = {i: pixel_sha256(image) for i, image in targets.images.items()}
        found[one.name] |= dict.fromkeys(targets.unseen, "")
    return found
