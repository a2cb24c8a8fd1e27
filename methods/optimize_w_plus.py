"""Optimisation of W+ codes per picture, after Image2StyleGAN: slow, no training, the classic upper baseline."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench import api
from bench.images import resize
from bench.nets.perceptual import STAGES, PerceptualDistance


class Method(api.Method):
    """Adam on the codes of all layers, from the mean code, on squared error and a perceptual distance.

    The pictures of a batch share each forward and backward pass but nothing else: the loss is a sum over pictures and
    Adam works number by number, so every picture takes the steps it would take alone.

    Differs from the source in what a CPU can pay: fewer steps with a larger, scheduled rate, features of
    EfficientNet-Lite0 instead of VGG-16. Rates are in units of the spread of W, so they carry over between generators.
    """

    title = "Optimization (W+)"
    source = "Abdal et al. 2019 (Image2StyleGAN), Sec. 4; rate schedule of Karras et al. 2020 (StyleGAN2), Appendix D"
    cost = "slow"
    options = {
        "steps": 80,  # about 2.5 s a picture on one core at 128 px
        "lr": 0.1,  # Adam's rate, times the standard deviation of the generator's codes
        "ramp_up": 0.05,  # share of the steps in which the rate rises linearly
        "ramp_down": 0.5,  # share of the steps in which it falls to 0 along a cosine
        "perceptual": 0.1,  # weight of the perceptual distance beside the mean squared error on [-1, 1]
        "perceptual_size": 64,  # side at which it is taken
        "stages": 3,  # how many stages of its network are compared, shallow first
    }
    lowest = {"steps": 1, "lr": 0, "ramp_up": 0, "ramp_down": 0, "perceptual": 0, "perceptual_size": 1, "stages": 1}
    quick = {"steps": 3}

    def setup(self) -> None:
        """Measure the spread of W; build the feature network if it has a weight."""
        self.latent_std = float(self.generator.sample_w(4096, seed=0)[:, 0].std(0).mean())
        self.distance = None
        if self.opt["perceptual"]:
            self.distance = PerceptualDistance(STAGES[: self.opt["stages"]]).to(self.device)

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) in [-1, 1] -> the optimised codes; nothing else is kept."""
        target = self.features(x)
        w_plus = self.generator.latent_avg.repeat(len(x), 1, 1).requires_grad_()
        adam = torch.optim.Adam([w_plus], betas=(0.9, 0.999))
        for step in range(self.opt["steps"]):
            adam.param_groups[0]["lr"] = self.opt["lr"] * self.latent_std * self.ramp(step / self.opt["steps"])
            with torch.enable_grad():
                loss = self.loss(self.generator.synthesize(w_plus), x, target).sum()
            (w_plus.grad,) = torch.autograd.grad(loss, w_plus)
            adam.step()
            self.context.progress((step + 1) / self.opt["steps"])
        return api.Inversion(w_plus.detach())

    def features(self, x: Tensor) -> list[Tensor]:
        """What the perceptual distance compares, or nothing if it has no weight."""
        if self.distance is None:
            return []
        return self.distance.features(resize(x, min(self.opt["perceptual_size"], x.shape[-1]), "area"))

    def loss(self, x_hat: Tensor, x: Tensor, target: list[Tensor]) -> Tensor:
        """(B,) one loss per picture."""
        loss = (x_hat - x).square().mean((1, 2, 3))
        if self.distance is not None:
            loss = loss + self.opt["perceptual"] * self.distance.between(self.features(x_hat), target)
        return loss

    def ramp(self, progress: float) -> float:
        """Share of the full rate at ``progress`` in [0, 1): up linearly, then level, then down along a cosine."""
        up, down = self.opt["ramp_up"], self.opt["ramp_down"]
        rising = min(1.0, (progress + 1 / self.opt["steps"]) / up) if up else 1.0
        falling = min(1.0, (1 - progress) / down) if down else 1.0
        return rising * (0.5 - 0.5 * math.cos(falling * math.pi))
