"""Consultation fusion: how image-specific detail enters a synthesis layer. Paper and release differ: both are here."""

from __future__ import annotations

from torch import Tensor

from bench.errors import ShapeError


def fuse(features: Tensor, gate: Tensor, detail: Tensor) -> Tensor:
    """Filter the low-rate features and add detail: ``gate * features + detail``.

    Args:
        features: (B, C, H, W) output of one synthesis layer, unbounded.
        gate, detail: (B, C, H, W), of the same shape as ``features``.
    Returns:
        (B, C, H, W) in the type of ``features``.
    Raises:
        ShapeError: the shapes differ; nothing is broadcast, a wrong layer must not pass silently.

    Source: Wang et al. 2022 (HFGI), Eq. 5. The authors' release uses :func:`fuse_release`.
    """
    _check(features, gate=gate, detail=detail)
    return features * gate.to(features.dtype) + detail.to(features.dtype)


def fuse_release(features: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """``features * (1 + scale) + shift``: the gate is a residual around one. Arguments and errors as :func:`fuse`.

    Source: Tengfei-Wang/HFGI e30f33c, at the one layer ``convs[6]`` (style index 7, 64x64).
    """
    _check(features, scale=scale, shift=shift)
    return features * (1 + scale.to(features.dtype)) + shift.to(features.dtype)


def _check(features: Tensor, **maps: Tensor) -> None:
    for name, value in maps.items():
        if value.shape != features.shape:
            raise ShapeError(
                f"fusion map {name!r} does not fit the layer",
                got=tuple(value.shape),
                expected=tuple(features.shape),
                fix="consult the layer the map was made for",
            )
