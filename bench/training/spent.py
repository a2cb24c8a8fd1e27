"""How long a training took so far, over all its stretches."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

KEY = "spent"  # in a checkpoint


class Spent:
    """Seconds of the leading process: those its threads computed, and those that passed.

    Args:
        saved: the checkpoint that a training goes on from, or None for a start. One that holds no times (of an earlier
            version) leaves them unknown: a part would look like the whole.
    """

    def __init__(self, saved: Mapping[str, Any] | None):
        self.before = {"seconds": 0.0, "wall_seconds": 0.0} if saved is None else saved.get(KEY)
        self.computed, self.passed = time.process_time(), time.monotonic()

    def state(self) -> dict[str, float] | None:
        """``seconds`` and ``wall_seconds`` until now, for the checkpoint and the card; None: unknown."""
        if self.before is None:
            return None
        return {
            "seconds": round(self.before["seconds"] + time.process_time() - self.computed, 3),
            "wall_seconds": round(self.before["wall_seconds"] + time.monotonic() - self.passed, 3),
        }


def in_words(saved: Mapping[str, Any] | None) -> str:
    """For a card: what a checkpoint says of the time its training took."""
    spent = None if saved is None else saved.get(KEY)
    if spent is None:
        return "not recorded"
    return f"{spent['seconds'] / 3600:.2f} hours of computing, {spent['wall_seconds'] / 3600:.2f} by the clock"
