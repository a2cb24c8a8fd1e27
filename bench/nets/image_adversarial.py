"""A discriminator of pictures in training, and its losses on and against a method."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import WeightsError
from bench.images import resize
from bench.nets.stylegan2 import Discriminator


def discriminator_from(state: Mapping[str, Tensor], what: str) -> Discriminator:
    """The discriminator that holds these tensors; its size and widths are read off them. Trainable.

    Raises:
        WeightsError: not those of a StyleGAN2 discriminator.
    """
    blocks = 0
    while f"convs.{blocks + 1}.skip.1.weight" in state:
        blocks += 1
    try:
        widths = [len(state["convs.0.0.weight"])]
        widths += [len(state[f"convs.{n + 1}.skip.1.weight"]) for n in range(blocks)]
        net = Discriminator(4 << blocks, channels={(4 << blocks) >> n: width for n, width in enumerate(widths)})
        net.load_state_dict(dict(state))
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{what} hold no discriminator", got=str(error).splitlines()[0]) from None
    return net


class ImageAdversarialLoss(nn.Module):
    """Non-saturating adversarial losses with a gradient penalty.

    Args:
        net: takes pictures of side ``net.size``; others are pooled or enlarged to it. Pictures and renders must come
            with one side, or how they were brought to ``net.size`` gives them away.
        r1_every: steps between two penalties.

    Source: Wang et al. 2022 (HFGI), Eq. 6 and 7; Karras et al. 2020 (StyleGAN2) for the lazy penalty.
    """

    def __init__(self, net: Discriminator, r1_every: int = 16):
        super().__init__()
        self.net, self.r1_every = net, r1_every

    def verdict(self, x_hat: Tensor) -> Tensor:
        """Loss of the method: (B, 3, R, R) renders should look like pictures."""
        return F.softplus(-self._logits(x_hat)).mean()

    def losses(self, x: Tensor, x_hat: Tensor, step: int) -> dict[str, Tensor]:
        """Losses of the discriminator: ``image_discriminator``, and every ``r1_every`` steps ``image_r1``.

        Args:
            x, x_hat: (B, 3, R, R) pictures and renders, detached; unclamped, as the method's loss sees them.
        Returns:
            scalars; the penalty is half the squared gradient at pictures, times the steps it stands for.
        """
        discriminator_loss = F.softplus(-self._logits(x)).mean() + F.softplus(self._logits(x_hat)).mean()
        if step % self.r1_every:
            return {"image_discriminator": discriminator_loss}
        with torch.autocast(x.device.type, enabled=False):  # float32: bf16 double backward kills some CPUs (SIGFPE)
            real = resize(x.float(), self.net.size, "area").detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.net(real).sum(), real, create_graph=True)
        penalty = gradient.square().sum((1, 2, 3)).mean() / 2 * self.r1_every
        return {"image_discriminator": discriminator_loss, "image_r1": penalty}

    def _logits(self, x: Tensor) -> Tensor:
        return self.net(resize(x, self.net.size, "area")).float()
