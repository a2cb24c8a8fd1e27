"""ReStyle: an encoder looks at a picture and the render of its last guess, and corrects the guess."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench import api
from bench.errors import BenchError
from bench.nets.encoder_start import fresh_encoder, losses_of, one_of, trained_encoder
from bench.nets.encoder_state import Encoder, prepared, view

OPTIONS: Mapping[str, Any] = {  # of a training
    "inner_steps": 5,
    "kind": "ir",  # of trunk: "ir" as published for faces, "resnet" (ResNet-34) as published for all else
    "render_start": "zero",  # what the entry makes of the render at first: nothing, or "normal": N(0, 1), as published
}


def refine(
    encoder: Callable[[Tensor], Tensor],
    shown: Callable[[Tensor], Tensor],
    picture: Tensor,
    latent_avg: Tensor,
    average: Tensor,
    steps: int,
) -> Iterator[Tensor]:
    """Codes after each step; nothing is rendered after the last.

    Args:
        encoder: (B, 6, H, W), the picture first, then the render -> (B, L, D) corrections.
        shown: (B, L, D) codes -> (B, 3, H, W) render at the encoder's size, not clamped.
        picture: (B, 3, H, W) in [-1, 1].
        latent_avg, average: (L, D) code that is corrected first, and (1, 3, H, W) its render.
        steps: how many, 1 at least.
    Yields:
        (B, L, D), a new tensor each time.

    Source: Alaluf et al. 2021 (ReStyle), Sec. 3; yuval-alaluf/restyle-encoder 5e80276.
    """
    if steps < 1:
        raise BenchError("ReStyle needs a step", got=steps, expected="1 at least")
    w_plus, render = latent_avg, average.expand(len(picture), -1, -1, -1)
    for step in range(steps):
        w_plus = w_plus + encoder(torch.cat([picture, render], 1))
        yield w_plus
        if step + 1 < steps:
            render = shown(w_plus)


def corrections(
    encoder: Callable[[Tensor], Tensor],
    synthesize: Callable[[Tensor], Tensor],
    shown: Callable[[Tensor], Tensor],
    picture: Tensor,
    latent_avg: Tensor,
    average: Tensor,
    steps: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """As :func:`refine`, to learn from: every step is rendered, and no gradient flows from one step to the one before.

    Args:
        synthesize: (B, L, D) codes -> (B, 3, R, R) render. shown: that render -> (B, 3, H, W) as the encoder sees it.
    Yields:
        (B, L, D) codes and their render.

    Source: training of yuval-alaluf/restyle-encoder 5e80276: the losses of all steps of a batch are added up.
    """
    w_plus, render = latent_avg, average.expand(len(picture), -1, -1, -1)
    for _ in range(steps):
        w_plus = w_plus.detach() + encoder(torch.cat([picture, render], 1))
        x_hat = synthesize(w_plus)
        yield w_plus, x_hat
        render = shown(x_hat.detach())


class ReStyle(api.TrainableMethod):
    """The method but for its encoder and its losses.

    A subclass names the encoders and the losses of an inner step (:meth:`step_losses`); one whose corrections depend
    on the state of its training overrides :meth:`correct`.

    Class attributes:
        kinds: kind of trunk -> encoder of six channels; the first is the one for faces.

    Attributes:
        latent_avg: (L, D) mean code, which every picture starts from. average: (1, 3, H, W) its render.
        plan: options of the training. reconstruction: losses of a render against its picture.
    """

    kinds: ClassVar[Mapping[str, type[Encoder]]]

    def setup(self) -> None:
        """Build the encoder that the weights describe; render its mean code."""
        kinds = tuple(self.kinds.values())
        self.encoder, self.latent_avg = prepared(self.context, self.weights, kinds, self.opt["untrained"])
        self.average = self.view_of(self.latent_avg[None])

    def embed(self, x: Tensor) -> api.Inversion:
        """(B, 3, R, R) in [-1, 1] -> codes after the last step, and those after every step as its trace."""
        found = self.codes_per_step(x)
        return api.Inversion(found[-1], steps=torch.stack(found, 1))

    def codes_per_step(self, x: Tensor) -> list[Tensor]:
        """(B, 3, R, R) in [-1, 1] -> (B, L, D) codes after each step."""
        steps = self.opt["steps"]
        found: list[Tensor] = []
        for w_plus in refine(self.correct, self.view_of, self.picture(x), self.latent_avg, self.average, steps):
            found.append(w_plus)
            self.context.progress(len(found) / steps)
        return found

    def correct(self, pair: Tensor) -> Tensor:
        """(B, 6, H, W) picture and render -> (B, L, D) corrections."""
        return self.encoder(pair)

    def picture(self, x: Tensor) -> Tensor:
        """(B, 3, R, R) picture -> (B, 3, H, W) as the encoder sees it."""
        return view(x, self.encoder.input_size, "bilinear_aa")

    def seen(self, x_hat: Tensor) -> Tensor:
        """(B, 3, R, R) render -> (B, 3, H, W) as the encoder sees it, not clamped."""
        return view(x_hat, self.encoder.input_size, "area")

    def view_of(self, w_plus: Tensor) -> Tensor:
        """(B, L, D) codes -> (B, 3, H, W), their render as the encoder sees it, not clamped."""
        return self.seen(self.generator.synthesize(w_plus))

    def start_training(self, options: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """Make a fresh encoder around the generator's mean code and its render."""
        self.latent_avg, self.plan = self.generator.latent_avg, options
        self.encoder = fresh_encoder(one_of(self.kinds, options), self.context, options)
        self.reconstruction = losses_of(self.context, options, weights)
        with torch.no_grad():
            self.average = self.view_of(self.latent_avg[None])

    def trainable(self) -> nn.Module:
        """The encoder."""
        return self.encoder

    def step_losses(self, w_plus: Tensor, x_hat: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Scalar losses of an inner step by name: its codes (B, L, D) and their render, against the picture."""
        raise NotImplementedError(f"{type(self).__qualname__}.step_losses")

    def training_losses(self, x: Tensor, rng: torch.Generator, seen: int) -> Iterator[dict[str, Tensor]]:
        """Losses after every inner step (Alaluf et al. 2021, Sec. 3)."""
        draw = partial(self.generator.synthesize, noise=self.plan["noise"])
        for w_plus, x_hat in self._corrections(draw, x):
            yield self.step_losses(w_plus, x_hat, x)

    def training_codes(self, x: Tensor) -> Iterator[Tensor]:
        """(B, L, D) codes after every inner step."""
        for w_plus, _ in self._corrections(torch.no_grad()(self.generator.synthesize), x):
            yield w_plus

    def _corrections(self, draw: Callable[[Tensor], Tensor], x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        picture, steps = self.picture(x), self.plan["inner_steps"]
        return corrections(self.correct, draw, self.seen, picture, self.latent_avg, self.average, steps)

    def trained(self, net: nn.Module) -> dict[str, Tensor]:
        """``encoder.`` and ``latent_avg``."""
        return trained_encoder(net, self.latent_avg)
