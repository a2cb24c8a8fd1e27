"""Numbers in docstrings are what the code computes."""

import doctest
import importlib

import pytest

MODULES = (
    "bench.images",
    "bench.analysis.statistics",
    "bench.edits.strength",
    "bench.rate.entropy",
    "bench.edits.measures",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_give_what_they_show(name):
    tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried.attempted > 0
    assert not tried.failed
