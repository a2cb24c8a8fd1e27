"""Judges of attributes by name: whatever reads numbers off a picture (smile, age, ...), behind one signature.

A judge is a function ``load(root, device)`` that returns a reader, pictures (B, 3, R, R) in [-1, 1]
-> {attribute: (B,)}. It is entered, with the weights it uses, by :func:`source`::

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

from bench import weights
from bench.errors import BenchError, UnknownName

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Read = Callable[[Tensor], dict[str, Tensor]]
    Load = Callable[[Path, torch.device], Read]


@dataclass(frozen=True)
class Source:
    """An entry of the registry: domains it was made for, ids of its weights, and what builds its reader."""

    domains: tuple[str, ...]
    weights: tuple[str, ...]
    load: Load


SOURCES: dict[str, Source] = {}


def source(name: str, domains: Sequence[str], weights: Sequence[str] = ()) -> Callable[[Load], Load]:
    """Enter a function as the judge ``name``; BenchError if there is one of this name."""

    def enter(load: Load) -> Load:
        if name in SOURCES:
            raise BenchError(f"judge {name!r} is defined twice", fix="rename one")
        SOURCES[name] = Source(tuple(domains), tuple(weights), load)
        return load

    return enter


def judge(root: Path, domain: str, device: torch.device, name: str = "") -> tuple[Read, dict[str, str]]:
    """A judge's reader and its weights, id -> SHA-256.

    Args:
        name: "" takes the first one made for the domain.
    Raises:
        UnknownName: no such judge. BenchError: none for the domain, or the one named is for others.
    """
    able = sorted(n for n, entry in SOURCES.items() if domain in entry.domains)
    if name and name not in SOURCES:
        raise UnknownName.of("judge of attributes", name, SOURCES)
    if not able or (name and name not in able):
        raise BenchError(
            f"no judge of attributes for domain {domain!r}" if not name else f"judge {name!r} is not for {domain!r}",
            expected=f"one of: {', '.join(able) or '(none is made for this domain)'}",
            fix="enter one with bench.attributes.source",
        )
    entry = SOURCES[name or able[0]]
    manifest = weights.read_manifest(root)
    return entry.load(root, device), {i: manifest.entry(i).sha256 for i in entry.weights}


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
