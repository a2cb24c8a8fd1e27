"""Pictures of what directions do: their names beside a set's file, and those that a domain has."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path("weights") / "directions"
ENTANGLEMENT, STRIPS = "{}_entanglement.png", "{}_strips.png"  # of a set's name
CAPTIONS = {
    ENTANGLEMENT: "What one degree along each direction changes",
    STRIPS: "One sample moved along each direction",
}


def strips_of(root: Path, domain: str) -> list[tuple[str, Path]]:
    """(caption, file) of all sets of a domain that have them."""
    return [
        (caption, path)
        for name, caption in CAPTIONS.items()
        for path in sorted((root / FOLDER).glob(name.format(f"{domain}_*")))
    ]
