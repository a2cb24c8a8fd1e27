"""What a training says of itself: how fast it is, and that nothing is left to do."""

from __future__ import annotations

import time


def reached(training: str, position: int, images: int, stop_after: int | None) -> bool:
    """Whether a training has drawn all its pictures, or as many as it should stop after; then says so.

    Args:
        training: its name. position: pictures drawn. images: in all. stop_after: pictures to stop after, if any.
    """
    if position >= images:
        print(f"{training} is finished: {position:,} of {images:,} pictures; raise its images to go on, or --export it")
    elif stop_after is not None and position >= stop_after:
        print(f"{training} has drawn {position:,} pictures: nothing to do before --stop-after {stop_after}")
    else:
        return False
    return True


def throughput(images: int, since: float) -> str:
    """``N images/s`` for a log line."""
    return f"{images / max(time.monotonic() - since, 1e-9):.1f} images/s"
