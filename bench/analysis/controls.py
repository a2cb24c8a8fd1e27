"""Negative controls: rows whose place is known beforehand. One that lands elsewhere means that the ruler is bent.

A control method says where it must land (``expects``); nothing here knows which method it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.score_table import Scores, wide

IDEAL_SLACK = 1e-5  # of the ideal value, relative above 1: float32 networks, symmetric to the last bits only
EXPECTATIONS = {
    "ideal": "every image at the metric's ideal value",
    "near": "worse than ideal on every image, better than every floor on average",
    "floor": "no method worse on average",
    "unpaired": "worse on average than every method and every control that is shown its own picture; as a set, ideal",
}


@dataclass(frozen=True)
class Landing:
    """Where a control landed in one metric. ``said``: the numbers behind the verdict."""

    label: str
    metric: str
    expects: str
    ok: bool
    said: str


def landings(
    scores: Scores,
    dataset: str,
    metric: str,
    methods: Sequence[str],
    controls: Mapping[str, str],
    higher_is_better: bool,
    ideal: float,
) -> list[Landing]:
    """One landing per control that the metric has values of.

    Args:
        methods: labels that are no control. controls: label -> what it expects, a key of EXPECTATIONS; others are left.
    """
    table = wide(scores, dataset, metric)
    sign = -1.0 if higher_is_better else 1.0
    landings_of = []
    for label, expects in controls.items():
        if label not in table or expects not in EXPECTATIONS or not table[label].notna().any():
            continue
        values = table[label].dropna().to_numpy()
        if expects == "ideal":
            worst = float(np.abs(values - ideal).max())
            landings_of.append(
                _landing(label, metric, expects, worst <= _slack(ideal), f"farthest from {ideal:g}: {worst:.3g}")
            )
        elif expects == "near":
            gap = float((sign * (values - ideal)).min())
            rivals = [c for c, e in controls.items() if e in ("floor", "unpaired")]
            ok, said = _order(table, label, rivals, sign, better=True)
            landings_of.append(
                _landing(label, metric, expects, ok and gap > 0, f"nearest to {ideal:g}: {gap:.3g}; {said}")
            )
        else:
            near = [c for c, e in controls.items() if e in ("ideal", "near")] if expects == "unpaired" else []
            if any(r in table and not table[[label, r]].dropna().empty for r in (*methods, *near)):
                ok, said = _order(table, label, [*methods, *near], sign, better=False)
                landings_of.append(_landing(label, metric, expects, ok, said))
    return landings_of


def _landing(label: str, metric: str, expects: str, ok: bool, said: str) -> Landing:
    return Landing(label, metric, expects, bool(ok), said)


def _slack(ideal: float) -> float:
    return IDEAL_SLACK * max(1.0, abs(ideal))


def _order(table, label: str, rivals: Sequence[str], sign: float, better: bool) -> tuple[bool, str]:
    """Whether the mean lies on the right side of each rival's, image sets made equal pair by pair."""
    wrong, measured = [], 0
    for rival in (r for r in rivals if r in table):
        both = table[[label, rival]].dropna()
        if both.empty:
            continue
        measured += 1
        lead = sign * float((both[rival] - both[label]).mean())  # above 0 where the control is better
        if (lead <= 0) if better else (lead >= 0):
            wrong.append(f"{rival} by {abs(lead):.3g}")
    side = "not better than" if better else "not worse than"
    return not wrong, f"{side} {', '.join(wrong)}" if wrong else f"compared with {measured} rows"


def set_landing(label: str, metric: str, expects: str, value: float, ideal: float, slack: float) -> Landing | None:
    """Set metrics cannot see pairs: shuffled pairs are the same set, so they must be ideal there, as copies are.

    Args:
        ideal, slack: what the set gives with itself, and how far from it rounding may lead; see SetMetric.ideal_of.
    """
    if expects not in ("ideal", "unpaired") or not np.isfinite(value):
        return None
    said = f"{value:.3g}, the same set of pictures gives {ideal:.3g} (± {slack:.1g})"
    return Landing(label, metric, expects, abs(value - ideal) <= slack, said)
