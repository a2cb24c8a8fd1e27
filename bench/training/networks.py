"""The networks of a generator training at one resolution, and how they grow."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from bench.nets.layers import ToRGB
from bench.nets.projected_discriminator import ProjectedDiscriminator
from bench.nets.stylegan2 import Discriminator, Generator
from bench.training.config import GeneratorConfig
from bench.training.known import target_count
from bench.training.scaffold import LatentCritic, ScaffoldEncoder, take_over


class Networks(nn.Module):
    """Everything trained, at one resolution."""

    def __init__(self, config: GeneratorConfig, resolution: int):
        super().__init__()
        self.resolution = resolution
        channels = {r: c for r, c in config.channels.items() if r <= resolution}
        self.generator = Generator(resolution, config.style_dim, config.n_mlp, channels=channels)
        self.encoder = ScaffoldEncoder(resolution, config.style_dim, channels)
        self.discriminator = Discriminator(resolution, channels=channels)
        self.critic = LatentCritic(config.style_dim)
        targets = target_count(config.known)
        self.reader = nn.Linear(config.style_dim, targets) if targets else nn.Identity()
        self.average_generator = Generator(resolution, config.style_dim, config.n_mlp, channels=channels)
        self.average_encoder = ScaffoldEncoder(resolution, config.style_dim, channels)
        take_over(self.average_generator, self.generator.state_dict())
        take_over(self.average_encoder, self.encoder.state_dict())
        self.average_generator.requires_grad_(False)
        self.average_encoder.requires_grad_(False).eval()
        self.projected: ProjectedDiscriminator | None = None
        if any(phase.projected for phase in config.phases):
            self.projected = ProjectedDiscriminator(resolution, config.seed)
        for net in (self.encoder, self.average_encoder, self.discriminator, self.projected):
            if net is not None:
                net.to(memory_format=torch.channels_last)

    def grown(self, config: GeneratorConfig, resolution: int) -> Networks:
        """The same networks at a higher resolution; new layers start fresh, the new ToRGB silent.

        The projected discriminator starts anew: all its scales have changed.
        """
        new = Networks(config, resolution)
        shift = (resolution // self.resolution).bit_length() - 1
        take_over(new.generator, self.generator.state_dict())
        for layer in new.generator.to_rgbs[-shift:]:
            nn.init.zeros_(cast(ToRGB, layer).conv.weight)  # the grown network starts as the old one, up-sampled
        take_over(new.encoder, self.encoder.state_dict())
        take_over(new.critic, self.critic.state_dict())
        take_over(new.reader, self.reader.state_dict())
        take_over(new.discriminator, {_shifted(k, shift): v for k, v in self.discriminator.state_dict().items()})
        for name in ("generator", "encoder"):
            average, live = getattr(new, f"average_{name}"), getattr(new, name).state_dict()
            fresh = take_over(average, getattr(self, f"average_{name}").state_dict())
            average.load_state_dict({**average.state_dict(), **{k: live[k] for k in fresh}})
        return new

    @torch.no_grad()
    def average(self, beta: float) -> None:
        """One step of the exponential moving averages."""
        for mean, live in ((self.average_generator, self.generator), (self.average_encoder, self.encoder)):
            for a, b in zip(mean.parameters(), live.parameters(), strict=True):
                a.lerp_(b, 1 - beta)
            for averaged, now in zip(mean.buffers(), live.buffers(), strict=True):
                averaged.copy_(now)


def _shifted(key: str, shift: int) -> str:
    """Name of a discriminator tensor after ``shift`` blocks were put before it; the RGB layer is not carried over."""
    head, number, *rest = key.split(".", 2)
    if head != "convs":
        return key
    return f"convs.{int(number) + shift}.{rest[0]}" if int(number) else f"outgrown.{key}"
