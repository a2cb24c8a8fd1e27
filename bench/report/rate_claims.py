"""Test the paper's argument on rate, distortion and edits on operating points: results/reference/rate_claims.yaml."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.analysis.statistics import CONFIDENCE
from bench.files import read_yaml
from bench.names import parse_label
from bench.report.claims import (
    Claim,
    ClaimsFile,
    Measured,
    check_claims,
    claims_table,
    compare,
    in_short,
    verdict_counts,
)
from bench.report.layout import Table
from bench.report.rate_points import Rates, describe_point, title_of
from bench.report.reference import RESTORE
from bench.report.report_data import ReportData
from bench.store.rate import CODEC_TITLES, EDIT, FILE, KEPT, OVER

if TYPE_CHECKING:
    import pandas as pd

CLAIMS_FILE = "rate_claims.yaml"


class OperatingPoint(BaseModel):
    """One side of a comparison: a row of the tables at given quantiser steps, or a picture codec.

    Args:
        row: ``method`` or ``method.variant``; by default its own inversion with unquantised numbers.
        form: ``kept``, or ``latent maps`` in place of the memory.
        codes: quantiser step of the latents; None takes any where ``memory`` names the point already.
        memory: quantiser step of the memory; 0 for unquantised numbers.
        pool: side of the squares over which maps are averaged, in pixels.
        codec: one of ``bench rate --codec``, at the bits of the other side, image by image; then nothing else.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    row: str = ""
    form: str = KEPT
    codes: float | None = None
    memory: float = 0.0
    pool: int = 1
    codec: str = ""

    @model_validator(mode="before")
    @classmethod
    def _a_row_alone(cls, value: Any) -> Any:
        return {"row": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _row_or_codec(self) -> OperatingPoint:
        if bool(self.row) == bool(self.codec):
            raise ValueError("give a row or a codec")
        return self


class RateClaim(Claim):
    """A claim about operating points; see the head of rate_claims.yaml, where ``metrics`` are called ``measures``.

    Args:
        metrics: ``bits``; or a metric, alone (of inversions), after ``edit:`` (of edits against their targets) or after
            ``over:`` (what edits add to the inversion's distortion).
    """

    left: OperatingPoint
    right: list[OperatingPoint] = Field(min_length=1)
    metrics: list[str] = Field(min_length=1, validation_alias="measures")
    kind: Literal["difference", "ratio"] = "difference"


def read_rate_claims(path: Path) -> ClaimsFile[RateClaim]:
    """Read rate_claims.yaml.

    Raises:
        DataError: the file is missing or breaks a rule; the message names the key.
    """
    return read_yaml(path, ClaimsFile[RateClaim], fix=RESTORE)


def argument(report: ReportData, dataset: str, rates: Rates, path: Path) -> tuple[list[str], Table]:
    """Test the argument: return a line of text for each claim, and a table with a row for each comparison."""
    claims = read_rate_claims(path)
    tested = check_claims(RateValues(report, rates), claims.claims)
    short = [f"- {in_short(one.verdicts)}: {one.claim.text}." for one in tested]
    caption = (
        f"{claims.paper}. Dataset `{dataset}`: {verdict_counts(tested)}. A line holds when the whole {CONFIDENCE:.0%} "
        "interval of the measured value lies inside what is expected, does not hold when the whole interval lies "
        "outside, and is undecided otherwise; few pictures are measured, so small differences stay undecided."
    )
    notes = [
        "Left minus right, picture by picture, or the ratio of means; intervals resample pictures. Edits are those "
        "that both sides reach. What an edit adds: its distance from the exact target less the inversion's distance "
        "from the source, on the same picture; where an inversion is wrong already an edit can add little, so this "
        "favours low rates.",
        "A codec stands at the bits that the other side takes for the same picture, between the nearest qualities "
        "(linear in log bits); pictures beyond its range of qualities are left out.",
    ]
    title = "Where the argument holds, line by line"
    return short, claims_table(tested, title, caption, notes, f"tab:{dataset}-rate-argument")


@dataclass(frozen=True)
class RateValues:
    """Values of operating points on one dataset: bits, distortion, error of edits, and what edits add."""

    report: ReportData
    rates: Rates

    def measured(self, claim: RateClaim, right: OperatingPoint, metric: str) -> Measured:
        """Compare two points on the images both have, a codec at the bits of the other side; or say what to run."""
        lacking = [point for point in (claim.left, right) if not len(_rows(self.rates, point))]
        if lacking:
            return Measured(missing="; ".join(_remedy(point) for point in lacking))
        sides = [values(self.rates, point, metric) for point in (claim.left, right)]
        for n, (point, other) in enumerate(((claim.left, right), (right, claim.left))):
            if point.codec:
                sides[n] = at_bits(self.rates, point.codec, metric, values(self.rates, other, "bits"))
        both = paired(*sides)
        if not len(both):
            return Measured(missing=f"{self.metric_title(claim, metric)}: no picture has both")
        return compare(self.report, both[:, 0], both[:, 1], claim.kind)

    def title(self, side: OperatingPoint) -> str:
        """Return ``HFGI``, ``HFGI (codes 0.5, memory 2)`` or ``JPEG at these bits``."""
        if side.codec:
            return f"{CODEC_TITLES.get(side.codec, side.codec)} at these bits"
        title = title_of(self.report, *parse_label(side.row), side.form)
        codes = side.codes or 0.0
        if not (codes or side.memory or side.pool > 1):
            return title
        point = {"form": side.form, "codes_step": codes, "memory_step": side.memory, "pool": side.pool}
        return f"{title} ({describe_point(point)})"

    def metric_title(self, claim: RateClaim, metric: str) -> str:
        """Return ``Bits``, ``MAE``, ``MAE, edits`` or ``MAE, added by edits``."""
        if metric == "bits":
            return "Bits"
        title = self.report.metric(metric.removeprefix(EDIT).removeprefix(OVER)).title
        if metric.startswith(EDIT):
            return f"{title}, edits"
        return f"{title}, added by edits" if metric.startswith(OVER) else title

    def higher_is_better(self, metric: str) -> bool:
        """Return the direction of a metric."""
        return self.report.metric(metric.removeprefix(EDIT).removeprefix(OVER)).higher_is_better


def values(rates: Rates, point: OperatingPoint, measure: str) -> pd.Series:
    """Values by image id, and by edit too where the measure is of edits."""
    import pandas as pd

    rows = _rows(rates, point)
    metric = measure.removeprefix(EDIT).removeprefix(OVER)
    rows = rows[rows["metric"] == metric]
    own = rows[rows["task"] != "edit"].set_index("image_id")["value"]
    if metric == measure:
        return own
    edits = rows[rows["task"] == "edit"].set_index(["image_id", "edit"])["value"]
    if measure.startswith(EDIT):
        return edits
    return edits - pd.Series(own.reindex(edits.index.get_level_values("image_id")).to_numpy(), edits.index)


def paired(left: pd.Series, right: pd.Series) -> np.ndarray:
    """(N, 2): pictures both have, means over the edits both have."""
    import pandas as pd

    both = pd.DataFrame({"left": left, "right": right}).dropna()
    return both.groupby(level="image_id").mean().to_numpy() if len(both) else np.empty((0, 2))


def at_bits(rates: Rates, codec: str, measure: str, bits: pd.Series) -> pd.Series:
    """A codec's measure by image id where its files take as many bits; NaN beyond its qualities."""
    import pandas as pd

    rows = rates.rows[(rates.rows["form"] == FILE) & (rates.rows["method"] == codec)]
    found = {}
    for image_id, wanted in bits.items():
        one = rows[rows["image_id"] == image_id]
        size = one[one["metric"] == "bits"].set_index("codes_step")["value"]
        loss = one[one["metric"] == measure].set_index("codes_step")["value"].reindex(size.index)
        order = np.argsort(size.to_numpy())
        if not len(order):
            continue
        x, y = np.log(size.to_numpy()[order]), loss.to_numpy()[order]
        found[image_id] = float(np.interp(math.log(wanted), x, y, left=math.nan, right=math.nan))
    return pd.Series(found, dtype=float).rename_axis("image_id")


def _rows(rates: Rates, point: OperatingPoint) -> pd.DataFrame:
    rows = rates.rows
    if point.codec:
        return rows[(rows["form"] == FILE) & (rows["method"] == point.codec)]
    method, variant = parse_label(point.row)
    chosen = (rows["method"] == method) & (rows["variant"] == variant) & (rows["form"] == point.form)
    chosen &= (rows["memory_step"] == point.memory) & (rows["pool"] == point.pool)
    codes = 0.0 if point.codes is None and not point.memory else point.codes
    return rows[chosen if codes is None else chosen & (rows["codes_step"] == codes)]


def _remedy(point: OperatingPoint) -> str:
    if point.codec:
        return f"`bench rate --codec {point.codec}`"
    method, variant = parse_label(point.row)
    where = f", {point.form}, memory {point.memory:g}" if point.memory or point.form != KEPT else ""
    return f"`{point.row}`{where}: `bench rate --method {method}{f' --ablation {variant}' if variant else ''}`"
