"""Is this the file it is meant to be? Keys, shapes, training options and mean code against what is expected.

Nothing is loaded loosely: a missing key would leave a random tensor behind without a word.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.errors import WeightsError, name_some
from bench.weights import layouts
from bench.weights.layouts import COUNTER, Layout, Shape
from bench.weights.listing import Part, Published

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 4  # keys named per kind of difference
MEAN = "latent_avg"


@dataclass
class LayoutDiff:
    """How a file's tensors differ from a layout; keys as they stand in the file."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shapes: list[tuple[str, Shape, Shape]] = field(default_factory=list)  # key, in the file, expected

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shapes)

    def __str__(self) -> str:
        """One readable line: ``2 missing (a, b); 1 unexpected (c); 1 of another shape (d is (3,), not (4,))``."""
        wrong = [f"{key} is {got}, not {want}" for key, got, want in self.shapes]
        groups = (("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", wrong))
        return "; ".join(f"{len(keys)} {what} ({name_some(keys, SHOWN)})" for what, keys in groups if keys)


def compare_layout(shapes: Mapping[str, Shape], want: Layout, prefix: str = "") -> LayoutDiff:
    """Keys and shapes of a part (names without prefix) against its layout. Counters may be absent."""
    diff = LayoutDiff()
    diff.missing = [prefix + key for key in want if key not in shapes and not key.endswith(COUNTER)]
    diff.unexpected = [prefix + key for key in shapes if key not in want]
    diff.shapes = [
        (prefix + key, tuple(got), want[key]) for key, got in shapes.items() if key in want and tuple(got) != want[key]
    ]
    return diff


def section(content: Mapping[str, Any], at: str, what: str) -> Mapping[str, Any]:
    """The dict under a top-level key ("" = all), or an error that lists the keys there are."""
    if not at:
        return content
    if at not in content:
        raise WeightsError(
            f"{what} has no {at!r}", got=f"keys {name_some(sorted(map(str, content)), 8)}", fix="is it another file?"
        )
    section_content = content[at]
    return section_content if isinstance(section_content, Mapping) else {at: section_content}


def part_tensors(content: Mapping[str, Any], part: Part, what: str) -> dict[str, Tensor]:
    """A part's tensors by their names without prefix, in the file's order."""
    import torch

    stored = section(content, part.at, what)
    taken = {str(k)[len(part.prefix) :]: v for k, v in stored.items() if str(k).startswith(part.prefix)}
    for skip in part.ignore:
        taken = {k: v for k, v in taken.items() if not k.startswith(skip)}
    for key, value in taken.items():
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
            raise WeightsError(f"{what}: {part.prefix}{key} is no plain tensor", got=type(value).__name__)
    return taken


def check_part(entry: Published, name: str, tensors: Mapping[str, Tensor], what: str) -> None:
    """Raise unless a part has exactly the tensors its layout wants.

    Raises:
        WeightsError: with the differences and, where it can be told, what the file is instead.
    """
    part = entry.parts[name]
    if not part.layout:
        return
    if part.layout == MEAN:
        check_mean(tensors, entry, what)
        return
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    diff = compare_layout(shapes, layouts.expected(part.layout, entry.size, part.args), part.prefix)
    if diff:
        raise WeightsError(
            f"{what} does not have the layout of {entry.id!r} ({name}): {_hint(diff, shapes, part, entry)}".rstrip(
                ": "
            ),
            got=str(diff),
            expected=f"{part.layout}" + (f" for a {entry.size} px generator" if entry.size else ""),
            fix="give the file under the id it belongs to (`bench ls weights`), or download it again",
        )


def check_mean(tensors: Mapping[str, Tensor], entry: Published, what: str) -> None:
    """The mean code may be (512,), (1, 512) or (n, 512)."""
    rows = layouts.n_styles(entry.size or 0)
    shape = tuple(tensors[MEAN].shape)
    if shape not in ((512,), (1, 512), (rows, 512)):
        other = shape[0] if len(shape) == 2 and shape[1] == 512 else None
        raise WeightsError(
            f"{what}: {MEAN} has the wrong shape" + (f"; {_wrong_size(other, entry)}" if other else ""),
            got=shape,
            expected=f"(512,), (1, 512) or ({rows}, 512)",
        )


