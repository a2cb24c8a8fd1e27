"""Gradient checkpointing: the synthesis network's layers are computed a second time in the backward pass.

At 1024 px its activations fill the memory, not the encoder's. Encoders are left alone: their batch norms would count
every batch twice.
"""

from __future__ import annotations

from functools import partial

from torch.utils.checkpoint import checkpoint

from bench.nets.stylegan2 import Generator


def recompute_layers(net: Generator) -> None:
    """Keep only the inputs of each synthesis layer; results and gradients stay the same. In place, once."""
    for layer in (net.conv1, *net.convs, net.to_rgb1, *net.to_rgbs):
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
