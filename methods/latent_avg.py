"""Floor: the generator's mean picture for everything. A method that does not beat this has learned nothing."""

from __future__ import annotations

from torch import Tensor

from bench import api


class Method(api.Method):
    """Ignores the picture; codes are the mean code of the generator."""

    title = "Mean code (floor)"
    source = "control"
    control = True
    expects = "floor"

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) -> the mean code for each picture."""
        return api.Inversion(self.generator.latent_avg.expand(len(x), -1, -1).clone())
