"""Blocks of training pictures: what they hold is what was asked for, whoever packed first."""

import json
import os

import numpy as np
import pytest

from bench.errors import BenchError, DataError
from bench.files import write_png
from bench.training.data import pack


@pytest.fixture
def prepared(tmp_path):
    """A prepared set of three 8 px pictures with part labels: picture and label n are all n."""
    for n in range(3):
        draw(tmp_path, f"{n:06d}", n)
    (tmp_path / "prepared.json").write_text(json.dumps({"manifest_sha256": "first"}))
    return tmp_path


IDS = ["000000", "000001", "000002"]


def draw(folder, image_id, value):
    for kind, shape in (("images", (8, 8, 3)), ("labels", (8, 8))):
        (folder / kind).mkdir(exist_ok=True)
        write_png(folder / kind / f"{image_id}.png", np.full(shape, value, np.uint8))


def values(block):
    return block.reshape(len(block), -1).max(1).tolist()


def test_a_block_packed_without_labels_gives_none_of_its_own(prepared):
    """A recogniser's training packs first; the generator's, which needs labels, must not be given zeros."""
    first = pack(prepared, IDS, 8, with_labels=False)
    assert first.labels is None and not list(prepared.glob("*labels.npy"))
    second = pack(prepared, IDS, 8)
    assert values(second.images) == values(second.labels) == [0, 1, 2]
    assert second.labels.shape == (3, 8, 8)


def test_labels_that_are_not_there_are_asked_for(prepared):
    (prepared / "labels" / "000001.png").unlink()
    assert pack(prepared, IDS, 8, with_labels=False).labels is None
    with pytest.raises(DataError, match=r"part labels .*000001\.png are missing.*rendered dataset"):
        pack(prepared, IDS, 8)
    write_png(prepared / "labels" / "000001.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="do not fit"):
        pack(prepared, IDS, 8)
    (prepared / "labels" / "000001.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be read"):
        pack(prepared, IDS, 8)
    assert not list(prepared.glob("*labels*.npy"))


def test_other_pictures_of_the_same_number_are_packed_anew(prepared):
    held = pack(prepared, IDS, 8)
    draw(prepared, "000007", 7)
    assert values(pack(prepared, [*IDS[:2], "000007"], 8).images) == [0, 1, 7]
    assert values(held.images) == [0, 1, 2], "a training that has the old block mapped keeps it"
    draw(prepared, "000007", 9)
    assert values(pack(prepared, [*IDS[:2], "000007"], 8).images) == [0, 1, 7], "nothing says that it changed"
    for value, done in (
        (9, {"manifest_sha256": "second"}),
        (11, {"manifest_sha256": "second", "drifted": {"7": "f0"}}),
    ):
        draw(prepared, "000007", value)
        (prepared / "prepared.json").write_text(json.dumps(done))
        assert values(pack(prepared, [*IDS[:2], "000007"], 8).images) == [0, 1, value]


def test_a_block_without_a_record_is_packed_anew_and_a_current_one_is_not(prepared):
    np.save(prepared / "packed_8.npy", np.full((3, 8, 8, 3), 99, np.uint8))
    assert values(pack(prepared, IDS, 8, with_labels=False).images) == [0, 1, 2]
    before = os.stat(prepared / "packed_8.npy").st_ino
    pack(prepared, IDS, 8, with_labels=False)
    assert os.stat(prepared / "packed_8.npy").st_ino == before
    (prepared / "packed_8.json").write_text("{")
    assert values(pack(prepared, IDS, 8, with_labels=False).images) == [0, 1, 2]


def test_a_packing_that_fails_leaves_the_last_block_and_says_why(prepared):
    pack(prepared, IDS, 8, with_labels=False)
    with pytest.raises(DataError, match=r"000009\.png is missing"):
        pack(prepared, [*IDS, "000009"], 8, with_labels=False)
    assert values(pack(prepared, IDS, 8, with_labels=False).images) == [0, 1, 2]
    assert {p.name for p in prepared.glob("packed*")} == {"packed_8.npy", "packed_8.json"}


def test_two_that_pack_the_same_block_do_not_meet(prepared):
    from bench.files import only_writer

    with only_writer(prepared / "packed_8.lock", "it"), pytest.raises(BenchError, match="another process"):
        pack(prepared, IDS, 8)
