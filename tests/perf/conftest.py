"""Timing is asked for (`tox run -e perf`, or `pytest -m perf`); it is no part of an ordinary test run.

Every test stores a ratio against a reference measured in the same process, because seconds of two machines, or of one
machine on two days, do not compare.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of this folder out unless `-m` names `perf`."""
    if "perf" in (config.getoption("markexpr") or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("perf")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def versus(benchmark):
    """``versus(ours, reference, rounds)``: benchmark ``ours``, and store how many times faster it is.

    The two take turns, so that a busy machine slows both; ``extra_info`` gets the ratio of the medians.
    """

    def compare(ours: Callable[[], object], reference: Callable[[], object], rounds: int = 7) -> float:
        ours(), reference()  # warm-up
        seconds: dict[str, list[float]] = {"ours": [], "reference": []}
        for _ in range(rounds):
            for name, call in (("ours", ours), ("reference", reference)):
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
        ratio = median(seconds["reference"]) / median(seconds["ours"])
        benchmark.extra_info["ratio"] = round(ratio, 3)
        benchmark.extra_info["reference_s"] = median(seconds["reference"])
        benchmark.pedantic(ours, rounds=rounds)
        return ratio

    return compare
