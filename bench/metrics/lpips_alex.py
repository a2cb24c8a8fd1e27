"""LPIPS v0.1 on AlexNet, computed by the package of its authors."""

from __future__ import annotations

from bench.measures.learned import LpipsMetric


class Metric(LpipsMetric):
    """Learned distance of AlexNet features. 0 is identical."""

    net = "alex"
    title = "LPIPS (AlexNet)"
    version = "v0.1"
    higher_is_better, ideal = False, 0.0
    source = "Zhang et al. 2018; package lpips 0.1.4, net='alex', on pictures resized as the pSp family does"
    details = "rgb|alex,imagenet,learned heads|float32"
    weights, packages, extra = ("lpips_alex",), ("lpips", "torchvision"), "perceptual"
