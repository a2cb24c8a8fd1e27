"""What the discriminators of a generator training learn in a step; the images they judge come from outside."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.nets.projected_discriminator import ProjectedDiscriminator
from bench.nets.stylegan2 import Discriminator
from bench.training import losses


@dataclass
class Drawn:
    """Images of one step, drawn once for the generator and both discriminators, and features of the frozen network.

    Args:
        w: (B, D) codes of the pictures.
        images: (B + B // 2, 3, R, R): reconstructions of all pictures, then samples.
        maps: features of ``images``, one map per stage of the frozen network.
        real_maps: those of the pictures.
        judged_maps, judged_real_maps: what the projected discriminator sees; other features than these where it sees
            blurred images.
    """

    w: Tensor
    images: Tensor
    maps: list[Tensor]
    real_maps: list[Tensor]
    judged_maps: list[Tensor]
    judged_real_maps: list[Tensor]

    @property
    def fakes(self) -> slice:
        """What discriminators see of ``images``: the later half of the reconstructions, and the samples."""
        return slice(len(self.w) // 2, None)


def adversarial_gradient(
    discriminator: Discriminator,
    x: Tensor,
    fakes: Tensor,
    r1: float | None,
    autocast: Callable[[], AbstractContextManager],
) -> dict[str, float]:
    """Add the gradient of the non-saturating loss, and of R1 where it is due, to the discriminator's.

    Args:
        discriminator: what learns.
        x: (B, 3, R, R) pictures in [-1, 1].
        fakes: (B, 3, R, R) drawn images, without their graph.
        r1: factor on the gradient penalty; None leaves it out.
        autocast: context of the forward passes.
    Returns:
        losses and mean logits.
    """
    discriminator.requires_grad_(True)
    with autocast():
        real, fake = discriminator(x).float(), discriminator(fakes).float()
    loss = losses.discriminator_adversarial(real, fake)
    loss.backward()
    report = {
        "discriminator": float(loss.detach()),
        "real_logit": float(real.detach().mean()),
        "fake_logit": float(fake.detach().mean()),
    }
    if r1 is not None:
        penalty = losses.r1_penalty(discriminator, x)  # float32: bf16 double backward kills some CPUs (SIGFPE)
        (penalty * r1).backward()
        report["r1"] = float(penalty.detach())
    return report


def projected_gradient(
    projected: ProjectedDiscriminator,
    real_maps: list[Tensor],
    fake_maps: list[Tensor],
    autocast: Callable[[], AbstractContextManager],
) -> dict[str, float]:
    """Add the gradient of the hinge loss to the projected discriminator's.

    Args:
        projected: what learns.
        real_maps, fake_maps: frozen features of pictures and of drawn images, without their graph, one map a scale.
        autocast: context of the forward passes.
    Returns:
        loss and mean logits.
    """
    projected.requires_grad_(True)
    with autocast():
        real, fake = projected(real_maps), projected(fake_maps)
    loss = losses.discriminator_hinge(real, fake)
    loss.backward()
    return {
        "projected_discriminator": float(loss.detach()),
        "projected_real": float(torch.stack([r.detach().mean() for r in real]).mean()),
        "projected_fake": float(torch.stack([f.detach().mean() for f in fake]).mean()),
    }
