"""Judges of attributes by name: whatever reads numbers off a picture (smile, age, ...), behind one signature.

A judge of a project or of another package is a class, found as methods are (bench/registry.py): ``judges/smile.py``
with ``class Judge(api.Judge)`` is the judge ``smile``. The judges below, and those that a program enters with
:func:`source`, are functions ``load(root, device)`` that return a reader, pictures (B, 3, R, R) in [-1, 1]
-> {attribute: (B,)}::

    @source("my_classifier", domains=["faces"], weights=["my_classifier"])
    def load(root, device):
        net = ...
        return lambda pictures: {"smile": net(pictures)}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import registry
from bench.errors import BenchError, UnknownName
from bench.files import file_sha256
from bench.weights import manifest as weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Read = Callable[[Tensor], dict[str, Tensor]]
    Load = Callable[[Path, torch.device], Read]


@dataclass(frozen=True)
class Source:
    """An entry of the registry.

    Args:
        domains: those it was made for. weights: ids of its weights. load: builds its reader.
        code: the file it comes from, where it is not one of this suite. error: why it cannot be used.
    """

    domains: tuple[str, ...]
    weights: tuple[str, ...]
    load: Load
    code: Path | None = None
    error: BenchError | None = None


SOURCES: dict[str, Source] = {}


def source(name: str, domains: Sequence[str], weights: Sequence[str] = ()) -> Callable[[Load], Load]:
    """Enter a function as the judge ``name``; BenchError if there is one of this name."""

    def enter(load: Load) -> Load:
        if name in SOURCES:
            raise BenchError(f"judge {name!r} is defined twice", fix="rename one")
        SOURCES[name] = Source(tuple(domains), tuple(weights), load)
        return load

    return enter


def known(root: Path) -> dict[str, Source]:
    """All judges by name, those of the suite first; a project's are imported when they are built."""
    plugins, sources = registry.attribute_predictors(root), dict(SOURCES)
    for name, entry in plugins.entries().items():
        error, about = None, {"domains": (), "weights": ()}
        try:
            if name in SOURCES:
                raise BenchError(f"judge {name!r} is defined twice", got=entry.where, fix="rename the file")
            about = {key: tuple(plugins.attribute(name, key, ())) for key in about}
        except BenchError as reason:
            error = reason
        sources[name] = Source(**about, load=_loader(plugins, name), code=entry.path, error=error)
    return sources


def _loader(plugins: registry.Registry, name: str) -> Load:
    return lambda root, device: plugins.load(name)(root, device)


def names(root: Path, domain: str) -> list[str]:
    """Judges made for a domain, the one taken without a name first.

    Raises:
        BenchError: a judge's file cannot be read, so that it is not known what it is made for.
    """
    every = known(root)
    if broken := next((entry.error for entry in every.values() if entry.error), None):
        raise broken
    return sorted((n for n, entry in every.items() if domain in entry.domains), key=lambda n: (n not in SOURCES, n))


def load_predictor(root: Path, domain: str, device: torch.device, name: str = "") -> tuple[Read, dict[str, str]]:
    """A judge's reader, and id -> SHA-256 of its weights and, for one that is not of this suite, of its file.

    Args:
        name: "" takes the first one made for the domain.
    Raises:
        UnknownName: no such judge. BenchError: none for the domain, the one named is for others, or its file cannot
            be imported.
    """
    every = known(root)
    if name and name not in every:
        raise UnknownName.of("judge of attributes", name, every)
    if name and (error := every[name].error):
        raise error
    able = sorted(n for n, entry in every.items() if domain in entry.domains) if name else names(root, domain)
    if not able or (name and name not in able):
        raise BenchError(
            f"no judge of attributes for domain {domain!r}" if not name else f"judge {name!r} is not for {domain!r}",
            expected=f"one of: {', '.join(able) or '(none is made for this domain)'}",
            fix="write one as judges/NAME.py (docs/editing.md)",
        )
    entry = every[name or able[0]]
    used = weights.needed(root, domain, {domain: list(entry.weights)}) if entry.weights else {}
    made_of = {i: used[i] for i in entry.weights}
    if entry.code is not None:
        made_of[f"judges/{entry.code.name}"] = file_sha256(entry.code)
    return entry.load(root, device), made_of


def _regressor(weights_id: str) -> Load:
    """What loads a regressor of this repository as a judge."""

    def load(root: Path, device: torch.device) -> Read:
        from bench.nets.regressor import reader_from

        state, meta = weights.load_with_meta(root, weights_id)
        return reader_from(state, meta["factors"], f"weights {weights_id!r}", device).factors

    return load


# Directions are learned from the labels of the first; edits are judged by the second, which labelled none.
for _name in ("annyfaces_regressor", "annyfaces_regressor_eval"):
    source(_name, domains=["annyfaces"], weights=[_name])(_regressor(_name))
