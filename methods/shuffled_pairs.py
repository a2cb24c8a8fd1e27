"""Control: every picture is answered with another one of the same data set: where chance lies in every metric."""

from __future__ import annotations

from torch import Tensor

from bench import api


class Method(api.Method):
    """Keeps the picture it is shown, and the harness shows it another one than it is scored on.

    Pair metrics must find it worse than any method; set metrics cannot tell it from the sources: the set is the same.
    """

    title = "Shuffled pairs (chance)"
    source = "control"
    control = True
    expects = "unpaired"
    shown = "another"

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) -> the mean code and the picture in memory."""
        w_plus = self.generator.latent_avg.expand(len(x), -1, -1).clone()
        return api.Inversion(w_plus, {"picture": x.clone()})

    def render(self, w_plus: Tensor, inversion: api.Inversion) -> Tensor:
        """The stored picture, whatever the codes say."""
        return inversion.memory["picture"].clone()
