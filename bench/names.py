"""Names of runs and hashes of configurations.

A run is a method (or a named variant of one) on a dataset: ``hfgi.no_ada-celeba_hq_1500``. Ids are lower-case words
with ``_``; ``.`` and ``-`` only join the parts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from bench.errors import BenchError

_ID = re.compile(r"[a-z0-9][a-z0-9_]*")


class RunName(NamedTuple):
    """The parts of a run id; ``variant`` is "" for the method as it is."""

    method: str
    variant: str
    dataset: str

    @property
    def label(self) -> str:
        """``method`` or ``method.variant``."""
        return label(self.method, self.variant)

    def __str__(self) -> str:
        return f"{self.label}-{self.dataset}"


class Identity(NamedTuple):
    """What makes two runs the same work.

    ``config`` holds everything that fixes the numbers and ``config_hash`` is its hash; ``versions`` are those of the
    libraries in use, None where they do not matter.
    """

    config_hash: str
    config: Mapping[str, Any]
    versions: Mapping[str, str] | None = None

    def record(self) -> dict[str, Any]:
        """As it is kept beside work in progress."""
        return {"config_hash": self.config_hash, "config": dict(self.config), "versions": dict(self.versions or {})}

    def difference(self, stored: Mapping[str, Any]) -> str:
        """What a record says otherwise: ``options {'steps': 50} instead of {'steps': 100}``; "" if it agrees."""
        pairs = []
        if stored.get("config_hash") != self.config_hash:
            pairs.append((stored.get("config") or {}, self.config))
        if self.versions is not None and (stored.get("versions") or {}) != self.versions:
            pairs.append((stored.get("versions") or {}, self.versions))
        differences = [
            f"{key} {_short(old.get(key))} instead of {_short(new.get(key))}"
            for old, new in pairs
            for key in sorted({*old, *new})
            if old.get(key) != new.get(key)
        ]
        return "; ".join(differences[:3]) or "another configuration" * bool(pairs)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_id(kind: str, value: str) -> str:
    """``value`` itself, if it may be an id; otherwise a BenchError that says which letters are allowed."""
    if not _ID.fullmatch(value):
        raise BenchError(
            f"{value!r} cannot be the id of a {kind}",
            expected="lower-case letters, digits and '_'",
            fix=f"rename it, e.g. {re.sub(r'[^a-z0-9_]+', '_', value.lower()).strip('_') or 'my_' + kind}",
        )
    return value


def label(method: str, variant: str = "") -> str:
    """``method`` or ``method.variant``: the name of a row in tables and of a folder under results/runs/<scope>/."""
    return f"{method}.{variant}" if variant else method


def parse_label(text: str) -> tuple[str, str]:
    """``"hfgi.no_ada"`` -> ``("hfgi", "no_ada")``; ``"hfgi"`` -> ``("hfgi", "")``."""
    method, _, variant = text.partition(".")
    return method, variant


def run_id(method: str, dataset: str, variant: str = "") -> str:
    """``<method>[.<variant>]-<dataset>``, each part checked."""
    check_id("method", method)
    check_id("dataset", dataset)
    if variant:
        check_id("variant", variant)
    return str(RunName(method, variant, dataset))


def parse_run_id(text: str) -> RunName:
    """The inverse of :func:`run_id`."""
    left, dash, dataset = text.partition("-")
    method, variant = parse_label(left)
    parts = [method, dataset] + ([variant] if "." in left else [])
    if not dash or not all(_ID.fullmatch(part) for part in parts):
        raise BenchError(f"{text!r} is not a run id", expected="<method>[.<variant>]-<dataset>")
    return RunName(method, variant, dataset)


def canonical_json(value: Any) -> str:
    """One text per value: keys sorted, no spaces, so that equal configurations have equal hashes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def config_hash(config: Mapping[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of the canonical JSON of ``config``."""
    return hashlib.sha256(canonical_json(config).encode()).hexdigest()[:16]
