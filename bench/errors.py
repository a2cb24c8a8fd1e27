"""Errors a user can act on: what went wrong, what came, what was expected, how to fix it.

Lower layers raise :class:`BenchError`; the command line prints it as one line and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


def one_line(error: ValidationError, most: int = 3) -> str:
    """The first few problems pydantic found, as ``key: problem``."""
    problems = [f"{'.'.join(str(p) for p in e['loc']) or 'file'}: {e['msg'].lower()}" for e in error.errors()]
    more = f" and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problems[:most]) + more


def message_of(error: BaseException, most: int | None = None) -> str:
    """The message of an exception in one line, at most ``most`` characters; its type's name where it has no message."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:most]


def typed_message_of(error: BaseException, most: int | None = None) -> str:
    """``ValueError: its message`` in one line, at most ``most`` characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:most]


def name_some(ids: Iterable[str], most: int = 10) -> str:
    """``a, b, c and 5 more``: the first ids and the number of the rest."""
    ids = list(ids)
    return ", ".join(ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")


def duplicates(ids: Sequence[str]) -> list[str]:
    """Ids that occur more than once, each named once, in order of first repetition."""
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for image_id in ids:
        if image_id in seen:
            twice[image_id] = None
        seen.add(image_id)
    return list(twice)


class BenchError(Exception):
    """A mistake or a circumstance the user can mend.

    Args:
        what: what could not be done, naming the thing (file, id, option).
        got: what was found instead, if that helps.
        expected: what would have been right.
        fix: the command or edit that mends it.
    """

    exit_code = 2

    def __init__(self, what: str, *, got: object = None, expected: object = None, fix: str | None = None):
        self.what, self.got, self.expected, self.fix = what, got, expected, fix
        end = "" if fix and fix.endswith("?") else "."
        parts = [what.rstrip(".")]
        if got is not None:
            parts.append(f"got {got}")
        if expected is not None:
            parts.append(f"expected {expected}")
        line = "; ".join(parts) + "."
        super().__init__(line + (f" Fix: {fix.rstrip('.')}{end}" if fix else ""))

    def __reduce__(self):  # keep the fields when a worker process sends the error back
        return _rebuild, (type(self), self.what, self.got, self.expected, self.fix)


def _rebuild(cls, what, got, expected, fix):
    return cls(what, got=got, expected=expected, fix=fix)


class DataError(BenchError):
    """A picture or manifest is missing, damaged or not what it claims to be."""


class WeightsError(BenchError):
    """A weight file is missing, has the wrong hash or the wrong layout."""


class ShapeError(BenchError):
    """A tensor has the wrong shape; nothing is broadcast to make it fit."""


class UnknownName(BenchError):
    """A name that no registry knows; the message offers the nearest ones."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> UnknownName:
        """Make the error of an unknown name: it lists the known names and suggests the nearest."""
        known = sorted(known)
        close = suggest(name, known)
        listing = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
        hint = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
        return cls(
            f"unknown {kind} {name!r}",
            expected=f"one of: {listing or '(there are none)'}",
            fix=f"{hint}`bench ls` shows all",
        )


def suggest(name: str, known: Iterable[str], n: int = 2) -> list[str]:
    """The up to ``n`` known names closest in spelling to ``name``."""
    return difflib.get_close_matches(name, list(known), n=n, cutoff=0.5)
