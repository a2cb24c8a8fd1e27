"""A trunk for all encoders: pictures to the codes of the encoder that the generator was trained with.

Published encoders start from a face recogniser's trunk (ArcFace on IR-SE50). This one plays that part where no such
file exists. Nothing is rendered, so it sees many times more pictures in an hour than an encoder's own training does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import api
from bench.nets.resnet_ir import IRTrunk
from bench.nets.statedict import part
from bench.training.scaffold import teacher


class TrunkWithReader(nn.Module):
    """A trunk and a linear reading of a code from its coarsest map."""

    def __init__(self, trunk: IRTrunk, style_dim: int):
        super().__init__()
        self.trunk = trunk
        pixels = (trunk.input_size >> len(trunk.widths)) ** 2 if isinstance(trunk.input_size, int) else 0
        self.reader = nn.Linear(trunk.widths[-1] * pixels, style_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, R, R) -> (B, D)."""
        return self.reader(self.trunk.features(x)[-1].flatten(1))


class TrunkTraining(api.TrainableMethod):
    """Regression of the scaffold encoder's codes, mean squared error. Every other network stays out of it."""

    title = "trunk"
    source = "this suite"
    training = {
        "groups": [],  # (channels, units) of each group, as bench.nets.resnet_ir.IRTrunk
        "teacher": "",  # id of weights with `average_encoder.` or `encoder.`, as `bench train generator` exports
        "channels": {},  # side -> width of the teacher
    }

    def start_training(self, options: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """Build the trunk; load the teacher."""
        generator = self.generator
        groups = [(width, units) for width, units in options["groups"]]
        trunk = IRTrunk(3, groups, True, generator.resolution)
        self.net = TrunkWithReader(trunk, generator.style_dim).to(self.device)
        state = self.context.load_weights(options["teacher"])
        self.teacher = teacher(state, generator.resolution, generator.style_dim, options["channels"]).to(self.device)

    def trainable(self) -> nn.Module:
        """Trunk and reader."""
        return self.net

    def training_loss(self, x: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """``code``: mean squared error of the codes, whose variance is about 1."""
        with torch.no_grad():
            target = self.teacher(x)
        return {"code": F.mse_loss(self.net(x).float(), target.float())}

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) -> the code that is read, the same for all layers."""
        return api.Inversion(self.net(x).float().unsqueeze(1).repeat(1, self.generator.n_latent, 1))

    def trained(self, net: nn.Module) -> dict[str, Tensor]:
        """The trunk alone, keys as in an encoder."""
        return part(net.state_dict(), "trunk.")
