"""Nothing is updated with a number that is not finite: the check before every step of every training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from bench.errors import BenchError

NORM = "gradient_norm"


class Diverged(BenchError):
    """A loss or a gradient is not finite. Nothing was updated with it."""


def refuse(training: str, step: int, values: Mapping[str, float], fix: str) -> None:
    """Stop a training whose numbers are no numbers any more.

    Args:
        training: its name. step: steps made before. values: losses and norms of gradients by name.
        fix: what the user may change before going on with --resume.

    Raises:
        Diverged: some are not finite; step and terms are named.
    """
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        raise Diverged(
            f"training of {training} stopped at step {step}: {', '.join(wrong)} not finite",
            got=", ".join(f"{name} {value:g}" for name, value in values.items()),
            fix=f"{fix} and go on with --resume: the last checkpoint is kept",
        )


def gradient_norm(parameters: Iterable[nn.Parameter], most: float = 0) -> float:
    """Norm of all gradients together; they are scaled down to ``most`` where that is not 0."""
    with_gradient = [p for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in with_gradient if p.grad is not None])
    if most:
        nn.utils.clip_grads_with_norm_(with_gradient, most, norm)
    return float(norm)


def finite_step(
    optimizer: torch.optim.Optimizer, training: str, step: int, terms: Mapping[str, float | Tensor], fix: str
) -> None:
    """One step of an optimiser whose gradients are there.

    Raises:
        Diverged: a term or the gradient is not finite; the optimiser was not asked.
    """
    values = {name: float(value.detach() if isinstance(value, Tensor) else value) for name, value in terms.items()}
    values[NORM] = gradient_norm(p for group in optimizer.param_groups for p in group["params"])
    refuse(training, step, values, fix)
    optimizer.step()
