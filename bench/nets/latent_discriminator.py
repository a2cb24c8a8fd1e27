"""Discriminator of latent codes: tells codes of an encoder from codes the mapping network makes."""

from __future__ import annotations

from torch import Tensor, nn

from bench.nets.ops import SLOPE, check_shape


class LatentDiscriminator(nn.Module):
    """Plain multilayer perceptron on single codes w; every code of a W+ is judged on its own.

    Args:
        style_dim: length D of a code.
        hidden: width of the hidden layers.
        depth: number of hidden layers.

    Source: Tov et al. 2021 (e4e), Sec. 4.2; layout of ``discriminator_state_dict`` of
    omertov/encoder4editing 99ea505.
    """

    def __init__(self, style_dim: int = 512, hidden: int = 512, depth: int = 3):
        super().__init__()
        self.style_dim = style_dim
        widths = [style_dim, *[hidden] * depth]
        parts: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            parts += [nn.Linear(before, after), nn.LeakyReLU(SLOPE)]
        self.mlp = nn.Sequential(*parts, nn.Linear(widths[-1], 1))

    def forward(self, w: Tensor) -> Tensor:
        """(B, D) codes -> (B, 1) logits, high for codes that look mapped.

        Raises:
            ShapeError: not a batch of single codes; flatten a W+ (B, L, D) to (B L, D) first.
        """
        check_shape("w", w, (None, self.style_dim))
        return self.mlp(w)
