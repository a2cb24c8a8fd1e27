"""Precision and recall of the reconstructions as a set: the real Inception, through torch-fidelity."""

from __future__ import annotations

from bench.measures.set_metrics import OnInception, PrecisionRecall


class Metric(PrecisionRecall, OnInception):
    """Precision: reconstructions that look like a source; recall: sources like a reconstruction. 1 for equal sets."""

    title = "PRC"
    parts = {"precision": "Precision", "recall": "Recall"}
    higher_is_better, ideal = True, 1.0
    source = (
        "Kynkaanniemi et al. 2019; torch-fidelity 0.4.0 (equal to its prc_features_to_metric) on "
        "Inception features, not VGG-16"
    )
    details = "rgb|inception-v3-2015-12-05,pool 2048,tf1-bilinear 299|3 neighbours"
    weights, packages, extra = ("inception_fid",), ("torch_fidelity", "torchvision"), "fid"
