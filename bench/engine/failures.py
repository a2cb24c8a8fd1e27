"""Work on a batch of images in which one image's failure costs the others nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from bench.device import free_after
from bench.errors import BenchError, typed_message_of

Result = TypeVar("Result")

REASON = 300  # characters of an image's failure that are kept


def map_images(ids: Sequence[str], work: Callable[[Sequence[str]], Result]) -> tuple[list[Result], dict[str, str]]:
    """Apply ``work`` to a batch of images, and to parts of the batch where the whole fails.

    A batch that raises is tried again one image at a time, so that one image costs the others nothing. A batch that is
    too large for the accelerator's memory is halved instead.

    Args:
        ids: image ids of the batch, in order.
        work: called with the batch, or with parts of it: neighbours in ``ids``.
    Returns:
        results of the calls that succeeded, in the order of ``ids``; image id -> reason, of images that fail alone.
    Raises:
        BenchError: the user must mend something (weights, input, options), or the accelerator's memory is too small
            for one image.
    """
    try:
        return [work(ids)], {}
    except BenchError:  # not this image's fault
        raise
    except Exception as error:  # a method may raise anything; the other images must not suffer
        out_of_memory = free_after(error, alone=len(ids) == 1)
        if len(ids) == 1:
            return [], {ids[0]: typed_message_of(error, REASON)}
    size = (len(ids) + 1) // 2 if out_of_memory else 1
    results: list[Result] = []
    failures: dict[str, str] = {}
    for start in range(0, len(ids), size):
        found, failed = map_images(ids[start : start + size], work)
        results += found
        failures |= failed
    return results, failures


def check_failures(failures: Mapping[str, str], ids: Sequence[str], method: str, images: str) -> None:
    """Refuse results in which every image failed.

    Args:
        failures: image id -> reason.
        ids: all images that were tried.
        method: id of the method.
        images: what the images are, such as ``images of 'toy'``.
    Raises:
        BenchError: all failed; the message has the first reason.
    """
    if len(failures) < len(ids):
        return
    reason = next(iter(failures.values()), "no images")
    raise BenchError(f"method {method!r} failed on all {len(ids)} {images}", got=reason)
