"""Codes on the disk: ids and float32 values come back exactly; damage is named."""

import numpy as np
import pytest

from bench.codes import join_codes, read_codes, write_codes
from bench.errors import DataError, ShapeError


def test_codes(tmp_path):
    w_plus = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    write_codes(tmp_path / "a", ["x", "y"], w_plus)
    ids, back = read_codes(tmp_path / "a")
    assert ids == ["x", "y"] and (back == w_plus).all()
    write_codes(tmp_path / "none", [], np.zeros((0, 1, 1)))
    join_codes([tmp_path / "a", tmp_path / "none", tmp_path / "a"], tmp_path / "joined")
    assert read_codes(tmp_path / "joined")[0] == ["x", "y", "x", "y"]
    join_codes([tmp_path / "none"], tmp_path / "empty")
    assert read_codes(tmp_path / "empty")[0] == []
    with pytest.raises(ShapeError):
        write_codes(tmp_path / "b", ["x"], w_plus)
    (tmp_path / "cut").write_bytes((tmp_path / "a").read_bytes()[:40])
    for name in ("cut", "absent"):
        with pytest.raises(DataError, match="cannot be read"):
            read_codes(tmp_path / name)
