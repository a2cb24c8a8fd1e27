"""Gray pictures as scikit-image makes them."""

from __future__ import annotations

from torch import Tensor

WEIGHTS = (0.2125, 0.7154, 0.0721)  # luminance of contemporary CRT phosphors (ITU-R BT.709, rounded so)


def gray(x: Tensor) -> Tensor:
    """(B, 3, H, W) RGB -> (B, 1, H, W) in the same range. Source: skimage.color.rgb2gray."""
    return (x * x.new_tensor(WEIGHTS)[:, None, None]).sum(1, keepdim=True)
