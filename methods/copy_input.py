"""Ceiling: keep the picture itself. A method cannot be better, and its rate shows what that costs."""

from __future__ import annotations

from torch import Tensor

from bench import api


class Method(api.Method):
    """Every metric is perfect but the rate, and no edit changes anything: fidelity alone is not inversion."""

    title = "Copy of the input (ceiling)"
    source = "control"
    control = True
    expects = "ideal"

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) -> the mean code and the picture in memory."""
        w_plus = self.generator.latent_avg.expand(len(x), -1, -1).clone()
        return api.Inversion(w_plus, {"picture": x.clone()})

    def render(self, w_plus: Tensor, inversion: api.Inversion) -> Tensor:
        """The stored picture, whatever the codes say."""
        return inversion.memory["picture"].clone()
