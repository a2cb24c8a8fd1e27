"""Flicker, drift and motion in closed form."""

from dataclasses import replace

import numpy as np
import pytest

from annyfaces.motion import View, between
from bench.video.measures import difference, drifts, flicker, flickers
from bench.video.motion import estimated_motions, warped

SIDE = 48


def motion(dx=0.0, dy=0.0, side=SIDE):
    """The later frame's pixels were (dx, dy) away in the earlier one."""
    return np.broadcast_to(np.array([dx, dy], np.float32), (side, side, 2)).copy()


def noise(seed, side=SIDE):
    return np.random.default_rng(seed).normal(0, 0.1, (side, side, 3))


def test_an_error_that_moves_along_does_not_flicker():
    error = noise(0)
    moved = np.roll(error, (2, -3), axis=(0, 1))
    moved[:2] = moved[:, -3:] = 99  # came from outside
    assert flicker(error, moved, motion(3, -2)) == pytest.approx(0, abs=1e-12)
    assert flicker(error, error, motion()) == 0
    assert flicker(error, moved, motion()) > 0.05, "without the motion it seems to"


def test_fresh_noise_has_the_value_it_must():
    """Mean absolute difference of two independent normals: 2 sigma / sqrt(pi)."""
    found = flicker(noise(0, 400), noise(1, 400), motion(side=400))
    assert found == pytest.approx(2 * 0.1 / np.sqrt(np.pi), rel=0.01)


def test_a_shift_of_brightness_flickers_by_its_size_and_hidden_places_do_not_count():
    where = motion(0.5, 0.25)
    assert flicker(np.full((SIDE, SIDE, 3), 0.2), np.full((SIDE, SIDE, 3), 0.25), where) == pytest.approx(0.05)
    jump = np.zeros((SIDE, SIDE, 3))
    jump[:10] = 1
    where[:10] = np.nan
    assert flicker(np.zeros_like(jump), jump, where) == 0
    assert np.isnan(flicker(jump, jump, np.full_like(where, np.nan)))


def test_warping_is_bilinear_and_keeps_inside():
    plane = (np.arange(SIDE)[None, :, None] * np.ones((SIDE, 1, 1))).astype(float)
    found = warped(plane, motion(0.3, -0.4))
    np.testing.assert_allclose(found[1:, : SIDE - 1, 0], plane[1:, : SIDE - 1, 0] + 0.3)
    assert np.isnan(warped(plane, motion(0, -3))[:2]).all() and not np.isnan(warped(plane, motion(0, -3))[3:]).any()


def test_pairs_need_both_frames():
    errors = {"a": noise(0), "b": noise(0) + 0.1, "d": noise(1)}
    found = flickers(["a", "b", "c", "d"], errors, [motion()] * 3)
    assert found == {"b": pytest.approx(0.1)}, "c failed: neither c nor d has a value"


def test_drift_and_differences():
    assert drifts(["b", "c"], [1.0, 0.75]) == {"b": 0.0, "c": 0.25}
    one, other = np.full((2, 2, 3), 255, np.uint8), np.zeros((2, 2, 3), np.uint8)
    assert difference(other, one).min() == -1 and difference(one, one).max() == 0


def texture(side=64):
    """Soft blobs that a flow can follow."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(np.random.default_rng(3).normal(size=(side + 8, side + 8)), 2.0)
    return ((field - field.min()) / np.ptp(field) * 255).astype(np.uint8)


def test_estimated_motion_finds_a_shift():
    big = texture()
    frames = np.stack([np.repeat(big[4:68, 4 + n : 68 + n, None], 3, 2) for n in (0, 2)])
    found = estimated_motions(frames)[0]
    inner = found[12:-12, 12:-12]
    assert np.isfinite(inner[..., 0]).mean() > 0.9
    np.testing.assert_allclose(np.nanmedian(inner, axis=(0, 1)), [2, 0], atol=0.15)


def still(side=16, factor=2):
    """A view of nothing but background, and a head of one square (two triangles) over columns 4 to 12, rows 4 to 12."""
    screen = np.array([[4.0, 4, 0.7], [12, 4, 0.7], [12, 12, 0.7], [4, 12, 0.7]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    depth, triangle = np.zeros((side, side)), np.full((side, side), -1, np.int32)
    weights, parts = np.zeros((side, side, 2), np.float32), np.zeros((side, side), np.uint8)
    camera = np.array([[1.0, 0, 0.5], [0, 1, 0.5]])
    return draw(View(screen, faces, 2, np.eye(3), camera, depth, triangle, weights, parts, factor))


def draw(view):
    """Fill the buffers of a view from its screen."""
    from annyfaces.raster import draw_triangles

    depth, triangle, weights = np.zeros_like(view.depth), np.full_like(view.triangle, -1), view.weights * 0
    draw_triangles(view.screen, view.faces, 0, 2, False, depth, triangle, weights)
    return replace(view, depth=depth, triangle=triangle, weights=weights, parts=(triangle >= 0).astype(np.uint8))


def test_true_motion_follows_the_mesh_and_leaves_out_what_was_hidden():
    earlier = still()
    later = draw(replace(earlier, screen=earlier.screen + [2, 0, 0]))  # one pixel of two samples to the right
    found = between(earlier, later)
    assert found.shape == (8, 8, 2)
    np.testing.assert_allclose(found[2:6, 3:7], np.broadcast_to([-1, 0], (4, 4, 2)), atol=1e-5)
    assert np.isnan(found[2:6, 2]).all(), "background that the square has just uncovered"
    background = np.ones((8, 8), bool)
    background[2:6, 2:7] = False
    assert not found[background].any()


def test_true_motion_of_what_turns_with_the_head():
    """Samples of hair at one depth, the camera moved by a pixel: they move with it."""
    from annyfaces import labels

    earlier = still()
    hair = np.zeros((16, 16), bool)
    hair[4:12, 4:12] = True
    parts = np.where(hair, labels.HAIR, 0).astype(np.uint8)
    strands = replace(earlier, triangle=np.where(hair, -2, -1).astype(np.int32), parts=parts)
    moved = replace(strands, similarity=strands.similarity + [[0, 0, 1 / 8], [0, 0, 0]])
    np.testing.assert_allclose(between(strands, moved)[2:6, 3:6], np.broadcast_to([-1, 0], (4, 3, 2)), atol=1e-6)
    held = replace(strands, parts=np.where(hair, labels.OCCLUDER, 0).astype(np.uint8))
    assert np.isnan(between(strands, held)[2:6, 2:6]).all(), "a hand has no true motion"
