"""Networks out of state dicts: built without start values, filled in place, refused with a readable difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from bench.errors import WeightsError

Network = TypeVar("Network", bound=nn.Module)
COUNTER = "num_batches_tracked"  # of batch norms: serves training with cumulative averages alone, so it may be absent


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries below a prefix ("residue."), without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def filled(make: Callable[[], Network], state: Mapping[str, Tensor], what: str) -> Network:
    """A frozen network in evaluation mode that holds these tensors (the very ones: a mapped file stays mapped).

    Args:
        make: builds the network; called on the meta device, so its start values cost neither time nor memory.
        state: key -> tensor, keys as in the network; counters of batch norms may be absent.
        what: names the weights in errors.
    Raises:
        WeightsError: a key is missing or left over, or a shape differs; the first few are listed.
    """
    with torch.device("meta"):
        net = make().eval().requires_grad_(False)
    expected = net.state_dict()
    state = {**{k: torch.zeros((), dtype=torch.int64) for k in expected if k.endswith(COUNTER)}, **state}
    missing = [k for k in expected if k not in state]
    unexpected = [k for k in state if k not in expected]
    shapes = [
        f"{k} {tuple(v.shape)} for {tuple(expected[k].shape)}"
        for k, v in state.items()
        if k in expected and v.shape != expected[k].shape
    ]
    if missing or unexpected or shapes:
        kinds = {"missing": missing, "unexpected": unexpected, "other shape": shapes}
        raise WeightsError(
            f"{what} do not fit {type(net).__name__}",
            got="; ".join(f"{name}: {_some(keys)}" for name, keys in kinds.items() if keys),
            expected=f"its {len(expected)} tensors",
            fix="choose the weights this network was trained as, or options that fit them",
        )
    net.load_state_dict(state, strict=True, assign=True)
    return net.requires_grad_(False)


def seeded(make: Callable[[], Network]) -> Network:
    """A frozen network in evaluation mode with the same start values everywhere; the random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval().requires_grad_(False)


def _some(keys: list[str], listed: int = 3) -> str:
    return ", ".join(keys[:listed]) + (f" and {len(keys) - listed} more" if len(keys) > listed else "")
