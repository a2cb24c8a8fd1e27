"""Any encoder as the low-rate part of another method: pictures to codes, in one pass or in ReStyle's steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.api import Context
from bench.nets.encoder_state import Encoder, prepared, view
from bench.nets.restyle import refine


class BaseEncoder(nn.Module):
    """A frozen encoder with its mean code.

    Args:
        context, weights, kinds, untrained: as :func:`bench.nets.encoder_state.prepared`. Without ``kinds`` there is no
            encoder: every picture gets the generator's own mean code, whatever mean code the weights hold.
        steps: of an encoder that looks at its own render (six channels); the others make one.

    Raises:
        WeightsError: as :func:`prepared`, in particular weights without a mean code: it is never made up.
    """

    def __init__(
        self,
        context: Context,
        weights: Mapping[str, str],
        kinds: tuple[type[Encoder], ...],
        untrained: bool = False,
        steps: int = 5,
    ):
        super().__init__()
        self.generator, self.steps = context.generator, steps
        self.encoder: Encoder | None = None
        self.latent_avg = context.generator.latent_avg
        if kinds:
            self.encoder, self.latent_avg = prepared(context, weights, kinds, untrained)
            if self.encoder.channels_in > 3:
                with torch.no_grad():
                    self.average = self._view(self.latent_avg[None])

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, R, R) in [-1, 1] -> (B, L, D) codes."""
        if self.encoder is None:
            return self.latent_avg.repeat(len(x), 1, 1)
        image = view(x, self.encoder.input_size, "bilinear_aa")
        if self.encoder.channels_in == 3:
            return self.latent_avg + self.encoder(image)
        return list(refine(self.encoder, self._view, image, self.latent_avg, self.average, self.steps))[-1]

    def _view(self, w_plus: Tensor) -> Tensor:
        """(B, L, D) codes -> their render as the encoder sees it, not clamped."""
        assert self.encoder is not None
        return view(self.generator.synthesize(w_plus), self.encoder.input_size, "area")
