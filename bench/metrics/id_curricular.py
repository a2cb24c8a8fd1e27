"""Identity similarity as the pSp family prints it: MTCNN on each picture, its alignment, CurricularFace IR-101.

A picture in which no face is found has no score: it is counted and named, where the official script skips it silently
and so averages other pictures for each method.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench import api


class Metric(api.PairMetric):
    """Cosine of the features of both faces, NaN where a face is not found. 1 is the same face."""

    title = "ID (CurricularFace)"
    value_range, higher_is_better, ideal = (0.0, 255.0), True, 1.0
    source = "Huang et al. 2020; scripts/calc_id_loss_parallel.py of eladrich/pixel2style2pixel 5cfff38"
    details = "rgb|CurricularFace IR-101|112 px, MTCNN on each picture,first face,inverse fit|float32"
    weights, packages, extra = ("curricularface", "mtcnn"), ("cv2",), "face"

    def __init__(self, device: torch.device | str = "cpu", weights: api.MetricWeights | None = None):
        from bench.nets.identity import FaceRecogniser, curricularface_ir101
        from bench.nets.mtcnn import MTCNN

        super().__init__(device, weights)
        self.finder: MTCNN | None = None
        if self.networks.untrained:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                self.net = FaceRecogniser((1, 1, 1, 1), se=False, affine=False, width=8)
        else:
            with torch.device("meta"):
                self.net = curricularface_ir101()
            self.net.load_state_dict(self.networks.load("curricularface", "network"), strict=True, assign=True)
            self.finder = MTCNN()
            for part in ("pnet", "rnet", "onet"):
                getattr(self.finder, part).load_state_dict(self.networks.load("mtcnn", part), strict=True)
            self.finder.to(device)
        self.net.to(device).eval().requires_grad_(False)

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 255] -> (B,) float64 in [-1, 1], NaN where a face is not found."""
        from bench.measures.faces import cosine, to_arrays

        pairs = [[self._face(image) for image in to_arrays(batch)] for batch in self.pair(x, x_hat)]
        both_faces = [n for n, faces in enumerate(zip(*pairs, strict=True)) if all(face is not None for face in faces)]
        values = torch.full((len(x),), float("nan"), dtype=torch.float64)
        if both_faces:
            values[both_faces] = cosine(*(self._features([faces[n] for n in both_faces]) for faces in pairs))
        return values

    def _face(self, image: np.ndarray) -> np.ndarray | None:
        """(112, 112, 3) uint8 of the first face."""
        from bench.measures.faces import FFHQ_POINTS, psp_crop

        points = self.finder.points(image) if self.finder else FFHQ_POINTS * len(image)  # untrained: finds nothing
        return None if points is None else psp_crop(image, points)

    def _features(self, faces: list[np.ndarray | None]) -> np.ndarray:
        """(N, 512) float32."""
        x = torch.from_numpy(np.stack([np.asarray(face) for face in faces])).movedim(-1, 1).float()
        with torch.no_grad():
            return self.net(((x / 255 - 0.5) / 0.5).to(self.device)).cpu().numpy()
