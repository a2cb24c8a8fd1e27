"""Results of clips on the disk."""

import json
import os

import numpy as np

from bench.errors import BenchError
from bench.store.video import write_films


def test_a_full_disk_leaves_the_earlier_films(tmp_path, monkeypatch):
    """At whatever file it fills up: nothing of what was there is gone, and nothing half is left beside it."""
    folder, strip = tmp_path / "toy", np.zeros((4, 8, 3), np.uint8)
    write_films(folder, [], {"n": 1}, {("00", "edit"): strip})

    def held():
        return {str(p.relative_to(tmp_path)): p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()}

    before = held()
    assert list(before) == ["toy/rows.parquet", "toy/strips/00_edit.png", "toy/video.json"]
    real, room = os.replace, 0

    def full(source, target):
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(28, "No space left on device")
        real(source, target)

    refused = 0
    for steps in range(6):
        room = steps
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            try:
                write_films(folder, [], {"n": 2}, {("01", "edit"): strip})
            except BenchError as error:
                refused += "No space left" in str(error)
                moved = {name.replace(".new/toy.old", "toy"): data for name, data in held().items()}
                assert moved == before and (steps == 4) == (not folder.exists()), "4: not even renaming back went"
    assert refused == 5 and json.loads((folder / "video.json").read_text()) == {"n": 2}
    assert not (tmp_path / ".new").exists() and not (folder / "strips/00_edit.png").exists()
