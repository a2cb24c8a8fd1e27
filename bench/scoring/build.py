"""From a metric's class to one that can compute: what it lacks here, its verified networks, its full signature."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import Metric, MetricWeights
from bench.errors import UnknownName
from bench.weights import load as fetched
from bench.weights import manifest as weights

if TYPE_CHECKING:
    from torch import Tensor

HASH_DIGITS = 8


def lacking(root: Path, cls: type[Metric]) -> str | None:
    """None, or the command that brings what this metric lacks: shown in its column, never a blank or a zero."""
    return lacking_packages(cls) or _lacking_weights(root, cls)


def lacking_packages(cls: type[Metric]) -> str | None:
    """As :func:`lacking`, without a look at its weights."""
    if absent := [name for name in cls.packages if find_spec(name) is None]:
        return f"pip install 'hfgi-bench[{cls.extra}]'" if cls.extra else f"pip install {' '.join(absent)}"
    return cls.missing()


def _lacking_weights(root: Path, cls: type[Metric]) -> str | None:
    absent = []
    for weights_id in cls.weights:
        try:
            state = weights.status(root, weights_id)
        except UnknownName:
            return f"weights {weights_id!r} in weights/manifest.yaml"
        if state == "missing":
            return "git checkout -- weights"
        if state == "absent":
            absent.append(weights_id.replace("_", "-"))
    return f"bench fetch {' '.join(absent)}" if absent else None


def build(root: Path, cls: type[Metric], device: Any) -> Any:
    """The metric on ``device``; its networks come from the project's weights, verified.

    Raises:
        WeightsError: weights that are not here or not the ones recorded; see :func:`lacking`.
    """
    make: Any = cls
    if not cls.weights:
        return make(device)

    def load(weights_id: str, part: str) -> Mapping[str, Tensor]:
        if weights.read_manifest(root).published(weights_id):
            return fetched.load_part(root, weights_id, part)[0]
        return weights.load(root, weights_id)

    return make(device, MetricWeights(load, lambda weights_id, part: weights.file_path(root, weights_id, part)))


def signature(root: Path, name: str, cls: Any) -> str:
    """The metric's signature, followed by the first digits of the SHA-256 of each of its weights."""
    manifest = weights.read_manifest(root)
    known = {i: fetched.sha256(root, i) if manifest.published(i) else manifest.entry(i).sha256 for i in cls.weights}
    return "|".join([cls.signature(name), *(f"{i}@{digest[:HASH_DIGITS]}" for i, digest in known.items())])
