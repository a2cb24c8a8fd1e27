"""Seeds are hashes of named keys: stable across machines and versions, different for different keys."""

from hypothesis import given
from hypothesis import strategies as st

from bench.seeds import seed_for


def test_value_is_frozen():
    """A changed rule would move every noise map and render: this number must never move."""
    assert seed_for(0, "annyfaces_1500", "000017", "pose") == 2644353683518928164


def test_keys_are_not_concatenated():
    assert seed_for(0, "ab", "c") != seed_for(0, "a", "bc")
    assert seed_for(1) != seed_for(0, 1) != seed_for(0, 1, 0)


@given(st.integers(0, 10**9), st.lists(st.text(max_size=8), max_size=4))
def test_range(base, keys):
    assert 0 <= seed_for(base, *keys) < 2**63


def test_no_collisions_among_many():
    assert len({seed_for(0, "image", n) for n in range(20000)}) == 20000
