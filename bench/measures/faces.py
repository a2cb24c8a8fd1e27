"""Aligned faces and recognisers of insightface: from pictures to features of who is on them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SIDE = 112
# Eyes, nose and corners of the mouth in pictures aligned the FFHQ way, by parts of the side: the five-point template
# of facexlib (face_template for FFHQ, 512 px).
FFHQ_POINTS = (
    np.array(
        [
            [192.98138, 239.94708],
            [318.90277, 240.1936],
            [256.63416, 314.01935],
            [201.26117, 371.41043],
            [313.08905, 371.15118],
        ]
    )
    / 512
)
# Where insightface wants the same points in 112 x 96; the pSp family adds 8 px to x for 112 x 112.
ARCFACE_POINTS = np.array(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]]
)
Embed = Callable[[list[np.ndarray]], np.ndarray]


@lru_cache(maxsize=4)
def _to_arcface(side: int) -> np.ndarray:
    """(2, 3) similarity from a picture of ``side`` to insightface's 112 px template."""
    from insightface.utils import face_align

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # scikit-image 0.26 renames what the package calls
        return face_align.estimate_norm(FFHQ_POINTS * side, SIDE)


def five_point_crop(image: np.ndarray) -> np.ndarray:
    """(R, R, 3) uint8, aligned the FFHQ way -> (112, 112, 3) uint8 as insightface aligns, black outside.

    All aligned pictures have their eyes and mouth in the same places, so one similarity serves all: source and
    reconstruction are cut alike, and no detector can miss a face and drop its picture from the mean.
    """
    import cv2

    return cv2.warpAffine(np.ascontiguousarray(image), _to_arcface(image.shape[0]), (SIDE, SIDE), borderValue=0.0)


def recogniser(path: Path) -> Embed:
    """insightface's recognition class on an ONNX file: list of (112, 112, 3) uint8 RGB -> (N, D) float32.

    On as many threads as torch has in this process, so that workers do not fight for cores.
    """
    import onnxruntime
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    model = ArcFaceONNX(model_file=str(path), session=session)
    return lambda faces: model.get_feat([face[..., ::-1] for face in faces])  # it takes BGR


def seeded(features: int = 64) -> Embed:
    """Stands in for a recogniser where there is none: a seeded projection of pixels. For ``bench check`` only."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((SIDE * SIDE * 3, features)).astype(np.float32)
    return lambda faces: (np.stack(faces).reshape(len(faces), -1).astype(np.float32) / 127.5 - 1) @ weights


def cosine(a: np.ndarray, b: np.ndarray) -> Tensor:
    """(N, D) features each -> (N,) float64 in [-1, 1]."""
    x, y = (torch.as_tensor(np.asarray(f, dtype=np.float64)) for f in (a, b))
    return torch.nn.functional.cosine_similarity(x, y, dim=1, eps=1e-12).clamp(-1, 1)


def to_arrays(x: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [0, 255] -> (B, H, W, 3) uint8, rounded to nearest."""
    return x.detach().cpu().round().clamp(0, 255).to(torch.uint8).movedim(1, -1).contiguous().numpy()


def psp_crop(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 and (5, 2) points in it -> (112, 112, 3) uint8 as the pSp family aligns, black outside."""
    import cv2

    to = inverse_fit(points, ARCFACE_POINTS + np.array([8.0, 0.0]))
    return cv2.warpAffine(np.ascontiguousarray(image), to, (SIDE, SIDE))


def inverse_fit(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Similarity from ``source`` to ``target``, (N, 2) each, as (2, 3).

    Least squares on the way back (target to source), then inverted: MATLAB's cp2tform, about 1 % larger than a direct
    fit on noisy points. The source of this rule also fits a mirrored target and means to keep the better of the two,
    but compares both with the mirrored one; that is kept. Fact of eladrich/pixel2style2pixel 5cfff38.
    """
    mirror = np.diag([-1.0, 1.0, 1.0])
    mirrored = target * np.array([-1.0, 1.0])
    plain = np.linalg.inv(_fit(target, source))
    reflected = mirror @ np.linalg.inv(_fit(mirrored, source))
    ones = np.column_stack([source, np.ones(len(source))])
    gaps = [np.linalg.norm((ones @ to.T)[:, :2] - mirrored) for to in (plain, reflected)]
    return (plain if gaps[0] <= gaps[1] else reflected)[:2]


def _fit(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(3, 3) similarity without reflection that maps ``source`` to ``target`` with least squares."""
    x, y = source.T
    one, zero = np.ones(len(x)), np.zeros(len(x))
    system = np.concatenate([np.stack([x, y, one, zero], 1), np.stack([y, -x, zero, one], 1)])
    a, b, right, down = np.linalg.lstsq(system, target.T.ravel(), rcond=None)[0]
    return np.array([[a, b, right], [-b, a, down], [0.0, 0.0, 1.0]])
