"""Errors: one line with what, got, expected and fix; they survive the way back from a worker process."""

import pickle

import pytest

from bench.errors import BenchError, DataError, UnknownName, suggest


def test_line_has_all_parts():
    error = BenchError("cannot do it.", got=3, expected="2", fix="do less.")
    assert str(error) == "cannot do it; got 3; expected 2. Fix: do less."
    assert error.exit_code == 2


def test_parts_may_be_missing():
    assert str(BenchError("cannot do it")) == "cannot do it."
    assert str(BenchError("cannot do it", got=0)) == "cannot do it; got 0."


@pytest.mark.parametrize("error", [DataError("a", got=1, expected=2, fix="b"), UnknownName.of("method", "x", ["y"])])
def test_pickles_with_its_fields(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error) and str(back) == str(error) and back.fix == error.fix


def test_unknown_name_suggests_and_lists():
    text = str(UnknownName.of("method", "optimise_w_plus", ["copy_input", "optimize_w_plus"]))
    assert "did you mean 'optimize_w_plus'?" in text and "copy_input" in text


def test_unknown_name_without_neighbours():
    text = str(UnknownName.of("method", "zzz", ["copy_input"]))
    assert "did you mean" not in text and "copy_input" in text
    assert "(there are none)" in str(UnknownName.of("method", "zzz", []))


def test_long_lists_are_cut():
    assert str(UnknownName.of("image", "q", [f"id{n:03d}" for n in range(50)])).count("id0") <= 25


def test_suggest_needs_likeness():
    assert suggest("hgfi", ["hfgi", "e4e"]) == ["hfgi"]
    assert suggest("xxxxxx", ["hfgi"]) == []
