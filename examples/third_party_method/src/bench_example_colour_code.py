"""An example of a method from another package: of many random codes, the one whose render has the nearest colour."""

from __future__ import annotations

import torch
from torch import Tensor

from bench import api


class Method(api.Method):
    """A lookup in a table of codes by mean colour. A real method would run an encoder here."""

    title = "Nearest colour"
    source = "examples/third_party_method"
    options = {"codes": 64, "seed": 0}
    lowest = {"codes": 1}
    quick = {"codes": 8}

    def setup(self) -> None:
        """Render the table once; no clock runs yet."""
        self.table = self.generator.sample_w(self.opt["codes"], self.opt["seed"])
        self.colours = torch.cat([self.colour(self.generator.synthesize(w_plus[None])) for w_plus in self.table])

    def colour(self, pictures: Tensor) -> Tensor:
        """(B, 3, R, R) -> (B, 3) means over the pixels."""
        return pictures.clamp(-1, 1).mean((2, 3))

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) in [-1, 1] -> codes (B, L, D); the inherited `render` makes pictures of them."""
        distance = (self.colour(x)[:, None] - self.colours).square().sum(2)
        return api.Inversion(self.table[distance.argmin(1)])
