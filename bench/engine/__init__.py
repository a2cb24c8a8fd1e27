"""One seam for all parallel work: ``map_shards(work, shards)`` on the process at hand or on several local ones.

Work is cut by image id into shards of fixed composition, whatever the engine and the number of workers, and every
process computes with one thread, so rows do not depend on where they were computed. Shards must be idempotent. A
worker that dies takes down its own shard only: the others are finished before the error is raised. Within a shard
``map_images`` isolates the images that fail.
"""

from bench.engine.failures import check_failures, map_images
from bench.engine.mapping import map_on_device, map_shards
from bench.engine.processes import START, forked, make_ready
from bench.engine.shards import (
    PROCESSES,
    SERIAL,
    Execution,
    Shard,
    Work,
    default_workers,
    even_shards,
    make_shards,
    one_thread,
    tick,
)

__all__ = [
    "PROCESSES",
    "SERIAL",
    "START",
    "Execution",
    "Shard",
    "Work",
    "check_failures",
    "default_workers",
    "even_shards",
    "forked",
    "make_ready",
    "make_shards",
    "map_images",
    "map_on_device",
    "map_shards",
    "one_thread",
    "tick",
]
