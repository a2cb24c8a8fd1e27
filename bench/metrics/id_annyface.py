"""Identity similarity in the embedded domain: a recogniser trained in this repository, run by insightface's class.

It is not the one in the training losses: another architecture, trained on other draws, so that a method cannot please
its own judge.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench import api


class Metric(api.PairMetric):
    """Cosine of the features of both faces. 1 is the same face; strangers are about 0."""

    title = "ID (annyfaces)"
    value_range, higher_is_better, ideal = (0.0, 255.0), True, 1.0
    source = "Deng et al. 2019 (margin); own network as ONNX, insightface 2.1 ArcFaceONNX.get_feat"
    details = "rgb|annyfaces recogniser|112 px, middle three quarters, 8 bits|float32"
    weights, packages, extra = ("annyfaces_recogniser_eval",), ("insightface", "onnxruntime"), "face"

    def __init__(self, device: torch.device | str = "cpu", weights: api.MetricWeights | None = None):
        from bench.measures.faces import recogniser, seeded

        super().__init__(device, weights)
        self.embed = (
            seeded() if self.networks.untrained else recogniser(self.networks.path("annyfaces_recogniser_eval", ""))
        )

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, R, R) in [0, 255], aligned the FFHQ way -> (B,) float64 in [-1, 1]."""
        from bench.measures.faces import SIDE, cosine, to_arrays
        from bench.nets.recogniser import aligned_crop

        a, b = (list(to_arrays(aligned_crop(batch, SIDE))) for batch in self.pair(x, x_hat))
        return cosine(self.embed(a), self.embed(b))
