"""Optimisers by name."""

from __future__ import annotations

from collections.abc import Callable
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


def make_optimizer(net: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimiser that settings describe, of all parameters of a network that require gradients.

    Parameters whose name holds a key of ``factors`` form a group of their own. Every group remembers its rate as
    ``initial_lr``.

    Raises:
        UnknownName: no such optimiser. BenchError: an option it does not have, a factor that no parameter has.
    """
    if settings.name not in OPTIMIZERS:
        raise UnknownName.of("optimizer", settings.name, OPTIMIZERS)
    groups: dict[str, list[nn.Parameter]] = {"": [], **{key: [] for key in settings.factors}}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            groups[next((key for key in settings.factors if key in name), "")].append(parameter)
    unused = [key for key in settings.factors if not groups[key]]
    if unused:
        raise BenchError("no parameter has such a name", got=", ".join(unused), fix="mend `factors` of the optimizer")
    rates = [
        {"params": group, "lr": settings.lr * settings.factors.get(key, 1.0)} for key, group in groups.items() if group
    ]
    options: dict[str, Any] = dict(settings.options)
    try:
        made = OPTIMIZERS[settings.name](rates, lr=settings.lr, **options)
    except (TypeError, ValueError) as error:
        raise BenchError(f"optimizer {settings.name} refuses its options", got=str(error)) from None
    for group in made.param_groups:
        group["initial_lr"] = group["lr"]
    return made


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load what an optimiser kept, but for ``initial_lr``: rates are the preset's and may differ from before."""
    rates = [group["initial_lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["initial_lr"] = rate
