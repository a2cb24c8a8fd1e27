"""LPIPS v0.1 on Squeeze, computed by the package of its authors."""

from __future__ import annotations

from bench.measures.learned import LpipsMetric


class Metric(LpipsMetric):
    """Learned distance of Squeeze features. 0 is identical."""

    net = "squeeze"
    title = "LPIPS (Squeeze)"
    version = "v0.1"
    higher_is_better, ideal = False, 0.0
    source = "Zhang et al. 2018; package lpips 0.1.4, net='squeeze', on pictures resized as the pSp family does"
    details = "rgb|squeeze,imagenet,learned heads|float32"
    weights, packages, extra = ("lpips_squeeze",), ("lpips", "torchvision"), "perceptual"
