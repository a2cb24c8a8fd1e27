"""The only place for value ranges, uint8 rounding, named resizes and picture files.

Inside the suite a picture is float32 RGB in [-1, 1], layout (B, 3, H, W). On disk it is an 8-bit RGB PNG.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import BenchError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

RESIZES = ("area", "bilinear", "bilinear_aa", "bicubic_aa")
PIL_RESIZES = ("pil_bilinear", "pil_bicubic", "pil_lanczos")  # of 8-bit pictures, rounded to 8 bits again


def pixel_sha256(array: np.ndarray) -> str:
    """SHA-256 of decoded pixels (shape, then bytes): independent of the PNG encoder's version.

    Examples:
        >>> black = np.zeros((2, 8, 3), np.uint8)
        >>> pixel_sha256(black) == pixel_sha256(black.reshape(4, 4, 3))  # equal bytes, another shape
        False
    """
    digest = hashlib.sha256(repr(tuple(array.shape)).encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def to_tensor(arrays: np.ndarray) -> Tensor:
    """(B, H, W, 3) or (H, W, 3) uint8 -> (B, 3, H, W) or (3, H, W) float32 in [-1, 1].

    Examples:
        >>> to_tensor(np.array([[[0, 51, 255]]], np.uint8)).flatten().tolist()
        [-1.0, -0.6000000238418579, 1.0]
    """
    import torch

    x = torch.from_numpy(np.ascontiguousarray(arrays)).movedim(-1, -3)
    return x.to(torch.float32).div_(127.5).sub_(1.0).contiguous()


def to_uint8(x: Tensor) -> np.ndarray:
    """(..., 3, H, W) float in [-1, 1] (clamped) -> (..., H, W, 3) uint8, rounded to nearest.

    The official scripts truncate instead (`.astype(uint8)`), which darkens by half a level; see docs/numerics.md.

    Examples:
        >>> import torch
        >>> to_uint8(torch.tensor([-1.2, 0.0, 1.0]).reshape(3, 1, 1)).tolist()  # -1.2 is clamped, 127.5 is rounded
        [[[0, 128, 255]]]
    """
    import torch

    y = x.detach().to(torch.float32).clamp(-1, 1).add(1).mul(127.5).round_()
    return y.to(torch.uint8).movedim(-3, -1).cpu().numpy()


def resize(x: Tensor, size: int | tuple[int, int], how: str) -> Tensor:
    """Resize (B, 3, H, W) by a named rule; the name is part of every metric's signature.

    ``area``: adaptive average pooling (`face_pool` of pSp). ``bilinear``: plain, align_corners False, no antialias
    (HFGI's release). ``bilinear_aa`` / ``bicubic_aa``: antialiased, as PIL does on float. For PIL's own rules on 8-bit
    pictures see :func:`resize_pil`.

    Examples:
        >>> import torch
        >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> resize(x, 2, "area").tolist()  # means of 2x2 pixels
        [[[[2.5, 4.5], [10.5, 12.5]]]]
    """
    import torch.nn.functional as F

    want = (size, size) if isinstance(size, int) else (size[0], size[1])
    if x.ndim != 4:
        raise ShapeError("resize takes a batch of pictures", got=tuple(x.shape), expected="(B, 3, H, W)")
    if tuple(x.shape[-2:]) == want:
        return x
    if how == "area":
        return F.adaptive_avg_pool2d(x, want)
    if how == "bilinear":
        return F.interpolate(x, size=want, mode="bilinear", align_corners=False)
    if how in ("bilinear_aa", "bicubic_aa"):
        return F.interpolate(x, size=want, mode=how.removesuffix("_aa"), align_corners=False, antialias=True)
    raise BenchError(f"unknown resize {how!r}", expected=f"one of: {', '.join(RESIZES)}")


def resize_pil(pictures: np.ndarray, size: int, how: str) -> np.ndarray:
    """Resize (B, H, W, 3) uint8 to (B, size, size, 3) uint8 as Pillow does, antialiased: how the pSp family scores.

    Raises:
        BenchError: a rule that is not in PIL_RESIZES.
    """
    from PIL import Image

    if how not in PIL_RESIZES:
        raise BenchError(f"unknown resize {how!r} of 8-bit pictures", expected=f"one of: {', '.join(PIL_RESIZES)}")
    if pictures.shape[1:3] == (size, size):
        return pictures
    rule = Image.Resampling[how.removeprefix("pil_").upper()]
    return np.stack([np.asarray(Image.fromarray(p).resize((size, size), rule)) for p in pictures])
