"""Frames in and films out: folders in natural order, video files, sizes, GIFs, boards."""

import numpy as np
import pytest
from PIL import Image

from bench.data.mosaic import board
from bench.data.video_files import natural_key, of_file, of_folder, read_frames, write_gif, write_mp4
from bench.errors import DataError
from bench.files import write_png


def frames(count, height=24, width=32):
    """Smooth pictures, each brighter than the one before."""
    ramp = np.linspace(0, 60, width)[None, :, None] * np.ones((height, 1, 3))
    return [(ramp + 8 * n).astype(np.uint8) for n in range(count)]


def test_a_folder_is_read_in_natural_order_without_loss(tmp_path):
    made = frames(12)
    for n, frame in enumerate(made):
        write_png(tmp_path / f"shot_{n}.png", frame)
    (tmp_path / ".shot_3.png").write_bytes(b"hidden")
    (tmp_path / "notes.txt").write_text("no frame")
    clip = of_folder(tmp_path, fps=10)
    assert clip.ids == tuple(f"shot_{n}" for n in range(12)), "shot_2 before shot_10"
    assert clip.size == (24, 32) and clip.fps == 10 and not clip.aligned
    np.testing.assert_array_equal([clip.read(i) for i in clip.ids], made)
    assert clip.first(3).ids == clip.ids[:3] and clip.first(None) is clip


def test_natural_order_mixes_numbers_and_words():
    names = ["b", "a10", "a2", "10", "9", "a2b"]
    assert sorted(names, key=natural_key) == ["9", "10", "a2", "a2b", "a10", "b"]


def test_a_film_has_its_frames_size_and_rate_and_is_decoded_once(tmp_path, monkeypatch):
    made = frames(10, 31, 40)
    assert write_mp4(tmp_path / "a.mp4", iter(made), 12.5) == 10
    shown, fps = read_frames(tmp_path / "a.mp4")
    assert shown.shape == (10, 32, 40, 3) and fps == 12.5, "an odd side is continued by one pixel"
    assert np.abs(shown[:, :31].astype(int) - made).mean() < 2, "colours survive"
    clip = of_file(tmp_path / "a.mp4", tmp_path / "work")
    assert clip.ids == tuple(f"{n:06d}" for n in range(10)) and clip.fps == 12.5 and clip.size == (32, 40)
    np.testing.assert_array_equal([clip.read(i) for i in clip.ids], shown)
    monkeypatch.setattr("bench.data.video_files._decode", lambda *a: pytest.fail("decoded twice"))
    assert of_file(tmp_path / "a.mp4", tmp_path / "work", fps=5).fps == 5


def test_equal_frames_are_equal_films(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        write_mp4(tmp_path / name, frames(5), 12)
    for name in ("a.gif", "b.gif"):
        write_gif(tmp_path / name, frames(5), 12)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_a_gif_moves_and_repeats(tmp_path):
    assert write_gif(tmp_path / "a.gif", frames(5), 12) == 5
    with Image.open(tmp_path / "a.gif") as film:
        assert (film.n_frames, film.size, film.info["duration"], film.info["loop"]) == (5, (32, 24), 80, 0)


def test_what_cannot_be_read_is_one_line(tmp_path):
    for n, side in enumerate((16, 16, 24)):
        write_png(tmp_path / f"{n}.png", np.zeros((side, 32, 3), np.uint8))
    with pytest.raises(DataError, match="differ in size; got frame 2: 32x24; expected 32x16 as in frame 0"):
        of_folder(tmp_path)
    (tmp_path / "2.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="2.png cannot be read"):
        of_folder(tmp_path)
    (tmp_path / "2.png").unlink()
    write_png(tmp_path / "1.jpeg", np.zeros((16, 32, 3), np.uint8))
    with pytest.raises(DataError, match="two frames of .* are called '1'"):
        of_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no frames in"):
        of_folder(tmp_path / "empty")
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    with pytest.raises(DataError, match="bad.mp4 cannot be read"):
        of_file(tmp_path / "bad.mp4", tmp_path / "work")


def test_a_film_that_fails_leaves_the_earlier_one(tmp_path):
    write_mp4(tmp_path / "a.mp4", frames(3), 12)
    before = (tmp_path / "a.mp4").read_bytes()
    with pytest.raises(DataError, match="differ in size; got frame 1"):
        write_mp4(tmp_path / "a.mp4", [np.zeros((16, 16, 3), np.uint8), np.zeros((18, 16, 3), np.uint8)], 12)
    with pytest.raises(DataError, match="would have no frames"):
        write_mp4(tmp_path / "a.mp4", [], 12)
    assert (tmp_path / "a.mp4").read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_a_board_is_even_and_holds_its_pictures():
    red, blue = (np.full((8, 8, 3), c, np.uint8) for c in ((255, 0, 0), (0, 0, 255)))
    page = board([[red, None], [blue, red]], ["one", "two"], ["up", "down"], side=33)
    assert not page.shape[0] % 2 and not page.shape[1] % 2
    counts = {tuple(c): n for c, n in zip(*np.unique(page.reshape(-1, 3), axis=0, return_counts=True), strict=True)}
    assert counts[255, 0, 0] == 2 * 33**2 and counts[0, 0, 255] == 33**2 and counts[225, 225, 225] >= 33**2
    assert board([[red]], [], side=16).shape < page.shape
