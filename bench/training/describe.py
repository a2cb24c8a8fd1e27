"""What a training will be, before it starts: settings, networks, and an estimate of its memory and time."""

from __future__ import annotations

import time

import torch
import yaml
from torch import nn

from bench.training.loop import Loop

PROBED = 2  # pictures in the step that is measured: batch norms want more than one
STATES = {"adam": 2, "adamw": 2, "adam_lookahead": 3, "ranger": 3}  # numbers an optimiser keeps for a parameter


def describe(loop: Loop, held_out: int) -> str:
    """Text of a dry run. The losses of two pictures are computed and measured; nothing is saved.

    Args:
        loop: a fresh training. held_out: number of held-out pictures.
    """
    preset = loop.preset
    networks = {preset.method: loop.net, **loop.discriminators}
    frozen = sum(p.numel() for p in loop.method.generator.net.parameters())
    lines = [yaml.safe_dump(preset.model_dump(), sort_keys=False).rstrip()]
    lines.append(f"{len(loop.data.ids):,} training pictures, {held_out:,} held out")
    lines += [f"{name}: {_count(net):,} parameters to train" for name, net in networks.items()]
    lines.append(f"generator: {frozen:,} parameters, frozen")
    bytes_per_image, seconds = _probe(loop)
    micro = preset.micro_batch or preset.batch // loop.world.size
    learning = sum(_count(net) for net in networks.values())
    states = STATES.get(preset.optimizer.name, 2)
    fixed = 4 * (learning * (2 + states + bool(preset.ema_images)) + frozen)
    steps = preset.images // preset.batch
    lines += [
        f"memory: about {_size(fixed + bytes_per_image * micro)} a process ({_size(fixed)} for parameters, "
        f"gradients and optimizer; {_size(bytes_per_image)} kept for the backward pass of each of "
        f"{micro} pictures), without work space",
        f"time: {seconds:.3f} s a picture here, {steps:,} steps of {preset.batch}: "
        f"about {_hours(seconds * preset.images / loop.world.size)} with {loop.world.size} process(es) like this one",
    ]
    return "\n".join(lines)


def _count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def _probe(loop: Loop) -> tuple[int, float]:
    """Bytes kept for the backward pass and seconds, per picture, of a step beyond the guide."""
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter):
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = torch.rand(PROBED, 3, *loop.data.images.shape[1:3], device=loop.device) * 2 - 1
    loop.method.context.image_seeds = [0] * PROBED
    most_bytes, clock = 0, 0.0
    for _ in range(2):  # the first time is not measured: work spaces are being made
        rng, clock = torch.Generator().manual_seed(0), time.monotonic()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            losses = loop.method.training_losses(x, rng, loop.preset.images)
            while (terms := loop.computed(losses)) is not None:
                most_bytes = max(most_bytes, sum(sizes.values()))
                torch.stack([value.float() for value in terms.values()]).sum().backward()
                sizes.clear()
    return most_bytes // PROBED, (time.monotonic() - clock) / PROBED


def _size(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"
