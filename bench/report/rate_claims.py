"""The paper's argument on rate, distortion and edits, tested on points: results/reference/rate_claims.yaml."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench.analysis.statistics import CONFIDENCE
from bench.files import read_yaml
from bench.names import parse_label
from bench.report.claims import FAILS, HOLDS, MISSING, UNDECIDED, Measured, compared, verdict
from bench.report.claims import told as line_of
from bench.report.layout import Cell, Table
from bench.report.material import Material
from bench.report.rate_points import Rates, title_of, told
from bench.store.rate import CODEC_TITLES, EDIT, FILE, KEPT, OVER

if TYPE_CHECKING:
    import pandas as pd

CLAIMS_FILE = "rate_claims.yaml"


class Spot(BaseModel):
    """An operating point: of a row of the tables, its own inversion with numbers as they are unless said otherwise.

    Args:
        row: method or method.variant. form, codes, memory, pool: as in the results; codes null where memory says all.
        codec: one of ``bench rate --codec``, at the bits of the other side, picture by picture; then nothing else.
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
    def _one_of_both(self) -> Spot:
        if bool(self.row) == bool(self.codec):
            raise ValueError("give a row or a codec")
        return self


class RateClaim(BaseModel):
    """One statement; see the head of rate_claims.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    source: str
    left: Spot
    right: list[Spot] = Field(min_length=1)
    measures: list[str] = Field(min_length=1)
    kind: Literal["difference", "ratio"] = "difference"
    expect: Literal["better", "worse"] | tuple[float | None, float | None]

    @field_validator("right", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return value if isinstance(value, list) else [value]

    @model_validator(mode="after")
    def _sensible(self) -> RateClaim:
        if isinstance(self.expect, str) and self.kind != "difference":
            raise ValueError(f"expect {self.expect!r} belongs to kind difference; give [low, high]")
        return self


class RateClaims(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paper: str
    claims: list[RateClaim] = Field(min_length=1)


def read_rate_claims(path: Path) -> RateClaims:
    """Raises DataError: missing, or breaks a rule; the message names the key."""
    return read_yaml(path, RateClaims, fix="restore the file from the repository")


def argument(material: Material, dataset: str, rates: Rates, path: Path) -> tuple[list[str], Table]:
    """Where the argument holds: a line of text for each statement; a table with a line for each comparison."""
    claims, words, groups = read_rate_claims(path), [], []
    for claim in claims.claims:
        rows, verdicts = [], []
        for measure in claim.measures:
            for right in claim.right:
                expected = _expected(material, claim, measure)
                found = measured(material, rates, claim, right, measure)
                word = verdict(found, *expected)
                verdicts.append(word)
                sign = " − " if claim.kind == "difference" else " / "
                head = [sign.join(_title(material, spot) for spot in (claim.left, right)), _measure(material, measure)]
                rows.append([Cell(text) for text in [*head, *line_of(found, expected, word)]])
        groups.append((f"{claim.text}. {claim.source}.", rows))
        words.append(verdicts)
    short = [f"- {in_short(found)}: {one.text}." for one, found in zip(claims.claims, words, strict=True)]
    caption = (
        f"{claims.paper}. Dataset `{dataset}`: {_counted(sum(words, []))}. A line holds when the whole {CONFIDENCE:.0%} "
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
    heads = ["Comparison", "Measure", "Measured", "95 % interval", "Expected", "n", "Verdict"]
    label = f"tab:{dataset}-rate-argument"
    return short, Table("Where the argument holds, line by line", caption, heads, groups, notes, label=label)


def in_short(verdicts: Sequence[str]) -> str:
    """Of all lines of a statement: one word where they agree, as far as they are measured; else how many say what."""
    found = [word for word in verdicts if word != MISSING] or [MISSING]
    return f"**{found[0]}**" if len(set(found)) == 1 else f"mixed ({_counted(found)})"


def _counted(verdicts: Sequence[str]) -> str:
    return ", ".join(f"{n} {word}" for word in (HOLDS, FAILS, UNDECIDED, MISSING) if (n := verdicts.count(word)))


def measured(material: Material, rates: Rates, claim: RateClaim, right: Spot, measure: str) -> Measured:
    """The value behind one line; of a codec at the bits of the other side."""
    lacking = [spot for spot in (claim.left, right) if not len(_rows(rates, spot))]
    if lacking:
        return Measured(missing="; ".join(_remedy(spot) for spot in lacking))
    sides = [values(rates, spot, measure) for spot in (claim.left, right)]
    for n, (spot, other) in enumerate(((claim.left, right), (right, claim.left))):
        if spot.codec:
            sides[n] = at_bits(rates, spot.codec, measure, values(rates, other, "bits"))
    both = paired(*sides)
    if not len(both):
        return Measured(missing=f"{_measure(material, measure)}: no picture has both")
    return compared(material, both[:, 0], both[:, 1], claim.kind)


def values(rates: Rates, spot: Spot, measure: str) -> pd.Series:
    """Values by image id, and by edit too where the measure is of edits."""
    import pandas as pd

    rows = _rows(rates, spot)
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


def _rows(rates: Rates, spot: Spot) -> pd.DataFrame:
    rows = rates.rows
    if spot.codec:
        return rows[(rows["form"] == FILE) & (rows["method"] == spot.codec)]
    method, variant = parse_label(spot.row)
    chosen = (rows["method"] == method) & (rows["variant"] == variant) & (rows["form"] == spot.form)
    chosen &= (rows["memory_step"] == spot.memory) & (rows["pool"] == spot.pool)
    codes = 0.0 if spot.codes is None and not spot.memory else spot.codes
    return rows[chosen if codes is None else chosen & (rows["codes_step"] == codes)]


def _expected(material: Material, claim: RateClaim, measure: str) -> tuple[float, float]:
    if isinstance(claim.expect, str):
        higher = material.metric(measure.removeprefix(EDIT).removeprefix(OVER)).higher_is_better
        return (0.0, math.inf) if (claim.expect == "better") == higher else (-math.inf, 0.0)
    low, high = claim.expect
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def _title(material: Material, spot: Spot) -> str:
    if spot.codec:
        return f"{CODEC_TITLES.get(spot.codec, spot.codec)} at these bits"
    title = title_of(material, *parse_label(spot.row), spot.form)
    codes = spot.codes or 0.0
    if not (codes or spot.memory or spot.pool > 1):
        return title
    return f"{title} ({told({'form': spot.form, 'codes_step': codes, 'memory_step': spot.memory, 'pool': spot.pool})})"


def _measure(material: Material, measure: str) -> str:
    if measure == "bits":
        return "Bits"
    title = material.metric(measure.removeprefix(EDIT).removeprefix(OVER)).title
    if measure.startswith(EDIT):
        return f"{title}, edits"
    return f"{title}, added by edits" if measure.startswith(OVER) else title


def _remedy(spot: Spot) -> str:
    if spot.codec:
        return f"`bench rate --codec {spot.codec}`"
    method, variant = parse_label(spot.row)
    point = f", {spot.form}, memory {spot.memory:g}" if spot.memory or spot.form != KEPT else ""
    return f"`{spot.row}`{point}: `bench rate --method {method}{f' --ablation {variant}' * bool(variant)}`"
