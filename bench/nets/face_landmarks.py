"""The 68 points of a face by insightface's network 1k3d68 (pack buffalo_l), on pictures aligned the FFHQ way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.images import to_uint8

# Where a face detector draws its box (left, top, right, bottom) in a picture aligned the FFHQ way, in parts of the
# side: from jaw to jaw, and from the hairline to the chin. There the points span 0.25..0.75 and, brows to chin,
# 0.38..0.93 (mean over the aligned heads of annyfaces); the network was trained on boxes one and a half times as large.
FACE_BOX = (0.22, 0.22, 0.78, 0.93)


class FaceLandmarks:
    """Pictures (B, 3, R, R) in [-1, 1] -> (B, 68, 2), (column, row); (0, 0) is the centre of the first pixel.

    The box is that of the alignment, not a detector's: every picture is cut alike and none is left without points.
    Each is rounded to uint8 and cut to 192 px by insightface's own class, which runs the network picture by picture.
    Of its points, which have depth, column and row are taken. On as many threads as torch has in this process.

    Raises:
        BenchError: insightface or onnxruntime is not installed; the network finds other points.

    Source: insightface 2.1, model_zoo/landmark.py (Landmark.get).
    """

    def __init__(self, path: Path):
        try:
            import onnxruntime
            from insightface.app.common import Face
            from insightface.model_zoo.landmark import Landmark
        except ImportError as error:
            raise BenchError(
                "landmarks of photographs need insightface and onnxruntime",
                got=f"no {error.name}",
                fix="pip install 'hfgi-bench[face]'",
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.net, self.face = Landmark(model_file=str(path), session=session), Face
        if self.net.taskname != "landmark_3d_68":
            raise BenchError(f"{path} finds no 68 points", got=self.net.taskname, expected="landmark_3d_68")

    def __call__(self, images: Tensor) -> Tensor:
        box = np.array(FACE_BOX) * images.shape[-1] - 0.5  # from corners to pixel centres
        points = [
            self.net.get(np.ascontiguousarray(image[..., ::-1]), self.face(bbox=box))[:, :2]  # it takes BGR
            for image in to_uint8(images)
        ]
        return torch.from_numpy(np.stack(points)).to(images.device, torch.float32)
