"""Strength matching: how far each method must go along a direction for one and the same change of the attribute.

Edits compared at one degree are not compared at one strength: methods answer to a direction differently. So each
method's degree is found on calibration pictures, which are never scored: the degree at which the judge sees, on
average, the change that it sees between those pictures and their exact targets. A change that is not reached at the
last degree is reported as such; it is neither clipped nor extrapolated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Matched:
    """One edit of one method.

    Args:
        change: asked for, in the attribute's unit. judged: what the judge sees of it in exact targets: the mark; None
            where the degree itself was asked for.
        degree: where it is reached; None if it is not. reached: (degree, mean change) as measured, from 0 on.
        n: calibration pictures.
    """

    change: float
    judged: float | None
    degree: float | None
    reached: tuple[tuple[float, float], ...]
    n: int

    @property
    def most(self) -> tuple[float, float]:
        """(degree, mean change) of the largest change towards the mark."""
        sign = 1 if (self.judged or 0) >= 0 else -1
        return max(self.reached, key=lambda point: sign * point[1])

    def told(self) -> str:
        """What a table says of it."""
        if self.degree is not None:
            return f"{self.degree:+.2f}"
        degree, change = self.most
        assert self.judged is not None
        return f"not reached: {change:+.3g} of {self.judged:+.3g} at {degree:+g}"

    def to_json(self) -> dict[str, Any]:
        """Return the strength as a dict for edits.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Matched:
        """Return the strength that :meth:`to_json` wrote."""
        return cls(**{**raw, "reached": tuple((float(d), float(c)) for d, c in raw["reached"])})


def given(degree: float) -> Matched:
    """A degree that was asked for, the same for every method."""
    return Matched(degree, None, degree, (), 0)


def match(change: float, judged: float, curve: Mapping[float, np.ndarray]) -> Matched:
    """The degree of a change.

    Args:
        change: asked for. judged: mean change to reach. curve: degree -> (n,) changes of the same pictures, from the
            inversion; degree 0 is added.
    Returns:
        the first crossing of the mark, linear between measured degrees.

    Examples:
        Ground-truth edits change the attribute by 0.5. The method changes it by 0.2 at degree 1 (mean of two images)
        and by 0.6 at degree 2, so it needs 1 + (0.5 - 0.2) / (0.6 - 0.2) of the direction.

        >>> curve = {1.0: np.array([0.1, 0.3]), 2.0: np.array([0.5, 0.7])}
        >>> round(match(0.6, 0.5, curve).degree, 6)
        1.75
        >>> match(0.6, 0.8, curve).degree is None  # not reached at the last degree: neither clipped nor extrapolated
        True
    """
    points = [(0.0, 0.0), *((d, float(curve[d].mean())) for d in sorted(curve, key=abs))]
    sign = 1 if judged >= 0 else -1
    degree = None
    for (d0, c0), (d1, c1) in zip(points, points[1:], strict=False):
        if sign * c1 >= sign * judged:
            degree = d0 + (d1 - d0) * (judged - c0) / (c1 - c0)
            break
    return Matched(change, judged, degree, tuple(points), len(next(iter(curve.values()))))
