"""Identity similarity by insightface's ArcFace: the recognition network of pack buffalo_l on aligned faces."""

from __future__ import annotations

import torch
from torch import Tensor

from bench import api


class Metric(api.PairMetric):
    """Cosine of the features of both faces. 1 is the same face; strangers are about 0."""

    title = "ID (ArcFace)"
    size, resize = 256, "pil_bilinear"
    value_range, higher_is_better, ideal = (0.0, 255.0), True, 1.0
    source = "Deng et al. 2019; insightface 2.1 ArcFaceONNX.get_feat on w600k_r50.onnx, crop as face_align.norm_crop"
    details = "rgb|buffalo_l w600k_r50|112 px, five points of FFHQ alignment, no detector|float32"
    weights, packages, extra = ("arcface_buffalo_l",), ("insightface", "onnxruntime"), "face"

    def __init__(self, device: torch.device | str = "cpu", weights: api.MetricWeights | None = None):
        from bench.measures.faces import recogniser, seeded

        super().__init__(device, weights)
        self.embed = (
            seeded() if self.networks.untrained else recogniser(self.networks.path("arcface_buffalo_l", "recognition"))
        )

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, R, R) in [0, 255], aligned the FFHQ way -> (B,) float64 in [-1, 1]."""
        from bench.measures.faces import cosine, five_point_crop, to_arrays

        a, b = ([five_point_crop(image) for image in to_arrays(batch)] for batch in self.pair(x, x_hat))
        return cosine(self.embed(a), self.embed(b))
