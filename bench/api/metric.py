"""The classes a metric derives from; authors import them from :mod:`bench.api`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError, ShapeError, WeightsError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor


def _no_weights(weights_id: str, part: str) -> Any:
    raise WeightsError(f"weights {weights_id!r} were not handed to the metric", fix="let the harness build it")


@dataclass(frozen=True)
class MetricWeights:
    """Where the networks of a metric come from.

    Args:
        load: (weights id, part) -> its verified tensors. path: (weights id, part) -> its verified file (ONNX).
        untrained: seeded start values stand in for both; ``bench check`` then needs no files. Never used for scores.
    """

    load: Callable[[str, str], Mapping[str, Tensor]] = _no_weights
    path: Callable[[str, str], Path] = _no_weights
    untrained: bool = False


class Metric:
    """What every metric tells about itself.

    Class attributes:
        higher_is_better, ideal: ``ideal`` is the value for identical pictures.
        title, unit: heading in tables; the unit ("dB") follows it, or is empty.
        source: definition (paper; library whose numbers it equals).
        version: bumped when the numbers move.
        details: what else fixes the numbers (window, network, ...), part of the signature.
        weights: ids of weights it needs; their hashes end the signature of its scores. Without them tables print the
            command that brings them.
        packages, extra: modules it imports beyond the base installation, and the extra of this suite that has them.
    """

    higher_is_better: ClassVar[bool] = False
    ideal: ClassVar[float] = 0.0
    title: ClassVar[str] = ""
    unit: ClassVar[str] = ""
    source: ClassVar[str] = ""
    version: ClassVar[str] = "v1"
    details: ClassVar[str] = ""
    weights: ClassVar[Sequence[str]] = ()
    packages: ClassVar[Sequence[str]] = ()
    extra: ClassVar[str] = ""

    @classmethod
    def missing(cls) -> str | None:
        """None, or the command that brings what this metric lacks beside ``weights`` and ``packages``."""
        return None


class ImageMetric(Metric):
    """What metrics that look at pictures have in common.

    Class attributes beside those of :class:`Metric`:
        size: side the pictures are brought to before scoring, or None for the stored resolution.
        resize: name of the rule (bench.images).
        value_range: range the pictures arrive in.
    """

    size: ClassVar[int | None] = None
    resize: ClassVar[str] = "bilinear_aa"
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __init__(self, device: torch.device | str = "cpu", weights: MetricWeights | None = None):
        self.device = device
        self.networks = weights or MetricWeights()

    @classmethod
    def signature(cls, metric_id: str) -> str:
        """``id|version|size|resampler|range[|details]``: all that is needed to compute the same number elsewhere."""
        low, high = cls.value_range
        size = [str(cls.size), cls.resize] if cls.size else ["native", "none"]
        parts = [metric_id, cls.version, *size, f"{low:g}..{high:g}"]
        return "|".join(parts + ([cls.details] if cls.details else []))


class PairMetric(ImageMetric):
    """A number per (source, reconstruction) pair. The file's stem is its id: ``bench/metrics/mae.py`` is ``mae``.

    Pictures come at ``size`` and in ``value_range``, float64.
    """

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) source and reconstruction in ``value_range`` -> (B,) float64. Pairs are independent."""
        raise NotImplementedError(f"{type(self).__qualname__}.__call__")

    def pair(self, x: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor]:
        """Check a pair and bring it to the metric's device in float64 (float32 where a device has no float64).

        Raises:
            ShapeError: not two batches (B, 3, H, W) of one shape; nothing is broadcast.
            BenchError: values outside ``value_range``: the usual sign of a picture in the other convention.
        """
        import torch

        if x.ndim != 4 or x.shape[1] != 3 or x.shape != x_hat.shape:
            raise ShapeError(
                "a metric compares two batches of RGB pictures",
                got=f"{tuple(x.shape)} and {tuple(x_hat.shape)}",
                expected="one shape (B, 3, H, W) for both",
            )
        low, high = self.value_range
        slack = 1e-4 * (high - low)
        for name, batch in (("source", x), ("reconstruction", x_hat)):
            least, most = map(float, batch.aminmax()) if batch.numel() else (low, high)
            if least < low - slack or most > high + slack:  # NaN passes: its NaN score is a failure
                raise BenchError(
                    f"{name} leaves the range of metric {type(self).__module__.rsplit('.', 1)[-1]!r}",
                    got=f"{least:g} to {most:g}",
                    expected=f"{low:g} to {high:g}",
                    fix="convert with bench.images; never guess a range",
                )
        dtype = torch.float32 if torch.device(self.device).type == "mps" else torch.float64
        return x.to(self.device, dtype), x_hat.to(self.device, dtype)


class RunMetric(Metric):
    """A number per image that the run's record states, such as the rate. No picture is read.

    Scoring asks ``from_run`` once and writes the value for every id of the run that has an image, so that its rows
    have the shape of all others (n, failures and common subsets then need no special case).
    """

    @classmethod
    def signature(cls, metric_id: str) -> str:
        """``id|version|run[|details]``."""
        return "|".join([metric_id, cls.version, "run"] + ([cls.details] if cls.details else []))

    def from_run(self, run: Mapping[str, Any]) -> float:
        """The value from the parsed ``run.json``; DataError names the key that is absent."""
        raise NotImplementedError(f"{type(self).__qualname__}.from_run")


class SetMetric(ImageMetric):
    """A number about two sets of pictures, such as FID; no single picture has one.

    Features are computed picture by picture (sharded, streamed, and cached for the sources), so that the number does
    not depend on batches or workers; only then are the sets compared. Metrics that name the same ``extractor`` share
    one pass. Pictures arrive as uint8 at ``size``; ``value_range`` is (0, 255).

    Class attributes beside those of :class:`PictureMetric`:
        extractor: name of the features, with a version.
        parts: name -> title of each number, "" for the only one; ``prc`` gives ``prc.precision`` and ``prc.recall``.
        bounds: least and greatest value there is; intervals are cut there.
    """

    value_range: ClassVar[tuple[float, float]] = (0.0, 255.0)
    extractor: ClassVar[str] = ""
    parts: ClassVar[Mapping[str, str]] = {"": ""}
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def network(self) -> Callable[[Tensor], Tensor]:
        """The extractor on ``self.device``: (B, 3, H, W) uint8 -> (B, D) float32, pictures independent."""
        raise NotImplementedError(f"{type(self).__qualname__}.network")

    @classmethod
    def values(
        cls, source: np.ndarray, reconstruction: np.ndarray, subsets: Sequence[np.ndarray]
    ) -> list[dict[str, float]]:
        """Compare the sets on each subset of pictures.

        Args:
            source, reconstruction: (N, D) float32 features; row n of both is the same picture.
            subsets: index arrays into the rows, at least 2 each; the interval comes from them.
        Returns:
            For each subset one number per name in ``parts``.
        """
        raise NotImplementedError(f"{cls.__qualname__}.values")

    @classmethod
    def ideal_of(cls, source: np.ndarray) -> tuple[float, float]:
        """What a set gives when it is compared with itself, in any order: (value, how far from it rounding may lead).

        Args:
            source: (N, D) features. An unbiased estimate is not ``ideal`` there, the less so the fewer pictures.
        """
        return cls.ideal, 1e-6
