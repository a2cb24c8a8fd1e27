"""Face recognisers: unit features whose dot product says how alike two faces are."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from bench.images import resize
from bench.nets.ir_unit import IRUnit, entry
from bench.nets.ops import check_shape

SIDE = 112  # of the faces the published recognisers were trained on
FEATURES = 512
DEPTHS_50, DEPTHS_101 = (3, 4, 14, 3), (3, 13, 30, 3)
CROP_FROM, CROP_ROWS, CROP_COLUMNS = 256, slice(35, 223), slice(32, 220)


class FaceRecogniser(nn.Module):
    """IR trunk at 112 px and a linear layer to 512 numbers.

    Args:
        depths: units of the four groups; the side is halved by the first unit of each.
        se: units with squeeze and excitation.
        affine: the last batch norm has a scale and a bias.
        width: channels of the first group, doubled from group to group (published: 64).

    Source: Deng et al. 2019 (ArcFace) and Huang et al. 2020 (CurricularFace); parameter names of ``model_ir_se50.pth``
    (:func:`arcface_ir_se50`) and ``CurricularFace_Backbone.pth`` (:func:`curricularface_ir101`).
    """

    def __init__(self, depths: Sequence[int], se: bool, affine: bool, width: int = 64):
        super().__init__()
        last, side = width << (len(depths) - 1), SIDE >> len(depths)
        self.input_layer = entry(3, width)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(last),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(last * side * side, FEATURES),
            nn.BatchNorm1d(FEATURES, affine=affine),
        )
        units, before = [], width
        for group, depth in enumerate(depths):
            for n in range(depth):
                units.append(IRUnit(before, width << group, 1 if n else 2, se))
                before = width << group
        self.body = nn.Sequential(*units)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 112, 112) aligned faces in [-1, 1] -> (B, 512) of unit length.

        Raises:
            ShapeError: another size; see :func:`face_crop`.
        """
        check_shape("faces", x, (None, 3, SIDE, SIDE))
        return F.normalize(self.output_layer(self.body(self.input_layer(x))), dim=1)


def arcface_ir_se50() -> FaceRecogniser:
    """The network of the identity loss of pSp, e4e, ReStyle and HFGI; 43.8 M numbers."""
    return FaceRecogniser(DEPTHS_50, se=True, affine=True)


def curricularface_ir101() -> FaceRecogniser:
    """The network of the published identity similarity; 65.2 M numbers."""
    return FaceRecogniser(DEPTHS_101, se=False, affine=False)


def face_crop(x: Tensor) -> Tensor:
    """Cut the face out of an FFHQ-aligned picture and bring it to the recogniser's size.

    Args:
        x: (B, 3, 256, 256); the sources pool larger renders to 256 by area before.
    Returns:
        (B, 3, 112, 112): rows 35 to 222 and columns 32 to 219, averaged over (uneven) cells.
    Raises:
        ShapeError: any other size.

    Source: identity loss of eladrich/pixel2style2pixel 5cfff38, shared by all later systems.
    """
    check_shape("pictures", x, (None, 3, CROP_FROM, CROP_FROM))
    return resize(x[:, :, CROP_ROWS, CROP_COLUMNS], SIDE, "area")


def similarity(features: Tensor, other: Tensor) -> Tensor:
    """Cosine of unit features: (B, D), (B, D) -> (B,) in [-1, 1]. The identity loss is the mean of one minus it."""
    check_shape("features", other, tuple(features.shape))
    return (features * other).sum(1)
