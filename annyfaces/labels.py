"""The part index of every pixel: what `labels/<image_id>.png` means."""

from __future__ import annotations

PARTS: tuple[str, ...] = (
    "background",
    "skin",
    "neck",
    "ear",
    "brow",
    "eye",
    "lip",
    "mouth",
    "hair",
    "beard",
    "cloth",
    "glasses",
    "hat",
    "earring",
    "occluder",
)
(BACKGROUND, SKIN, NECK, EAR, BROW, EYE, LIP, MOUTH, HAIR, BEARD, CLOTH, GLASSES, HAT, EARRING, OCCLUDER) = range(
    len(PARTS)
)
