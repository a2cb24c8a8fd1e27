"""Kernel Inception distance of sources and reconstructions: the real Inception, through torch-fidelity."""

from __future__ import annotations

from bench.measures.set_metrics import Kernel, OnInception


class Metric(Kernel, OnInception):
    """Squared kernel distance of Inception features, unbiased: about 0 for equal sets, whatever their size."""

    title = "KID"
    higher_is_better, ideal = False, 0.0
    source = "Binkowski et al. 2018; torch-fidelity 0.4.0 (features; equal to its kid_features_to_metric)"
    details = "rgb|inception-v3-2015-12-05,pool 2048,tf1-bilinear 299|poly3,100 draws of 1000 (all, if fewer),unbiased"
    weights, packages, extra = ("inception_fid",), ("torch_fidelity", "torchvision"), "fid"
