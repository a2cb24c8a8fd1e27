"""Frechet Inception distance of sources and reconstructions: the real Inception, through torch-fidelity."""

from __future__ import annotations

from bench.measures.set_metrics import Frechet, OnInception


class Metric(Frechet, OnInception):
    """Squared Frechet distance of Inception features. 0 for equal sets; biased upward, more for fewer pictures."""

    title = "FID"
    higher_is_better, ideal = False, 0.0
    source = "Heusel et al. 2017; torch-fidelity 0.4.0 (features; equal to its fid_statistics_to_metric)"
    details = "rgb|inception-v3-2015-12-05,pool 2048,tf1-bilinear 299|float64 moments"
    weights, packages, extra = ("inception_fid",), ("torch_fidelity", "torchvision"), "fid"
