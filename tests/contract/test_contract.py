"""One contract, every plug-in: found, not listed here. The checks are those of `bench check`."""

from pathlib import Path

import pytest

from bench import registry
from bench.config.project import load_ablations
from bench.contract.check_method import MethodChecks, run_checks
from bench.contract.check_metric import MetricChecks

pytestmark = pytest.mark.numeric

ROOT = Path(__file__).parents[2]


def failures(subject):
    """What does not hold; a clause that could not be tried counts as such."""
    return [f"{o.check}: {o.reason}" for o in run_checks(subject) if not o.passed]


def test_something_is_found():
    """An empty registry would pass everything below."""
    assert registry.metrics(ROOT).names()


def test_no_file_is_broken():
    for found in (registry.methods(ROOT), registry.metrics(ROOT)):
        assert not {name: entry.error for name, entry in found.entries().items() if entry.error}


@pytest.mark.parametrize("method_id", registry.methods(ROOT).names())
def test_method(method_id):
    assert not failures(MethodChecks(ROOT, method_id))


@pytest.mark.parametrize(("variant", "entry"), load_ablations(ROOT).items(), ids=load_ablations(ROOT))
def test_variant(variant, entry):
    assert not failures(MethodChecks(ROOT, entry.method, entry.options))


@pytest.mark.parametrize("metric_id", registry.metrics(ROOT).names())
def test_metric(metric_id):
    assert not failures(MetricChecks(ROOT, metric_id))