def check_leftover(entry: Published, file: str, content: Mapping[str, Any], what: str) -> None:
    """Raise if a section holds keys that no part claims: a file with more networks than it should have."""
    parts = [part for name, part in entry.parts.items() if not part.raw and entry.file_of(name).name == file]
    for at in {part.at for part in parts}:
        if at and at not in content:  # an optional part; required ones are reported when they are taken
            continue
        claimed = [p.prefix for p in parts if p.at == at] + [i for p in parts if p.at == at for i in p.ignore]
        rest = [str(k) for k in section(content, at, what) if not str(k).startswith(tuple(claimed))]
        if rest:
            raise WeightsError(
                f"{what} holds more than {entry.id!r} has",
                got=f"{len(rest)} unexpected keys ({name_some(rest, SHOWN)})",
                expected=f"keys under {', '.join(p for p in claimed if p)}",
                fix="give the file under the id it belongs to (`bench ls weights`)",
            )


def options_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """The training options stored in a checkpoint; {} if it has none."""
    opts = content.get("opts", {})
    return vars(opts) if isinstance(opts, argparse.Namespace) else dict(opts) if isinstance(opts, Mapping) else {}


def check_options(entry: Published, opts: Mapping[str, Any], what: str, others: Iterable[Published] = ()) -> list[str]:
    """Raise if the file says it is something else; return remarks on what it does not say.

    Networks of different systems can have equal keys and shapes: only these options tell them apart.
    """
    notes = []
    for key, want in entry.opts.items():
        if isinstance(want, bool):
            _check_arithmetic(entry, key, want, opts.get(key, want), what)
        elif key not in opts:
            notes.append(f"the file's options name no {key}; {want!r} is taken on trust")
        elif opts[key] != want:
            fits = [o.id for o in others if o.opts.get(key) == opts[key] and o.size == entry.size]
            raise WeightsError(
                f"{what} is not {entry.id!r}: its options say {key} {opts[key]!r}",
                expected=repr(want),
                fix=f"give it as one of: {', '.join(fits)}" if fits else "download the right file",
            )
    return notes


def _check_arithmetic(entry: Published, key: str, want: bool, got: Any, what: str) -> None:
    """Networks trained under another option fit by key and shape, and would give wrong pictures without a word."""
    if bool(got) != want:
        raise WeightsError(
            f"{what} was trained with {key} {got!r}, which nothing here computes",
            expected=f"{key} {want!r}",
            fix=f"use a file trained with it, such as the published one of {entry.id!r} ({entry.source})",
        )


def file_size(shapes: Iterable[str]) -> int | None:
    """Side of the generator that a file's keys speak of, from colour layers or styles; None if they do not."""
    keys = list(shapes)
    blocks = {int(m[1]) for key in keys if (m := re.match(r"(?:.*\.)?to_rgbs\.(\d+)\.", key))}
    if blocks:
        return 8 << max(blocks)
    styles = {int(m[1]) for key in keys if (m := re.match(r"(?:.*\.)?styles\.(\d+)\.", key))}
    return layouts.size_of_styles(max(styles) + 1) if styles else None


def _wrong_size(styles: int, entry: Published) -> str:
    want = layouts.n_styles(entry.size or 0)
    size = layouts.size_of_styles(styles)
    return f"it was made for a {size} px generator ({styles} codes), not {entry.size} px ({want} codes)"


def _hint(diff: LayoutDiff, shapes: Mapping[str, Shape], part: Part, entry: Published) -> str:
    """What the differences mean, in words."""
    if not shapes:
        return f"it holds no {part.prefix or part.at or 'such'}... keys"
    size = file_size(shapes)
    if size and entry.size and size != entry.size and part.layout.endswith(("generator", "encoder")):
        return _wrong_size(layouts.n_styles(size), entry)
    noises = [key for key in diff.missing if "noises." in key]
    if noises and len(noises) == len(diff.missing):
        return "its noise maps are missing, so renders would differ from run to run"
    first = [got for key, got, _ in diff.shapes if key.endswith("input_layer.0.weight") or key.endswith("conv1.weight")]
    if first and len(first[0]) == 4:
        return f"its first layer takes {first[0][1]} channels"
    return ""
