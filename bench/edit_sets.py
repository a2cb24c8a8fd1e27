"""Distances of sets of edits from sets of what they should be.

Features of all edits are kept, so methods that do not reach the same edits can be compared over those that all reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bench import registry
from bench.edit_features import Features
from bench.metric_build import signature
from bench.sets import GROUPS, SetValue, groups, interval


def set_values(root: Path, names: Iterable[str], features: Features, ids: Sequence[str], seed: int) -> list[SetValue]:
    """Distances of edits from what they are compared with.

    Args:
        names: ids of set metrics. ids: of all pictures scored: intervals leave out groups of them, each picture with
            all its edits; below 20 pictures there are none.
    """
    known, found = registry.metrics(root), []
    dealt = dict(zip(ids, groups(ids, seed), strict=True))
    group, everything = np.array([dealt[i] for _, i in features.keys]), np.arange(len(features.keys))
    subsets = [everything[group != g] for g in range(GROUPS)] if len(ids) >= 2 * GROUPS else []
    subsets = [rows for rows in subsets if 2 <= len(rows) < len(everything)]
    for name in names:
        cls = known.load(name)
        if cls.extractor not in features.of or len(everything) < 2:
            continue
        edited, meant = features.of[cls.extractor]
        whole, *others = cls.values(meant, edited, [everything, *subsets])
        for part in cls.parts:
            spread = interval(whole[part], [one[part] for one in others])
            full = f"{name}.{part}" if part else name
            found.append(SetValue(full, signature(root, name, cls), len(everything), whole[part], *spread))
    return found
