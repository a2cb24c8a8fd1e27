"""Pictures: the same bytes in any batch or process, aligned, labelled, finite, edited only where they should be."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from annyfaces import labels as P
from annyfaces.geometry import ffhq_similarity, vertex_normals
from annyfaces.headwear import worn
from annyfaces.landmarks import GROUPS
from annyfaces.light import shadow_map
from annyfaces.noise import smooth
from annyfaces.render import RENDERER_VERSION, Renderer
from annyfaces.scene import edit_scene, sample_scene
from annyfaces.shade import shade_mesh
from annyfaces.sheet import contact_sheet
from bench.errors import BenchError, ShapeError

_CHILD = """
import hashlib, json, sys
from annyfaces.render import Renderer
from annyfaces.scene import sample_scene
out = Renderer(128).render([sample_scene("test", i, 0) for i in (3, 2, 1, 0)])[::-1]
print(json.dumps([hashlib.sha256(o.image.tobytes() + o.labels.tobytes()).hexdigest() for o in out]))
"""


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(128)


@pytest.fixture(scope="module")
def clean(renderer):
    """Frontal pictures without details, eyes open."""
    scenes = []
    for i in range(12):
        scene = sample_scene("train", i, 0)
        scene.details, scene.pose = [], {"yaw": 0.0, "pitch": 0.0, "roll": 0.0}
        scene.expression["eyes_closed"] = 0.0
        scenes.append(scene)
    return scenes, renderer.render(scenes)


def _digest(out) -> str:
    return hashlib.sha256(out.image.tobytes() + out.labels.tobytes()).hexdigest()


def test_batch_order_and_process_do_not_matter(renderer):
    scenes = [sample_scene("test", i, 0) for i in range(4)]
    together = [_digest(o) for o in renderer.render(scenes)]
    assert together == [_digest(renderer.render([s])[0]) for s in scenes]
    child = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, check=True)
    assert json.loads(child.stdout) == together, "another process, another order: other bytes"
    assert child.stderr == ""


def test_each_kernel_is_compiled_once(renderer):
    """Whatever is drawn, and for the call that only compiles: another type of an argument costs seconds a kernel."""
    renderer.compile_shading()
    scenes = [sample_scene("test", i, 0) for i in range(40)]
    renderer.render([next(s for s in scenes if (worn(s) is not None) == hat) for hat in (False, True)])
    for kernel in (shade_mesh, shadow_map, vertex_normals):
        assert len(kernel.signatures) == 1, kernel.__name__
    assert len(smooth.signatures) <= 1  # none where the kernels that call it were loaded


def test_shapes_and_types(renderer):
    out = renderer.render([sample_scene("train", 1, 0)])[0]
    assert out.image.shape == (128, 128, 3) and out.image.dtype == np.uint8
    assert out.labels.shape == (128, 128) and out.labels.dtype == np.uint8 and out.labels.max() < len(P.PARTS)
    assert out.landmarks.shape == (68, 2) and out.landmarks.dtype == np.float32
    assert all(isinstance(v, (float, str)) for v in out.factors.values())
    assert all(np.isfinite(v) for v in out.factors.values() if isinstance(v, float))
    assert RENDERER_VERSION == "1"


@pytest.mark.parametrize("side", [64, 256])
def test_other_resolutions_show_the_same_picture(renderer, side):
    scene = sample_scene("train", 4, 0)
    small, large = sorted((renderer.render([scene])[0], Renderer(side).render([scene])[0]), key=lambda o: len(o.image))
    assert np.allclose(small.landmarks * 2, large.landmarks, atol=1e-3)
    n = len(small.image)
    pooled = large.image.reshape(n, 2, n, 2, 3).mean(axis=(1, 3))
    assert np.abs(pooled - small.image).mean() < 6


def test_alignment_follows_ffhq(clean):
    for out in clean[1]:
        corners = np.array([[0.0, 0, 1], [128, 0, 1], [0, 128, 1]])
        assert np.abs(corners @ ffhq_similarity(out.landmarks.astype(np.float64)).T * 128 - corners[:, :2]).max() < 0.05
        left, right = out.landmarks[36:42].mean(axis=0), out.landmarks[42:48].mean(axis=0)
        mouth = (out.landmarks[48] + out.landmarks[54]) / 2
        down = mouth[1] - (left[1] + right[1]) / 2
        eyes = (left + right) / 2
        assert abs(eyes[0] - 64) < 1.5 and abs(eyes[1] - (64 - 0.1 * down)) < 1.5 and abs(left[1] - right[1]) < 1.5
        assert abs(mouth[0] - 64) < 1.5
        assert abs(max(2 * (right[0] - left[0]), 1.8 * down) - 64) < 1.5


def test_landmarks_lie_on_their_parts(clean):
    for out in clean[1]:
        marks = out.landmarks
        assert marks.min() >= 0 and marks.max() <= 128
        for name in ("eye_right", "eye_left"):
            centre = marks[list(GROUPS[name])].mean(axis=0).astype(int)
            assert out.labels[centre[1], centre[0]] == P.EYE
        x, y = marks[48:60].mean(axis=0).astype(int)
        assert {P.LIP, P.MOUTH} & set(np.unique(out.labels[y - 3 : y + 4, x - 3 : x + 4]))
        assert marks[36, 0] < marks[39, 0] < marks[42, 0] < marks[45, 0], "iBUG runs from the picture's left"
        assert marks[0, 0] < marks[8, 0] < marks[16, 0] and marks[8, 1] > marks[57, 1]


def test_labels_cover_the_face(clean):
    for scene, out in zip(*clean, strict=True):
        share = np.bincount(out.labels.ravel(), minlength=len(P.PARTS)) / out.labels.size
        assert share[P.SKIN] > 0.1 and share[P.EYE] > 0.002 and share[P.LIP] > 0.003 and share[P.BACKGROUND] > 0.1
        if scene.identity["cut"] != "bald":
            assert share[P.HAIR] > 0.02


def test_pictures_are_neither_flat_nor_burnt_out(clean):
    for out in clean[1]:
        face = out.image[out.labels == P.SKIN].astype(float)
        assert face.std() > 5 and (face > 250).all(axis=1).mean() < 0.02
        red, _, blue = face.mean(axis=0)
        assert red > blue, "skin is warm"


def test_smile_edit_leaves_background_and_details_alone(renderer):
    scene = sample_scene("test", 0, 0)
    scene.expression.update(smile=0.0, mouth_open=0.0)
    before, after = renderer.render([scene, edit_scene(scene, "smile", 1.0)])
    still = np.isin(before.labels, (P.BACKGROUND, P.HAT, P.CLOTH)) & (before.labels == after.labels)
    assert still.sum() > 2000
    moved = np.abs(before.image.astype(int) - after.image).max(axis=2)
    assert (moved[before.labels == P.BACKGROUND] == 0).mean() > 0.99
    assert moved[70:110, 35:95].max() > 20
    assert np.abs(before.landmarks[36:48] - after.landmarks[36:48]).max() < 2.5
    assert before.factors["camera_xx"] == after.factors["camera_xx"]


def test_hands_and_objects_stay_when_the_mouth_moves(renderer):
    scene = sample_scene("test", 0, 0)
    for kind, place in (("hand", 0.5), ("object", 0.1)):
        scene.details = [{"kind": kind, "seed": 1, "u": [place, 0.05, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]}]
        before, after = renderer.render([scene, edit_scene(scene, "mouth_open", 1.0)])
        held = before.labels == P.OCCLUDER
        assert held.sum() > 100 and (after.labels[held] == P.OCCLUDER).mean() > 0.97


def test_closed_eyes_hide_the_eyes_and_open_mouth_shows_its_inside(clean, renderer):
    scene = clean[0][1]
    scene.expression["mouth_open"] = 0.0
    still, shut, opened = renderer.render(
        [scene, edit_scene(scene, "eyes_closed", 1), edit_scene(scene, "mouth_open", 1)]
    )
    assert (shut.labels == P.EYE).sum() < 0.35 * (still.labels == P.EYE).sum()
    assert (opened.labels == P.MOUTH).sum() > (still.labels == P.MOUTH).sum() + 60
    inside = opened.image[opened.labels == P.MOUTH].mean()
    assert inside < 0.8 * opened.image[opened.labels == P.SKIN].mean(), "the mouth's inside is dark"


@pytest.mark.parametrize(
    ("attribute", "parts"), [("hair_colour", (P.HAIR,)), ("lip_colour", (P.LIP,)), ("beard", (P.BEARD,))]
)
def test_colour_edits_stay_on_their_part(renderer, attribute, parts):
    scene = sample_scene("train", 3, 0)  # bearded, short hair
    scene.details = []
    scene.identity.update(cut="short", grey_start=200.0, hair_darkness=0.9, beard=0.2, beard_style="stubble")
    scene.makeup["lip_strength"] = 0.0
    before, after = renderer.render([scene, edit_scene(scene, attribute, -0.8 if attribute == "hair_colour" else 0.8)])
    moved = np.abs(before.image.astype(int) - after.image).max(axis=2)
    on = np.isin(before.labels, parts) | np.isin(after.labels, parts)
    assert moved[on].mean() > 4
    assert moved[before.labels == P.EYE].mean() < 3 and (moved[before.labels == P.BACKGROUND] > 2).mean() < 0.02


def test_bad_resolution_and_sheet():
    with pytest.raises(BenchError):
        Renderer(100)
    with pytest.raises(ShapeError):
        contact_sheet([], 3)
    sheet = contact_sheet([np.zeros((4, 4, 3), np.uint8)] * 3, 2)
    assert sheet.shape == (8, 8, 3) and sheet[4:, 4:].min() == 128
