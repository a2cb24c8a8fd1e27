"""One rule for every random number: a seed is a hash of named keys, never a counter.

So image ``000017`` draws the same noise whether it is rendered first or last, alone or in a batch,
by one worker or by many.
"""

from __future__ import annotations

import hashlib


def seed_for(base: int, *keys: object) -> int:
    """A 63-bit seed derived from ``base`` and the given keys (order matters).

    Args:
        base: the run's seed (``params.yaml: seed``).
        keys: what the random numbers are for, e.g. ``("annyfaces_1500", "000017", "pose")``.
    Returns:
        An int in [0, 2**63), equal on every machine.
    """
    text = "\x1f".join([str(int(base)), *(str(k) for k in keys)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
