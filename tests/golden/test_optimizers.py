"""Ranger makes the official one's steps; LookAhead's slow weights move as defined; both resume exactly."""

import copy

import pytest
import torch
from torch import nn

from bench.errors import BenchError
from bench.training.optimizers import make_optimizer
from bench.training.preset import OptimizerSettings

pytestmark = pytest.mark.numeric

SHAPES = {"conv": (4, 3, 3, 3), "linear": (5, 7), "bias": (6,)}
RECORDED = (1, 5, 6, 7, 12, 24)


class Named(nn.Module):
    """Parameters under their names, as a network has them."""

    def __init__(self, parameters):
        super().__init__()
        for name, parameter in parameters.items():
            self.register_parameter(name, parameter)


def started(golden, name="ranger", **options):
    parameters = {n: nn.Parameter(golden.T(f"ranger.{n}", shape)) for n, shape in SHAPES.items()}
    settings = OptimizerSettings(name=name, lr=1e-2, options=options)
    return parameters, make_optimizer(Named(parameters), settings)


def walk(golden, parameters, optimizer, steps):
    for k in steps:
        for name, p in parameters.items():
            p.grad = golden.T(f"ranger.{name}.grad{k}", SHAPES[name])
        optimizer.step()
    return {name: p.detach().clone() for name, p in parameters.items()}


def worst(golden, **options):
    """Largest difference to the official optimiser over all recorded steps."""
    parameters, optimizer = started(golden, **options)
    found, last = 0.0, 0
    for step in RECORDED:
        now = walk(golden, parameters, optimizer, range(last + 1, step + 1))
        differences = [(p - golden.expected("ranger", f"{n}.{step}")).abs().max() for n, p in now.items()]
        found, last = max(found, float(torch.stack(differences).max())), step
    return found


def test_ranger(golden):
    assert worst(golden) < 1e-6


@pytest.mark.parametrize(
    "mistake",
    [{"centralise": False}, {"k": 5}, {"alpha": 0.8}, {"threshold": 4.0}, {"betas": (0.9, 0.999)}, {"eps": 1e-2}],
    ids=lambda m: next(iter(m)),
)
def test_mistaken_ranger(golden, mistake):
    assert worst(golden, **mistake) > 1e-5


def test_lookahead_of_adam(golden):
    """Two returns of slow weights, followed by hand around a plain Adam."""
    parameters, optimizer = started(golden, "adam_lookahead", k=3, alpha=0.25)
    plain, adam = started(golden, "adam")
    slow = {n: p.detach().clone() for n, p in plain.items()}
    for first in (1, 4):
        fast = walk(golden, plain, adam, range(first, first + 3))
        slow = {n: s + 0.25 * (fast[n] - s) for n, s in slow.items()}
        for n, p in plain.items():
            p.data.copy_(slow[n])
        found = walk(golden, parameters, optimizer, range(first, first + 3))
        assert all(torch.allclose(found[n], slow[n], atol=1e-6) for n in SHAPES)
    assert not torch.allclose(found["bias"], fast["bias"], atol=1e-4)


@pytest.mark.parametrize("name", ["ranger", "adam_lookahead"])
def test_resume_within_a_round(golden, name):
    """State taken between two returns of the slow weights gives the same bits as no interruption."""
    parameters, optimizer = started(golden, name)
    walk(golden, parameters, optimizer, range(1, 9))
    kept, state = {n: p.detach().clone() for n, p in parameters.items()}, copy.deepcopy(optimizer.state_dict())
    expected = walk(golden, parameters, optimizer, range(9, 15))
    again, optimizer = started(golden, name)
    for n, p in again.items():
        p.data.copy_(kept[n])
    optimizer.load_state_dict(state)
    found = walk(golden, again, optimizer, range(9, 15))
    assert all(torch.equal(found[n], expected[n]) for n in SHAPES)


@pytest.mark.parametrize("name", ["ranger", "adam_lookahead"])
def test_wrong_options(golden, name):
    with pytest.raises(BenchError, match="k 0"):
        started(golden, name, k=0)
