"""What set metrics share: the features they stand on, and the comparison they make."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from bench import api
from bench.measures import sets


class OnInception(api.SetMetric):
    """Features of the Inception network that FID and KID are defined on; pictures as stored, 8 bits."""

    extractor = "inception_fid"

    def network(self) -> Callable[[Tensor], Tensor]:
        """Build the Inception network: images -> features (B, 2048)."""
        from bench.measures import inception

        return inception.features(inception.network(self.networks, self.weights[0]), self.device)


class OnEffLite0(api.SetMetric):
    """Features of EfficientNet-Lite0 (ImageNet), registered with torch-fidelity; pictures at 128 px, 8 bits."""

    extractor = "efflite0"
    size, resize = 128, "pil_bilinear"

    def network(self) -> Callable[[Tensor], Tensor]:
        """Build the EfficientNet-Lite0 network: images -> features (B, D)."""
        from bench.measures import efflite, inception

        return inception.features(efflite.extractor(), self.device)


class Frechet(api.SetMetric):
    """Squared Frechet distance of two Gaussians fitted to the features."""

    bounds = (0.0, math.inf)

    @classmethod
    def values(
        cls, source: np.ndarray, reconstruction: np.ndarray, subsets: Sequence[np.ndarray]
    ) -> list[dict[str, float]]:
        """Compute the Frechet distance of each subset of rows."""
        # The first is the value; the others only say how it spreads.
        return [{"": sets.frechet_of_rows(source, reconstruction, rows, not n)} for n, rows in enumerate(subsets)]


class Kernel(api.SetMetric):
    """Unbiased squared kernel distance; identical sets give less than 0, the more so the fewer pictures."""

    @classmethod
    def values(
        cls, source: np.ndarray, reconstruction: np.ndarray, subsets: Sequence[np.ndarray]
    ) -> list[dict[str, float]]:
        """Compute the kernel distance of each subset of rows."""
        return [{"": value} for value in sets.kernel_distances(source, reconstruction, subsets)]

    @classmethod
    def ideal_of(cls, source: np.ndarray) -> tuple[float, float]:
        """Return the distance of a set from itself, and how far equal sets may be from it."""
        expected, error = sets.kernel_distance_of_itself(source)
        # Another order of pictures is another 100 draws; float32 features of other batches differ in the last digits.
        return expected, 5 * error + 1e-4 * abs(expected) + 1e-6


class PrecisionRecall(api.SetMetric):
    """Share of reconstructions among the sources, and of sources among the reconstructions."""

    bounds = (0.0, 1.0)

    @classmethod
    def values(
        cls, source: np.ndarray, reconstruction: np.ndarray, subsets: Sequence[np.ndarray]
    ) -> list[dict[str, float]]:
        """Compute precision and recall of each subset of rows, both in [0, 1]."""
        pairs = sets.precision_recall(source, reconstruction, subsets)
        return [{"precision": precision, "recall": recall} for precision, recall in pairs]
