"""Scenes as data: reproducible, JSON-able, evenly spread, edited one factor at a time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from annyfaces import factors
from annyfaces.scene import CLIP_FRAMES, CLIPS, EDITS, Scene, edit_scene, sample_scene
from bench.errors import BenchError, UnknownName


@pytest.mark.parametrize(("split", "index"), [("train", 0), ("train", 49999), ("test", 7), ("video", 383)])
def test_json_round_trip(split, index):
    scene = sample_scene(split, index, 0)
    assert Scene.from_dict(json.loads(json.dumps(scene.to_dict()))) == scene


def test_scene_depends_on_its_keys_alone():
    assert sample_scene("train", 5, 0) == sample_scene("train", 5, 0)
    assert sample_scene("train", 5, 0) != sample_scene("train", 5, 1)
    assert sample_scene("train", 5, 0).identity["local"] != sample_scene("test", 5, 0).identity["local"]


def test_identities():
    first, again = sample_scene("train", 3, 0), sample_scene("train", 12503, 0)
    assert first.identity == again.identity and first.pose != again.pose
    assert len({sample_scene("test", i, 0).identity["id"] for i in range(200)}) == 200


def test_factors_are_evenly_spread():
    scenes = [sample_scene("train", i, 0) for i in range(1500)]
    tone = np.histogram([s.identity["skin_tone"] for s in scenes], 5, (0, 1))[0] / len(scenes)
    assert tone.min() > 0.16 and tone.max() < 0.24
    ages = np.array([s.age_years for s in scenes])
    share = np.histogram(ages, [18, 30.4, 42.8, 55.2, 67.6, 80.001])[0] / len(scenes)
    assert share.sum() == 1 and share.min() > 0.15 and share.max() < 0.25
    gender = np.array([s.identity["gender"] for s in scenes])
    assert abs((gender < 0.5).mean() - 0.5) < 0.05
    assert 0.17 < np.std([s.pose["yaw"] for s in scenes]) < 0.22
    assert 0.26 < np.mean([bool(s.details) for s in scenes]) < 0.34
    assert {s.identity["cut"] for s in scenes} == set(factors.CUTS)


def test_test_split_always_has_two_to_four_details():
    scenes = [sample_scene("test", i, 0) for i in range(300)]
    assert {len(s.details) for s in scenes} == {2, 3, 4}
    assert {d["kind"] for s in scenes for d in s.details} == set(factors.DETAILS)
    assert all(len({d["kind"] for d in s.details}) == len(s.details) for s in scenes)


def test_video_clips_keep_identity_background_and_light_and_move_smoothly():
    for clip in range(CLIPS):
        frames = [sample_scene("video", clip * CLIP_FRAMES + f, 0) for f in range(CLIP_FRAMES)]
        for other in frames[1:]:
            for part in ("identity", "background", "light", "details", "cloth", "age_years", "makeup"):
                assert getattr(other, part) == getattr(frames[0], part)
        yaw = np.array([f.pose["yaw"] for f in frames])
        assert np.ptp(yaw) > 0.1 and np.abs(np.diff(yaw)).max() < 0.06
        assert max(f.expression["eyes_closed"] for f in frames) > 0.7


@pytest.mark.parametrize("attribute", sorted(EDITS))
def test_edit_moves_one_bounded_factor(attribute):
    scene = sample_scene("test", 11, 0)
    group, name, low, high, _ = EDITS[attribute]
    for degree in (-5.0, -0.3, 0.4, 5.0):
        before, after = scene.to_dict(), edit_scene(scene, attribute, degree).to_dict()
        holder = after[group] if group else after
        assert low <= holder[name] <= high
        holder[name] = (before[group] if group else before)[name]
        after["camera_expression"] = None
        assert after == before


def test_bad_requests_are_refused():
    with pytest.raises(UnknownName):
        sample_scene("training", 0, 0)
    with pytest.raises(UnknownName):
        edit_scene(sample_scene("test", 0, 0), "smiel", 1)
    with pytest.raises(BenchError):
        sample_scene("video", 384, 0)
    with pytest.raises(BenchError):
        sample_scene("train", -1, 0)
