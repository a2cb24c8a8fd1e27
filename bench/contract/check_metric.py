"""The contract of a metric; see bench/contract/check_method.py.

Networks are left untrained (seeded start values), so the outcome is the same whatever has been fetched; a clause more
loads the real weights where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import api, registry
from bench.contract.toy import COUNT, Broken, toy_images
from bench.device import accelerators, full_precision
from bench.errors import BenchError
from bench.scoring.build import build, lacking, lacking_packages
from bench.scoring.pair_metrics import Views, score_batch
from bench.seeds import seed_for

SMALL = 64
DEVICE_TOLERANCE = 1e-4  # of the largest value, between a CPU and an accelerator; that of features split into batches


def features_of(metric: api.SetMetric, network: Callable[[Any], Any], pictures: np.ndarray) -> np.ndarray:
    """(B, D) of (B, H, W, 3) uint8 pictures, at the metric's size."""
    return network(Views(pictures).eight_bit(metric.size, metric.resize)).cpu().numpy()


class MetricChecks:
    """The contract of one metric."""

    def __init__(self, root: Path, name: str):
        self.root, self.name = Path(root), name
        self.cls = registry.metrics(root).load(name)
        self.clean = toy_images()

    def checks(self) -> dict[str, Callable[[], None]]:
        """Title -> check that applies to this kind of metric, in the order in which they run."""
        common = {"documented": self.documented, "signature": self.signature, "packages are installed": self.complete}
        if issubclass(self.cls, api.RunMetric):
            return {**common, "reads the run record": self.from_run}
        if self.cls.weights and lacking(self.root, self.cls) is None:
            common["its weights load"] = self.weights_load
        elsewhere = {f"the same on {where}": partial(self.same_on, where) for where in accelerators()}
        if issubclass(self.cls, api.SetMetric):
            return {
                **common,
                "features deterministic, pictures independent": self.set_features,
                "a finite number for each part": self.set_values,
                "equal sets are ideal": self.set_identity,
                "more noise is worse": self.set_monotone,
                "independent of order": self.set_order,
                **elsewhere,
            }
        return {
            **common,
            "one finite number per pair": self.shapes,
            "identical pictures are ideal": self.identity,
            "more noise is worse": self.monotone,
            "deterministic": self.deterministic,
            "independent of batch split": self.batch_split,
            **elsewhere,
        }

    @cached_property
    def metric(self) -> Any:
        """The metric on the CPU."""
        return self.built("cpu")

    def built(self, where: str) -> Any:
        """The metric on a device, its networks untrained."""
        make: Any = self.cls
        if not self.cls.weights:
            return make(where)
        metric = make(where, api.MetricWeights(untrained=True))
        if metric.size:
            metric.size = min(metric.size, SMALL)  # large networks; the contract does not depend on size
        return metric

    @cached_property
    def of_noise(self) -> np.ndarray:
        """Scores of noise of 20 levels."""
        return self.score(self.clean, self.noisy(20))

    def score(self, x: np.ndarray, x_hat: np.ndarray) -> np.ndarray:
        """Compute one value an image for 8-bit images x and reconstructions x_hat, both (B, R, R, 3)."""
        return np.array(score_batch(self.metric, self.name, x, x_hat))

    def same_on(self, where: str) -> None:
        """Values, or features of a set metric, are those of the CPU."""
        full_precision()
        metric, noisy = self.built(where), self.noisy(20)
        if issubclass(self.cls, api.SetMetric):
            here, there = self.features(noisy), features_of(metric, metric.network(), noisy)
        else:
            here, there = self.of_noise, np.array(score_batch(metric, self.name, self.clean, noisy))
        gap = np.abs(there - here).max() / max(np.abs(here).max(), 1e-12)
        if not gap <= DEVICE_TOLERANCE:
            raise Broken(f"values differ by {gap:.2g} (relative), allowed {DEVICE_TOLERANCE:g}")

    def noisy(self, amount: float) -> np.ndarray:
        """Return the clean images with Gaussian noise of ``amount`` grey levels, as uint8."""
        rng = np.random.default_rng(seed_for(0, "toy noise"))
        moved = self.clean + amount * rng.normal(size=self.clean.shape)
        return np.clip(np.rint(moved), 0, 255).astype(np.uint8)

    def documented(self) -> None:
        """Check that title, source and docstring are given."""
        missing = [a for a in ("title", "source") if not getattr(self.cls, a)]
        missing += [] if self.cls.__doc__ else ["docstring"]
        if missing:
            raise Broken(f"no {', '.join(missing)}")

    def signature(self) -> None:
        """Check that the signature begins with id and version."""
        text = self.cls.signature(self.name)
        if not text.startswith(f"{self.name}|{self.cls.version}|"):
            raise Broken(f"signature {text!r} does not begin with id and version")

    def complete(self) -> None:
        """Check that the packages the metric needs are installed."""
        if why := lacking_packages(self.cls):
            raise Broken(f"it lacks something: {why}")

    def weights_load(self) -> None:
        """Check that the metric's weights load."""
        build(self.root, self.cls, "cpu")

    def shapes(self) -> None:
        """Check that there is one finite value an image."""
        values = self.of_noise
        if values.shape != (COUNT,) or not np.isfinite(values).all():
            raise Broken(f"got {values}")

    def identity(self) -> None:
        """Check that identical images give the ideal value."""
        values = self.score(self.clean, self.clean.copy())
        if not np.allclose(values, self.cls.ideal, rtol=0, atol=1e-6):
            raise Broken(f"identical pictures give {values[0]:g}, ideal is {self.cls.ideal:g}")

    def monotone(self) -> None:
        """Check that more noise gives a worse value."""
        means = [self.score(self.clean, self.noisy(amount)).mean() for amount in (4, 16, 48)]
        ordered = means == sorted(means, reverse=self.cls.higher_is_better)
        if not ordered:
            raise Broken(f"noise of 4, 16, 48 levels gives {', '.join(f'{m:.4g}' for m in means)}")

    def deterministic(self) -> None:
        """Check that a second call gives the same values."""
        if not (self.score(self.clean, self.noisy(20)) == self.of_noise).all():
            raise Broken("a second call gives other numbers")

    def batch_split(self) -> None:
        """Check that pairs scored one by one give what a batch gives."""
        together, noisy = self.of_noise, self.noisy(20)
        apart = np.concatenate([self.score(self.clean[n : n + 1], noisy[n : n + 1]) for n in range(COUNT)])
        gap = np.abs(apart - together).max() / max(np.abs(together).max(), 1e-12)
        if not gap <= 1e-5:
            raise Broken(f"pairs scored one by one differ by {gap:.2g} (relative)")

    def from_run(self) -> None:
        """Check that the metric reads a run record, and refuses one without its keys."""
        value = self.cls().from_run({"run_id": "toy", "rate_floats": 7, "n": COUNT, "failures": {}, "config": {}})
        if not np.isfinite(value):
            raise Broken(f"got {value}")
        try:
            self.cls().from_run({})
        except BenchError:
            return
        raise Broken("an empty record is accepted")

    # --- metrics of sets: the network on pictures, the comparison on features made up ---

    @cached_property
    def network(self) -> Any:
        """The feature network of a set metric, on the CPU."""
        return self.metric.network()

    def features(self, x: np.ndarray) -> np.ndarray:
        """Extract features (B, D) of 8-bit images (B, R, R, 3)."""
        return features_of(self.metric, self.network, x)

    def set_features(self) -> None:
        """Check shape and values of features, and that neither batch nor repetition changes them."""
        together = self.features(self.clean)
        if together.ndim != 2 or len(together) != COUNT or not np.isfinite(together).all():
            raise Broken(f"{COUNT} pictures give features of shape {together.shape}, or not finite ones")
        if not (self.features(self.clean) == together).all():
            raise Broken("a second pass gives other features")
        apart = np.concatenate([self.features(self.clean[n : n + 1]) for n in range(COUNT)])
        gap = np.abs(apart - together).max() / max(np.abs(together).max(), 1e-12)
        if not gap <= 1e-4:
            raise Broken(f"features of pictures one by one differ by {gap:.2g} (relative)")

    def toy_features(self, noise: float) -> tuple[np.ndarray, np.ndarray]:
        """Two sets of 256 made-up features, equal but for noise."""
        rng = np.random.default_rng(seed_for(0, "toy features"))
        a = rng.normal(size=(256, 16)).astype(np.float32)
        return a, a + np.float32(noise) * rng.normal(size=a.shape).astype(np.float32)

    def compare(self, noise: float, turned: bool = False) -> dict[str, float]:
        """The metric's values of the toy features; ``turned``: both sets in another order."""
        a, b = self.toy_features(noise)
        order = np.arange(len(a))[::-1] if turned else np.arange(len(a))
        return self.cls.values(a[order], b[order], [np.arange(len(a))])[0]

    def set_values(self) -> None:
        """Check that every part of a set metric has a finite value, the same at each call."""
        values = self.compare(1.0)
        if set(values) != set(self.cls.parts) or not all(np.isfinite(v) for v in values.values()):
            raise Broken(f"got {values} for parts {list(self.cls.parts)}")
        if values != self.compare(1.0):
            raise Broken("a second comparison gives other numbers")

    def set_identity(self) -> None:
        """Check that equal sets give the ideal value."""
        ideal, slack = self.cls.ideal_of(self.toy_features(0.0)[0])
        for part, value in self.compare(0.0).items():
            if not abs(value - ideal) <= slack:
                raise Broken(f"equal sets give {part} {value:g}, expected is {ideal:g}")

    def set_monotone(self) -> None:
        """Check that noisier features give a worse value."""
        compared = [self.compare(noise) for noise in (0.5, 2.0, 8.0)]
        for part in self.cls.parts:
            values = [found[part] for found in compared]
            if values != sorted(values, reverse=self.cls.higher_is_better):
                raise Broken(f"noise of 0.5, 2 and 8 deviations gives {part} {', '.join(f'{v:.4g}' for v in values)}")

    def set_order(self) -> None:
        """Check that the order of the rows has no effect."""
        here, there = self.compare(1.0), self.compare(1.0, turned=True)
        if any(abs(here[part] - there[part]) > 1e-6 * max(1, abs(here[part])) for part in here):
            raise Broken(f"{here} turns into {there} in another order")
