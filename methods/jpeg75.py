"""Control: the picture after JPEG at quality 75: what compression alone costs, and what several releases write."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench import api
from bench.images import to_tensor, to_uint8

QUALITY = 75  # Pillow's default, with 4:2:0 chroma: what `Image.save("x.jpg")` of the published scripts writes


class Method(api.Method):
    """Close to the input, never equal to it; a method that seems better than this has no room left to be."""

    title = "JPEG, quality 75"
    source = "control"
    control = True
    expects = "near"

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) -> the mean code and the compressed picture in memory."""
        image = torch.stack([to_tensor(_through_jpeg(p)) for p in to_uint8(x)]).to(x.device)
        return api.Inversion(self.generator.latent_avg.expand(len(x), -1, -1).clone(), {"picture": image})

    def render(self, w_plus: Tensor, inversion: api.Inversion) -> Tensor:
        """The stored picture, whatever the codes say."""
        return inversion.memory["picture"].clone()


def _through_jpeg(image: np.ndarray) -> np.ndarray:
    """(R, R, 3) uint8 -> the same, compressed and read back."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=QUALITY)
    return np.array(Image.open(io.BytesIO(buffer.getvalue())))
