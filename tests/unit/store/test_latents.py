"""Codes on the disk: ids and float32 values come back exactly, those of steps too; damage is named."""

import numpy as np
import pytest

from bench.errors import DataError, ShapeError
from bench.store.latents import join_latents, read_latents, write_latents


def test_codes(tmp_path):
    w_plus = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    write_latents(tmp_path / "a", ["x", "y"], w_plus)
    ids, back = read_latents(tmp_path / "a")
    assert ids == ["x", "y"] and (back == w_plus).all()
    write_latents(tmp_path / "none", [], np.zeros((0, 1, 1)))
    join_latents([tmp_path / "a", tmp_path / "none", tmp_path / "a"], tmp_path / "joined")
    assert read_latents(tmp_path / "joined")[0] == ["x", "y", "x", "y"]
    join_latents([tmp_path / "none"], tmp_path / "empty")
    assert read_latents(tmp_path / "empty")[0] == []
    with pytest.raises(ShapeError):
        write_latents(tmp_path / "b", ["x"], w_plus)
    (tmp_path / "cut").write_bytes((tmp_path / "a").read_bytes()[:40])
    for name in ("cut", "absent"):
        with pytest.raises(DataError, match="cannot be read"):
            read_latents(tmp_path / name)


def test_codes_of_steps(tmp_path):
    steps = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)
    write_latents(tmp_path / "a", ["x", "y"], steps, "steps")
    write_latents(tmp_path / "b", ["z"], steps[:1] + 1, "steps")
    assert join_latents([tmp_path / "a", tmp_path / "b"], tmp_path / "joined", "steps") == ["x", "y", "z"]
    ids, back = read_latents(tmp_path / "joined", "steps")
    assert ids == ["x", "y", "z"] and (back == np.concatenate([steps, steps[:1] + 1])).all()
    with pytest.raises(ShapeError, match=r"expected \(2, L, D\)"):
        write_latents(tmp_path / "c", ["x", "y"], steps)
    with pytest.raises(DataError, match="expected safetensors with w_plus"):
        read_latents(tmp_path / "a")
    write_latents(tmp_path / "few", ["z"], steps[:1, :2], "steps")
    with pytest.raises(ShapeError, match="differ in shape"):
        join_latents([tmp_path / "a", tmp_path / "few"], tmp_path / "mixed", "steps")
