"""Landmark sources by name: whatever finds the 68 points of a face in a picture, behind one signature.

A source of a project or of another package is a class, found as methods are (bench/registry.py): ``landmarks/mine.py``
with ``class Landmarks(api.Landmarks)`` is the source ``mine``. The sources below, and those that a program enters with
:func:`source`, are functions ``load(context, weights_id)`` that return a detector, pictures (B, 3, R, R) in [-1, 1]
-> points (B, 68, 2), (column, row) in pixels, where (0, 0) is the centre of the first pixel::

    @source("my_landmarks", domains=["faces"])
    def load(context, weights_id):
        net = ...(context.load_weights(weights_id))
        return lambda pictures: net(pictures)

Order of the points: that of the 300-W annotation (jaw, brows, nose, eyes, lips). A method takes the name of a source
as its option ``landmarks``, a mapping domain -> name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.api import BenchError, Context, ShapeError, UnknownName

if TYPE_CHECKING:
    from torch import Tensor

    from bench.registry import Registry

    Detector = Callable[[Tensor], Tensor]
    Load = Callable[[Context, str], Detector]

POINTS = 68


@dataclass(frozen=True)
class Source:
    """An entry of the registry: domains it was made for, what builds its detector, why it cannot be used."""

    domains: tuple[str, ...]
    load: Load
    error: BenchError | None = None


SOURCES: dict[str, Source] = {}


def source(name: str, domains: Sequence[str]) -> Callable[[Load], Load]:
    """Enter a function as the landmark source ``name``; BenchError if there is one of this name."""

    def enter(load: Load) -> Load:
        if name in SOURCES:
            raise BenchError(f"landmark source {name!r} is defined twice", fix="rename one")
        SOURCES[name] = Source(tuple(domains), load)
        return load

    return enter


def plugged(known: Registry) -> dict[str, Source]:
    """Sources of a project's files and of other packages; a class is imported when its detector is made."""
    plugins = {}
    for name, entry in known.entries().items():
        error, domains = None, ()
        try:
            if name in SOURCES:
                raise BenchError(f"landmark source {name!r} is defined twice", got=entry.where, fix="rename the file")
            domains = tuple(known.attribute(name, "domains", ()))
        except BenchError as reason:
            error = reason
        plugins[name] = Source(domains, _loader(known, name), error)
    return plugins


def chosen(options: Mapping[str, Any], domain: str) -> str:
    """The name that a method's option ``landmarks`` holds for a domain, or ""."""
    value = options.get("landmarks", "")
    return str(value.get(domain, "") if isinstance(value, Mapping) else value)


def _loader(known: Registry, name: str) -> Load:
    return lambda context, weights_id: known.load(name)(context, weights_id)


def names(domain: str, plugged: Mapping[str, Source] | None = None) -> list[str]:
    """Sources made for a domain: the suite's and, where they are given, a project's."""
    return sorted(name for name, entry in {**SOURCES, **(plugged or {})}.items() if domain in entry.domains)


def unfit(name: str, domain: str, plugged: Mapping[str, Source] | None = None) -> list[str]:
    """Why the source named by an option cannot serve a domain; empty where it can, or none is named."""
    known = {**SOURCES, **(plugged or {})}
    if name not in known or domain in known[name].domains:
        return []
    if error := known[name].error:
        return [str(error)]
    return [f"landmark source {name!r} is made for {', '.join(known[name].domains)}"]


def detector(context: Context, name: str, weights_id: str = "", untrained: bool = False) -> Detector:
    """The detector of a source, its results checked.

    Args:
        untrained: a network with seeded start values for the source's, on any domain and without a name, as with other
            weights.
    Raises:
        BenchError: no name, a source made for other domains, or one whose file cannot be imported. UnknownName: no
            such source. ShapeError (when called): not 68 points for each picture.
    """
    known = {**SOURCES, **context.landmark_sources()}
    able = sorted(n for n, entry in known.items() if context.domain in entry.domains)
    if untrained and not name:
        name = sorted(SOURCES)[0]
    if not name:
        raise BenchError(
            f"no landmark source is named for domain {context.domain!r}",
            expected=f"one of: {', '.join(able) or '(none is made for this domain)'}",
            fix=f"`--set 'landmarks={{{context.domain}: NAME}}'`",
        )
    if name not in known:
        raise UnknownName.of("landmark source", name, known)
    if error := known[name].error:
        raise error
    if name not in able and not untrained:
        raise BenchError(
            f"landmark source {name!r} is not made for domain {context.domain!r}",
            got=f"domains {', '.join(known[name].domains)}",
            expected=f"one of: {', '.join(able) or '(none is made for this domain)'}",
        )
    find = (_untrained if untrained else known[name].load)(context, weights_id)

    def checked(images: Tensor) -> Tensor:
        points = find(images)
        if tuple(points.shape) != (len(images), POINTS, 2):
            raise ShapeError(
                f"landmark source {name!r} gives other points",
                got=tuple(points.shape),
                expected=f"({len(images)}, {POINTS}, 2)",
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
    return lambda images: read(images)[1]


@source("annyfaces_regressor", domains=["annyfaces"])
def _annyfaces(context: Context, weights_id: str) -> Detector:
    """The regressor trained here on ground-truth landmarks; ``weights_id`` must be named so that a run records it."""
    from bench.nets.regressor import reader_from

    if not weights_id:
        raise BenchError(
            "landmark source 'annyfaces_regressor' needs its weights named",
            fix="`--set 'landmark_weights={annyfaces: annyfaces_regressor}'`",
        )
    read = reader_from(context.load_weights(weights_id), (), f"weights {weights_id!r}", context.device).read
    return lambda images: read(images)[1]


@source("insightface_68", domains=["faces"])
def _photographs(context: Context, weights_id: str) -> Detector:
    """insightface's 3D landmark network on aligned photographs; ``weights_id`` names the pack it is a part of."""
    from bench.nets.face_landmarks import FaceLandmarks

    if not weights_id:
        raise BenchError(
            "landmark source 'insightface_68' needs its weights named",
            fix="`--set 'landmark_weights={faces: arcface_buffalo_l}'`",
        )
    return FaceLandmarks(context.weights_file(weights_id, "landmarks"))
