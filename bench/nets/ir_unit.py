"""Parts of the improved ArcFace networks: entry, residual unit (IR), the same with squeeze and excitation (IR-SE)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

REDUCTION = 16


def entry(channels_in: int, channels_out: int) -> nn.Sequential:
    """3x3 convolution, batch norm, PReLU: (B, I, H, W) -> (B, O, H, W)."""
    convolution = nn.Conv2d(channels_in, channels_out, 3, 1, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.PReLU(channels_out))


class IRUnit(nn.Module):
    """Batch norm, 3x3, PReLU, 3x3 with the stride, batch norm (, squeeze and excitation), plus a shortcut.

    The shortcut takes every ``stride``-th pixel; where the width changes it is a 1x1 convolution and batch norm.

    Source: Deng et al. 2019 (ArcFace); Hu et al. 2018 (SE); parameter names of eladrich/pixel2style2pixel 5cfff38.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, se: bool = False):
        super().__init__()
        self.stride = stride
        self.shortcut_layer: nn.Sequential | None = None
        if channels_in != channels_out:
            projection = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.shortcut_layer = nn.Sequential(projection, nn.BatchNorm2d(channels_out))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.Conv2d(channels_in, channels_out, 3, 1, 1, bias=False),
            nn.PReLU(channels_out),
            nn.Conv2d(channels_out, channels_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        if se:
            self.res_layer.append(SqueezeExcitation(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H / stride, W / stride), rounded up."""
        identity = x[..., :: self.stride, :: self.stride] if self.shortcut_layer is None else self.shortcut_layer(x)
        return self.res_layer(x) + identity


class SqueezeExcitation(nn.Module):
    """Each channel weighted by what the means of all channels say."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // REDUCTION, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // REDUCTION, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same shape."""
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True)))))
