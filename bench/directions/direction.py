"""What an edit does to codes: one class for all kinds of directions, and no picture in sight.

Two rules. ``add``: ``w + degree * vector`` on the chosen rows (InterFaceGAN, SeFa). ``set``: the coordinate along
the vector *becomes* ``degree`` (GANSpace as e4e and HFGI released it): with c = <w_0 - mean, v> / std of row 0,
``w + (degree - c) * std * v`` on the chosen rows. So degree 0 edits nothing under ``add``, and something under ``set``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

RULES = ("add", "set")


@dataclass(frozen=True)
class Direction:
    """A direction in W or W+.

    Args:
        name: of the edit.
        vector: (D,) for all rows, or (L, D) with one for each.
        rule: "add" or "set", see the module.
        rows: first and one past the last row it moves; None for all.
        mean, std: (D,) and a number, of the rule "set".
        about: what else is known (method, domain, unit), for records.
    """

    name: str
    vector: Tensor
    rule: str = "add"
    rows: tuple[int, int] | None = None
    mean: Tensor | None = None
    std: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise BenchError(f"direction {self.name!r} has an unknown rule", got=self.rule, expected=" or ".join(RULES))
        if self.vector.ndim not in (1, 2):
            raise ShapeError(
                f"direction {self.name!r} is no vector", got=tuple(self.vector.shape), expected="(D,) or (L, D)"
            )
        if self.rule == "set" and (self.mean is None or self.std is None or self.vector.ndim != 1):
            raise BenchError(f"direction {self.name!r} cannot set a coordinate", expected="(D,), a mean and a std")

    def on_rows(self, rows: tuple[int, int] | None) -> Direction:
        """The same direction on other rows; None keeps its own."""
        return self if rows is None else replace(self, rows=rows)

    def check(self, n_latent: int, style_dim: int) -> None:
        """Refuse codes it was not made for.

        Raises:
            ShapeError: another space (rows or length). BenchError: rows that the code does not have.
        """
        shape = tuple(self.vector.shape)
        if shape not in ((style_dim,), (n_latent, style_dim)):
            raise ShapeError(
                f"direction {self.name!r} is of another space than the generator",
                got=shape,
                expected=f"({style_dim},) or ({n_latent}, {style_dim})",
                fix="take a direction made for this domain",
            )
        first, last = self.rows or (0, n_latent)
        if not 0 <= first < last <= n_latent:
            raise BenchError(
                f"direction {self.name!r} moves rows the code does not have",
                got=f"{first}:{last}",
                expected=f"rows within 0:{n_latent}",
                fix="correct --rows",
            )

    def apply(self, w_plus: Tensor, degree: float) -> Tensor:
        """(B, L, D) codes -> edited ones; the input is left alone.

        Raises:
            ShapeError: codes of another space. BenchError: a degree that is not finite.
        """
        self.check(w_plus.shape[1], w_plus.shape[2])
        if not math.isfinite(degree):
            raise BenchError(f"direction {self.name!r} cannot be applied", got=f"degree {degree}", expected="a number")
        first, last = self.rows or (0, w_plus.shape[1])
        vector = self.vector.to(w_plus)
        edited = w_plus.clone()
        if self.rule == "add":
            edited[:, first:last] += degree * (vector if vector.ndim == 1 else vector[first:last])
            return edited
        assert self.mean is not None and self.std is not None
        coordinate = (w_plus[:, 0] - self.mean.to(w_plus)) @ vector / self.std
        edited[:, first:last] += ((degree - coordinate) * self.std)[:, None, None] * vector
        return edited
