"""Optimisers with slow weights: LookAhead around Adam (the HFGI paper) and Ranger (the releases of the pSp family).

Both step per parameter in plain tensor operations and keep all state in ``state_dict``, so resumed runs go on exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.errors import BenchError

SLOW = "slow"  # key of the slow weights in a parameter's state


def _check(alpha: float, k: int) -> None:
    if not 0 < alpha <= 1 or k < 1:
        raise BenchError(
            "LookAhead refuses its options", got=f"alpha {alpha}, k {k}", expected="0 < alpha <= 1, k >= 1"
        )


def _look_ahead(p: Tensor, slow: Tensor, alpha: float) -> None:
    """Move the slow weights towards the fast ones, and put the fast ones there."""
    slow.lerp_(p, alpha)
    p.copy_(slow)


class AdamLookAhead(torch.optim.Adam):
    """Adam whose weights return, every ``k`` steps, to slow weights that move ``alpha`` of the way.

    Args:
        alpha: in (0, 1]. k: steps between two returns. options: those of :class:`torch.optim.Adam`.

    Source: Zhang et al. 2019 (LookAhead), Algorithm 1; the optimiser of Wang et al. 2022 (HFGI), Sec. 5.1, which states
    neither: 0.5 and 6 are Ranger's.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, alpha: float = 0.5, k: int = 6, **options: Any):
        _check(alpha, k)
        super().__init__(params, lr=lr, **options)
        for group in self.param_groups:
            group.update(alpha=alpha, k=k)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One step of Adam, after every ``k``-th one of the slow weights."""
        groups = [(g, [p for p in g["params"] if p.grad is not None]) for g in self.param_groups]
        # Adam sets its own state up where there is none, so the first slow weights wait beside it.
        first = {p: p.clone() for _, ps in groups for p in ps if SLOW not in self.state.get(p, ())}
        result = super().step(closure)
        for group, parameters in groups:
            for p in parameters:
                state = self.state[p]
                if p in first:
                    state[SLOW] = first[p]
                if int(state["step"]) % group["k"] == 0:
                    _look_ahead(p, state[SLOW], group["alpha"])
        return result


class Ranger(Optimizer):
    """RAdam with gradient centralisation inside LookAhead.

    Args:
        betas, eps: of Adam. alpha, k: of LookAhead. threshold: length of the approximated average beyond which the
            second moment is used; below it a step is momentum alone.
        centralise: subtract from the gradient of a weight with two or more axes its mean over all but the first.

    Source: Liu et al. 2020 (RAdam), Algorithm 2; Zhang et al. 2019 (LookAhead); Yong et al. 2020 (gradient
    centralisation). Defaults and rectification as used by pSp, e4e, ReStyle and HFGI (e30f33c). Weight decay, always 0
    there, is left out.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-5,
        alpha: float = 0.5,
        k: int = 6,
        threshold: float = 5.0,
        centralise: bool = True,
    ):
        _check(alpha, k)
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "alpha": alpha, "k": k}
        super().__init__(params, {**defaults, "threshold": threshold, "centralise": centralise})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One step; parameters without a gradient stay."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, self.state[p], group)
        return result

    @staticmethod
    def _update(p: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state.update(step=0, mean=torch.zeros_like(p), square=torch.zeros_like(p))
            state[SLOW] = p.clone()
        if group["centralise"] and gradient.ndim > 1:
            gradient = gradient - gradient.mean(dim=tuple(range(1, gradient.ndim)), keepdim=True)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        state["mean"].mul_(beta1).add_(gradient, alpha=1 - beta1)
        rate = group["lr"] / (1 - beta1 ** state["step"])
        rectification = rectified(state["step"], beta2, group["threshold"])
        if rectification is None:
            p.add_(state["mean"], alpha=-rate)
        else:
            p.addcdiv_(state["mean"], state["square"].sqrt().add_(group["eps"]), value=-rate * rectification)
        if state["step"] % group["k"] == 0:
            _look_ahead(p, state[SLOW], group["alpha"])


def rectified(step: int, beta2: float, threshold: float) -> float | None:
    """RAdam's factor on an adaptive step, times the second moment's bias correction; None while it is unreliable.

    The authors of Ranger leave the bias correction out of the denominator's epsilon, and so does this.
    """
    longest = 2 / (1 - beta2) - 1
    decayed = beta2**step
    length = longest - 2 * step * decayed / (1 - decayed)
    if length <= threshold:
        return None
    share = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return math.sqrt((1 - decayed) * share)
