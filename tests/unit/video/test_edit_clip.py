"""`bench video` on the toy project: films, resuming, failures, and what cannot be."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.data.video_files import read_frames, write_mp4
from bench.files import read_rgb, write_png
from bench.inversion.runner import image_seed

pytestmark = pytest.mark.numeric

COUNT, WIDE = 5, (40, 60)


@pytest.fixture
def clips(edited):
    """The project with ``heads`` (aligned frames) and ``wide`` (a head that moves in larger ones, with its points)."""
    (edited / "heads").mkdir()
    (edited / "wide").mkdir()
    head = np.asarray(Image.open(edited / "pictures" / "head_0.png"))
    points = []
    for n in range(COUNT):
        write_png(edited / "heads" / f"f{n}.png", np.roll(head, n, axis=1))
        frame = np.full((*WIDE, 3), 90, np.uint8)
        frame[4:36, 10 + 2 * n : 42 + 2 * n] = head
        write_png(edited / "wide" / f"f{n}.png", frame)
        centre = np.array([26.0 + 2 * n, 19.2])  # eyes 8 apart, mouth 8 below: the square is the head's 32 px
        points.append(centre + [[-4, 0], [4, 0], [0, 4], [-3, 8], [3, 8]])
    np.save(edited / "points.npy", np.stack(points))
    return edited


VIDEO = (
    "video",
    "--method",
    "toy_codes",
    "--set",
    "noise=0.0",
    "--direction",
    "bright",
    "--degree",
    "1",
    "--out",
    "film",
)
HEADS = (*VIDEO, "--clip", "heads", "--align", "none")


def held(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def pictures(folder):
    return {str(p.relative_to(folder)): read_rgb(p) for p in sorted(folder.rglob("*.png"))}


def measured(folder):
    return pd.read_csv(folder / "measures.csv"), json.loads((folder / "video.json").read_text())


def test_aligned_frames_become_films_and_measures(clips, cli):
    answer = cli(*HEADS, "--fps", "10")
    assert answer.code == 0, answer.err
    assert answer.out.split() == [f"film/{n}" for n in ("side_by_side.mp4", "edited.mp4", "measures.csv", "video.json")]
    side, fps = read_frames(clips / "film" / "side_by_side.mp4")
    edited, _ = read_frames(clips / "film" / "edited.mp4")
    assert len(side) == COUNT and fps == 10 and side.shape[2] > 3 * 256 and edited.shape == (COUNT, 32, 32, 3)
    rows = pd.read_csv(clips / "film" / "measures.csv")
    kept = clips / "film" / "frames"
    source = read_rgb(clips / "heads" / "f2.png").astype(float)
    mae = np.abs(read_rgb(kept / "inversion" / "f2.png") - source).mean() / 255
    assert rows.query("frame == 'f2' and metric == 'mae'")["value"].item() == pytest.approx(mae)
    assert set(rows.loc[rows["metric"] == "flicker_estimated", "frame"]) == {f"f{n}" for n in range(1, COUNT)}
    record = json.loads((clips / "film" / "video.json").read_text())
    assert record["complete"] and record["frames"] == COUNT and record["settings"]["degree"] == 1
    assert record["means"]["inversion:mae"] == pytest.approx(rows.query("metric == 'mae'")["value"].mean(), abs=1e-6)
    brighter = [read_rgb(kept / kind / "f2.png").mean() for kind in ("inversion", "edit")]
    assert brighter[1] > brighter[0] + 1


def test_a_stopped_film_goes_on_and_the_batch_does_not_matter(clips, cli, assert_same_images, assert_same_rows):
    assert cli(*HEADS, "--batch-size", "1").code == 0
    before, frames, (rows, record) = held(clips / "film"), pictures(clips / "film"), measured(clips / "film")
    (clips / "film" / "frames" / "edit" / "f3.png").unlink()
    (clips / "film" / "frames" / "edit" / "f1.png").write_bytes(b"half")
    stamp = (clips / "film" / "frames" / "edit" / "f2.png").stat().st_mtime_ns
    assert cli(*HEADS, "--batch-size", "4").code == 0
    assert held(clips / "film").keys() == before.keys()
    assert_same_images(pictures(clips / "film"), frames)
    found, again = measured(clips / "film")
    assert_same_rows(found, rows)
    assert {**again, "means": None} == {**record, "means": None}
    assert (clips / "film" / "frames" / "edit" / "f2.png").stat().st_mtime_ns == stamp, "finished frames are kept"


def test_frames_are_aligned_and_pasted_back(clips, cli):
    wide = (*VIDEO, "--clip", "wide", "--landmarks", "points.npy", "--smooth", "0")
    assert cli(*wide).code == 0
    assert cli(*HEADS[:-4], "--clip", "heads", "--align", "none", "--out", "other").code == 0
    np.testing.assert_array_equal(
        read_rgb(clips / "film" / "frames" / "edit" / "f0.png"),
        read_rgb(clips / "other" / "frames" / "edit" / "f0.png"),
    )
    film, _ = read_frames(clips / "film" / "edited.mp4")
    assert film.shape == (COUNT, *WIDE, 3)
    middle = read_rgb(clips / "film" / "frames" / "edit" / "f3.png")[12:20, 12:20]
    assert np.abs(film[3, 16:24, 28:36].astype(int) - middle).mean() < 8
    assert np.abs(film[3, :, :8].astype(int) - 90).max() < 6, "outside the square the frame is its own"


def test_a_video_file_is_a_clip(clips, cli):
    frames = [np.asarray(Image.open(clips / "heads" / f"f{n}.png")) for n in range(COUNT)]
    write_mp4(clips / "heads.mp4", frames, 8)
    assert cli(*VIDEO, "--clip", "heads.mp4", "--align", "none", "--limit", "3").code == 0
    film, fps = read_frames(clips / "film" / "edited.mp4")
    assert len(film) == 3 and fps == 8


def test_a_frame_that_fails_is_told_and_stays_the_source(clips, cli):
    bad = image_seed(0, "heads", "f1")
    asked = ["toy_fussy" if a == "toy_codes" else f"raise_for={bad}" if a == "noise=0.0" else a for a in HEADS]
    answer = cli(*asked)
    assert answer.code == 0 and "frame f1 failed: ValueError: cannot do this one" in answer.err
    assert list(json.loads((clips / "film" / "video.json").read_text())["failures"]) == ["f1"]
    film, _ = read_frames(clips / "film" / "edited.mp4")
    assert len(film) == COUNT
    source = read_rgb(clips / "heads" / "f1.png").astype(int)
    assert np.abs(film[1] - source).mean() < 4
    rows = pd.read_csv(clips / "film" / "measures.csv")
    assert "f1" not in set(rows["frame"]) and "f2" not in set(rows.query("metric == 'flicker_estimated'")["frame"])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"--degree": "much"}, "--degree is not a number"),
        ({"--degree": "inf"}, "--degree is not a number"),
        ({"--direction": "brigth"}, "did you mean 'bright'"),
        ({"--direction": "small"}, "another space"),
        ({"--clip": "nowhere.mp4"}, "no clip 'nowhere.mp4'"),
        ({"--clip": "toy/03"}, "dataset 'toy' has no clips"),
        ({"--clip": "wide"}, "not square, so they are not aligned"),
        ({"--align": "mtcn"}, "did you mean 'mtcnn'"),
        ({"--align": "none", "--landmarks": "points.npy"}, "exclude each other"),
        ({"--smooth": "-1"}, "--smooth is out of range"),
        ({"--fps": "0"}, "--fps is out of range"),
        ({"--degree": "2"}, "other values of: degree"),
        ({"--domain": "cars"}, "cars"),
    ],
)
def test_mistakes_are_one_line_and_keep_what_was_there(clips, cli, one_line_error, changed, told):
    assert cli(*HEADS).code == 0
    before = held(clips / "film")
    asked = list(HEADS)
    for name, value in changed.items():
        if name in asked:
            asked[asked.index(name) + 1] = value
        else:
            asked += [name, value]
    assert told in one_line_error(*asked)
    assert held(clips / "film") == before


def test_clips_without_faces_and_frames_of_several_sizes(clips, one_line_error):
    points = np.load("points.npy")
    np.save("none.npy", np.full_like(points, np.nan))
    wide = (*VIDEO, "--clip", "wide", "--landmarks")
    assert "no face in any of 5 frames" in one_line_error(*wide, "none.npy")
    points[0] = np.nan
    np.save("first.npy", points)
    assert "no face in 1 of 5 frames; got frames 0" in one_line_error(*wide, "first.npy")
    write_png(clips / "heads" / "f2.png", np.zeros((16, 32, 3), np.uint8))
    assert "frames of heads differ in size; got frame f2: 32x16" in one_line_error(*HEADS)
    assert not (clips / "film").exists()
