"""Optimisers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from bench.errors import BenchError, UnknownName
from bench.training.lookahead import AdamLookAhead, Ranger
from bench.training.preset import OptimizerSettings

Maker = Callable[..., torch.optim.Optimizer]
OPTIMIZERS: dict[str, Maker] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adam_lookahead": AdamLookAhead,
    "ranger": Ranger,
}


def make_optimizer(parameters: Iterable[nn.Parameter], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimiser that settings describe; every group remembers its rate as ``initial_lr``.

    Raises:
        UnknownName: no such optimiser. BenchError: an option it does not have.
    """
    if settings.name not in OPTIMIZERS:
        raise UnknownName.of("optimizer", settings.name, OPTIMIZERS)
    options: dict[str, Any] = dict(settings.options)
    try:
        made = OPTIMIZERS[settings.name](list(parameters), lr=settings.lr, **options)
    except (TypeError, ValueError) as error:
        raise BenchError(f"optimizer {settings.name} refuses its options", got=str(error)) from None
    for group in made.param_groups:
        group["initial_lr"] = settings.lr
    return made
