"""Results of clips on the disk."""

import json

import numpy as np

from bench.store.video import write_videos


def test_a_full_disk_leaves_the_earlier_clips(tmp_path, on_a_disk_that_fills):
    """At whatever file it fills up: nothing of what was there is gone, and nothing half is left beside it."""
    folder, strip = tmp_path / "toy", np.zeros((4, 8, 3), np.uint8)
    write_videos(folder, [], {"n": 1}, {("00", "edit"): strip})
    assert sorted(p.name for p in folder.rglob("*.*")) == ["00_edit.png", "rows.parquet", "video.json"]
    on_a_disk_that_fills(folder, lambda: write_videos(folder, [], {"n": 2}, {("01", "edit"): strip}), renames=5)
    assert json.loads((folder / "video.json").read_text()) == {"n": 2}
    assert not (folder / "strips/00_edit.png").exists()
