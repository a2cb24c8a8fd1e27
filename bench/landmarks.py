"""Landmark sources by name: whatever finds the 68 points of a face in a picture, behind one signature.

A source is a function ``load(context, weights_id)`` that returns a detector, pictures (B, 3, R, R) in [-1, 1] -> points
(B, 68, 2), (column, row) in pixels, where (0, 0) is the centre of the first pixel. It is entered with :func:`source`::

    @source("my_landmarks", domains=["faces"])
    def load(context, weights_id):
        net = ...(context.load_weights(weights_id))
        return lambda pictures: net(pictures)

Order of the points: that of the 300-W annotation (jaw, brows, nose, eyes, lips). A method takes the name of a source
as its option ``landmarks``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.api import BenchError, Context, ShapeError, UnknownName

if TYPE_CHECKING:
    from torch import Tensor

    Detector = Callable[[Tensor], Tensor]
    Load = Callable[[Context, str], Detector]

POINTS = 68


@dataclass(frozen=True)
class Source:
    """An entry of the registry: domains it was made for, and what builds its detector."""

    domains: tuple[str, ...]
    load: Load


SOURCES: dict[str, Source] = {}


def source(name: str, domains: Sequence[str]) -> Callable[[Load], Load]:
    """Enter a function as the landmark source ``name``; BenchError if there is one of this name."""

    def enter(load: Load) -> Load:
        if name in SOURCES:
            raise BenchError(f"landmark source {name!r} is defined twice", fix="rename one")
        SOURCES[name] = Source(tuple(domains), load)
        return load

    return enter


def names(domain: str) -> list[str]:
    """Sources made for a domain."""
    return sorted(name for name, entry in SOURCES.items() if domain in entry.domains)


def unfit(name: str, domain: str) -> list[str]:
    """Why the source named by an option cannot serve a domain; empty where it can, or none is named."""
    if name not in SOURCES or domain in SOURCES[name].domains:
        return []
    return [f"landmark source {name!r} is made for {', '.join(SOURCES[name].domains)}"]


def detector(context: Context, name: str, weights_id: str = "", untrained: bool = False) -> Detector:
    """The detector of a source, its results checked.

    Args:
        untrained: a network with seeded start values for the source's, on any domain, as with other weights.
    Raises:
        BenchError: no name, or a source made for other domains. UnknownName: no such source.
        ShapeError (when called): not 68 points for each picture.
    """
    able = names(context.domain)
    if not name:
        raise BenchError(
            f"no landmark source is named for domain {context.domain!r}",
            expected=f"one of: {', '.join(able) or '(none is made for this domain)'}",
            fix="`--set landmarks=NAME`",
        )
    if name not in SOURCES:
        raise UnknownName.of("landmark source", name, SOURCES)
    if name not in able and not untrained:
        raise BenchError(
            f"landmark source {name!r} is not made for domain {context.domain!r}",
            got=f"domains {', '.join(SOURCES[name].domains)}",
            expected=f"one of: {', '.join(able) or '(none is made for this domain)'}",
        )
    find = (_untrained if untrained else SOURCES[name].load)(context, weights_id)

    def checked(pictures: Tensor) -> Tensor:
        points = find(pictures)
        if tuple(points.shape) != (len(pictures), POINTS, 2):
            raise ShapeError(
                f"landmark source {name!r} gives other points",
                got=tuple(points.shape),
                expected=f"({len(pictures)}, {POINTS}, 2)",
            )
        return points

    return checked


def _untrained(context: Context, weights_id: str) -> Detector:
    """A small network with the same start values everywhere: a fixed layout of points, each moved by the picture."""
    import torch

    from bench.nets.regressor import Reader, Regressor
    from bench.nets.statedict import seeded

    side, number = 32, torch.arange(POINTS)
    net = seeded(lambda: Regressor(side, (8, 12), (1, 1), 1)).to(context.device)
    reach, turn = 0.3 * side * ((number + 0.5) / POINTS).sqrt(), 2.4 * number  # a spiral: no two coincide
    layout = side / 2 + reach[:, None] * torch.stack([turn.cos(), turn.sin()], 1)
    mean = torch.cat([torch.zeros(1), layout.flatten()]).to(context.device)
    read = Reader(net, ("",), mean, torch.ones_like(mean), side).read
    return lambda pictures: read(pictures)[1]


@source("annyfaces_regressor", domains=["annyfaces"])
def _annyfaces(context: Context, weights_id: str) -> Detector:
    """The regressor trained here on ground-truth landmarks; ``weights_id`` must be named so that a run records it."""
    from bench.nets.regressor import reader_from

    if not weights_id:
        raise BenchError(
            "landmark source 'annyfaces_regressor' needs its weights named",
            fix="`--set landmark_weights=annyfaces_regressor`",
        )
    read = reader_from(context.load_weights(weights_id), (), f"weights {weights_id!r}", context.device).read
    return lambda pictures: read(pictures)[1]
