"""The contract of a metric; see bench/checks.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench import api, registry
from bench.errors import BenchError
from bench.seeds import seed_for
from bench.toy import COUNT, Broken, toy_images


class MetricChecks:
    """The contract of one metric."""

    def __init__(self, root: Path, name: str):
        self.name = name
        self.cls = registry.metrics(root).load(name)
        self.clean = toy_images()

    def checks(self) -> dict[str, Callable[[], None]]:
        common = {"documented": self.documented, "signature": self.signature, "complete": self.complete}
        if issubclass(self.cls, api.RunMetric):
            return {**common, "reads the run record": self.from_run}
        return {
            **common,
            "one finite number per pair": self.shapes,
            "identical pictures are ideal": self.identity,
            "more noise is worse": self.monotone,
            "deterministic": self.deterministic,
            "independent of batch split": self.batch_split,
        }

    @cached_property
    def metric(self) -> Any:
        return self.cls("cpu")

    def score(self, x: np.ndarray, x_hat: np.ndarray) -> np.ndarray:
        from bench.scoring import score_batch

        return np.array(score_batch(self.metric, self.name, x, x_hat))

    def noisy(self, amount: float) -> np.ndarray:
        rng = np.random.default_rng(seed_for(0, "toy noise"))
        moved = self.clean + amount * rng.normal(size=self.clean.shape)
        return np.clip(np.rint(moved), 0, 255).astype(np.uint8)

    def documented(self) -> None:
        missing = [a for a in ("title", "source") if not getattr(self.cls, a)]
        missing += [] if self.cls.__doc__ else ["docstring"]
        if missing:
            raise Broken(f"no {', '.join(missing)}")

    def signature(self) -> None:
        text = self.cls.signature(self.name)
        if not text.startswith(f"{self.name}|{self.cls.version}|"):
            raise Broken(f"signature {text!r} does not begin with id and version")

    def complete(self) -> None:
        if why := self.cls.missing():
            raise Broken(f"it lacks something: {why}")

    def shapes(self) -> None:
        values = self.score(self.clean, self.noisy(20))
        if values.shape != (COUNT,) or not np.isfinite(values).all():
            raise Broken(f"got {values}")

    def identity(self) -> None:
        values = self.score(self.clean, self.clean.copy())
        if not np.allclose(values, self.cls.ideal, rtol=0, atol=1e-6):
            raise Broken(f"identical pictures give {values[0]:g}, ideal is {self.cls.ideal:g}")

    def monotone(self) -> None:
        means = [self.score(self.clean, self.noisy(amount)).mean() for amount in (4, 16, 48)]
        ordered = means == sorted(means, reverse=self.cls.higher_is_better)
        if not ordered:
            raise Broken(f"noise of 4, 16, 48 levels gives {', '.join(f'{m:.4g}' for m in means)}")

    def deterministic(self) -> None:
        if not (self.score(self.clean, self.noisy(20)) == self.score(self.clean, self.noisy(20))).all():
            raise Broken("a second call gives other numbers")

    def batch_split(self) -> None:
        together, noisy = self.score(self.clean, self.noisy(20)), self.noisy(20)
        apart = np.concatenate([self.score(self.clean[n : n + 1], noisy[n : n + 1]) for n in range(COUNT)])
        gap = np.abs(apart - together).max() / max(np.abs(together).max(), 1e-12)
        if not gap <= 1e-5:
            raise Broken(f"pairs scored one by one differ by {gap:.2g} (relative)")

    def from_run(self) -> None:
        value = self.cls().from_run({"run_id": "toy", "rate_floats": 7, "n": COUNT, "failures": {}, "config": {}})
        if not np.isfinite(value):
            raise Broken(f"got {value}")
        try:
            self.cls().from_run({})
        except BenchError:
            return
        raise Broken("an empty record is accepted")
