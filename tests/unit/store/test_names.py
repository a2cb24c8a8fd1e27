"""Run ids and configuration hashes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.names import RunName, canonical_json, config_hash, label, parse_label, parse_run_id, run_id

ids = st.from_regex(r"[a-z0-9][a-z0-9_]{0,12}", fullmatch=True)


def test_examples():
    assert run_id("hfgi", "celeba_hq_1500", "no_ada") == "hfgi.no_ada-celeba_hq_1500"
    assert run_id("e4e", "cars") == "e4e-cars"
    assert parse_run_id("hfgi.no_ada-celeba_hq_1500") == RunName("hfgi", "no_ada", "celeba_hq_1500")


@given(ids, ids, st.one_of(st.just(""), ids))
def test_round_trip(method, dataset, variant):
    assert parse_run_id(run_id(method, dataset, variant)) == (method, variant, dataset)
    assert parse_label(label(method, variant)) == (method, variant)


@pytest.mark.parametrize("text", ["", "a", "a-", "-b", "a.-b", "A-b", "a-b-c", "a.b.c-d", "a-b/c"])
def test_bad_run_ids(text):
    with pytest.raises(BenchError):
        parse_run_id(text)


@pytest.mark.parametrize("bad", ["", "Upper", "with space", "dash-ed", "dot.ted", "_first", "a/b", "../up"])
def test_bad_ids(bad):
    with pytest.raises(BenchError, match="cannot be the id"):
        run_id(bad, "data")
    with pytest.raises(BenchError, match="cannot be the id"):
        run_id("method", bad)


def test_hash_ignores_order_and_sees_values():
    assert config_hash({"a": 1, "b": [1, 2]}) == config_hash({"b": [1, 2], "a": 1})
    assert len({config_hash(c) for c in ({"a": 1}, {"a": 2}, {"a": "1"}, {"a": 1.5}, {"a": None}, {"a": True})}) == 6


def test_canonical_json_is_frozen():
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'
    assert config_hash({"a": 1}) == "015abd7f5cc57a2d"
