"""Nothing left to do is said, not passed over."""

from __future__ import annotations


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
