"""FFHQ alignment of films: squares, smoothing, cutting out and pasting back, frames without a face."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.data.video_files import Clip
from bench.errors import BenchError, DataError, ShapeError, UnknownName
from bench.video.align import corners, cut, filled, paste, smooth, square
from bench.video.face_track import crop_boxes_of, load_finder, read_points


def scene(height=160, width=200):
    """A smooth picture."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 15), np.cos(y / 12), np.sin((x + y) / 20)], -1)
    return (128 + 70 * waves).round().astype(np.uint8)


FACE = np.array([[80.0, 70], [110, 70], [95, 85], [85, 100], [105, 100]])


def test_the_square_is_ffhqs():
    """Upright face: eyes 30 apart, mouth 30 below: half side = max(2 x 30, 1.8 x 30), centre 3 below the eyes."""
    np.testing.assert_allclose(square(FACE), [95, 73, 60, 0])
    many = np.full((68, 2), 1e3)
    many[36:42], many[42:48], many[48], many[54] = FACE[0], FACE[1], FACE[3], FACE[4]
    np.testing.assert_allclose(square(many), square(FACE))
    turned = FACE @ np.array([[0.0, 1], [-1, 0]])  # a quarter turn of everything turns the square
    np.testing.assert_allclose(square(turned), [-73, 95, 0, 60], atol=1e-9)
    np.testing.assert_allclose(corners(square(FACE)), [[35, 13], [35, 133], [155, 133], [155, 13]])


def test_the_square_agrees_with_the_renderers():
    from annyfaces.geometry import ffhq_similarity

    points = np.random.default_rng(0).normal(size=(68, 2)) * 9 + 100
    to_unit = ffhq_similarity(points)
    unit = corners(square(points)) @ to_unit[:, :2].T + to_unit[:, 2]
    np.testing.assert_allclose(unit, [[0, 0], [0, 1], [1, 1], [1, 0]], atol=1e-9)


@pytest.mark.parametrize("points", [np.zeros((4, 2)), np.zeros((5, 3))])
def test_other_points_are_refused(points):
    with pytest.raises(ShapeError, match="expected .68, 2. or .5, 2."):
        square(points)
    with pytest.raises(DataError, match="span no face"):
        square(np.ones((5, 2)))


def test_smoothing_keeps_a_still_and_calms_a_shaking_square():
    still = np.tile([95.0, 73, 60, 0], (9, 1))
    np.testing.assert_allclose(smooth(still, 2.0), still)
    shaking = still + np.random.default_rng(0).normal(size=still.shape)
    assert np.diff(smooth(shaking, 2.0), axis=0).std() < 0.3 * np.diff(shaking, axis=0).std()
    np.testing.assert_array_equal(smooth(shaking, 0), shaking)
    steady = still + np.arange(9)[:, None]
    np.testing.assert_allclose(smooth(steady, 1.0)[4], steady[4]), "even motion is not held back"


def test_a_square_on_the_pixels_is_cut_and_pasted_without_loss():
    frame, at = scene(), np.array([100.0, 80, 32, 0])
    picture = cut(frame, at, 64)
    np.testing.assert_array_equal(picture, frame[48:112, 68:132])
    np.testing.assert_array_equal(paste(frame, at, picture), frame)


@pytest.mark.parametrize("at", [(100, 80, 40, 9), (90, 75, 50, -20), (100, 80, 90, 4)])
def test_any_square_comes_back_and_what_is_outside_stays(at):
    frame, at = scene(), np.array(at, float)
    back = paste(frame, at, cut(frame, at, 128)).astype(int)
    assert np.abs(back - frame).mean() < 0.6 and np.abs(back - frame).max() <= 12
    grey = paste(frame, at, np.full((128, 128, 3), 200, np.uint8))
    rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]] + 0.5
    u = ((columns - at[0]) * at[2] + (rows - at[1]) * at[3]) / (at[2:] @ at[2:])
    v = ((rows - at[1]) * at[2] - (columns - at[0]) * at[3]) / (at[2:] @ at[2:])
    far = np.maximum(abs(u), abs(v))
    np.testing.assert_array_equal(grey[far >= 1], frame[far >= 1])
    assert (grey[far <= 0.79] == 200).all(), "whole inside the border that fades"


def test_a_square_beyond_the_frame_is_continued():
    picture = cut(scene(), np.array([20.0, 20, 60, 0]), 64)
    assert picture.shape == (64, 64, 3)
    assert picture[:16].std() > 1 and picture.min() > 20, "reflected and blurred, not black"
    small = cut(np.kron(scene(), np.ones((4, 4, 1), np.uint8)), np.array([400.0, 320, 240, 0]), 64)
    assert np.abs(small.astype(int) - cut(scene(), np.array([100.0, 80, 60, 0]), 64)).mean() < 4, "shrunk, not aliased"


def test_gaps_are_bridged_and_longer_ones_are_named():
    points = [FACE + n for n in range(9)]
    points[3] = points[4] = None
    whole, bridged = filled(points, longest=2)
    np.testing.assert_allclose(whole, [FACE + n for n in range(9)])
    assert bridged == [3, 4]
    with pytest.raises(DataError, match=r"no face in 2 of 9 frames; got frames 3, 4 \(counted from 0\)"):
        filled(points, longest=1)
    with pytest.raises(DataError, match="no face in 1 of 9 frames; got frames 0"):
        filled([None, *points[5:], *points[5:]], longest=5)
    with pytest.raises(DataError, match="no face in any of 3 frames"):
        filled([None] * 3, longest=5)


def test_a_finder_is_asked_frame_by_frame():
    clip = Clip("c", ("a", "b", "c"), lambda i: np.full((4, 4, 3), ord(i), np.uint8), (4, 4), 25)
    squares, bridged = crop_boxes_of(clip, lambda f: None if f[0, 0, 0] == ord("b") else FACE + f[0, 0, 0], None, 0)
    np.testing.assert_allclose(squares, [square(FACE + ord(i)) for i in "abc"])
    assert bridged == ["b"]


def test_users_points(tmp_path):
    three = np.stack([FACE, FACE + 1, FACE + 2])
    three[1, 0, 0] = np.nan
    np.save(tmp_path / "p.npy", three)
    np.savetxt(tmp_path / "p.csv", three.reshape(3, -1), delimiter=",")
    for name in ("p.npy", "p.csv"):
        found = read_points(tmp_path / name, 3)
        assert found[1] is None
        np.testing.assert_allclose([found[0], found[2]], [FACE, FACE + 2])
    with pytest.raises(DataError, match=r"do not fit the clip; got \(3, 5, 2\); expected \(4, 68, 2\)"):
        read_points(tmp_path / "p.npy", 4)
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        read_points(tmp_path / "bad.npy", 1)


def test_finders_by_name(project):
    with pytest.raises(UnknownName, match="did you mean 'mtcnn'"):
        load_finder(project, "mtcn", "cpu")
    shutil.copy(Path(__file__).parents[3] / "weights" / "published.yaml", project / "weights")
    with pytest.raises(BenchError, match="bench fetch mtcnn"):
        load_finder(project, "mtcnn", "cpu")
