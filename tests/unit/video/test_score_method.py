"""`bench video-targets` and `bench score-video` on two short rendered clips of the toy domain."""

import json
import sys
import types

import numpy as np
import pandas as pd
import pytest
import yaml

from bench.config.project import load_config
from bench.config.sections import VideoSettings
from bench.data.prepare import prepare
from bench.engine import SERIAL
from bench.renderers.annyfaces import Annyfaces
from bench.renderers.by_name import RENDERERS
from bench.store.video import read_videos
from bench.video import prepare as video_preparation
from bench.video import score_method

pytestmark = pytest.mark.numeric

STEP = 3 / 127.5  # of the judge's brightness: three levels
FRAMES, COUNT = 4, 8
VIDEO = {"dataset": "drawn", "frames": 3, "direction": "bright", "change": STEP, "metrics": ["mae"], "shown": [1]}


class FakeRenderer:
    """A smooth picture, brighter by a level a frame and by ``scene["more"]``."""

    def __init__(self, resolution):
        self.side = resolution

    def render(self, scenes):
        return [self._one(scene) for scene in scenes]

    def _one(self, scene):
        ramp = np.linspace(60, 160, self.side)[:, None, None] + scene["index"] + scene.get("more", 0)
        return types.SimpleNamespace(
            image=np.broadcast_to(ramp, (self.side, self.side, 3)).astype(np.uint8),
            labels=np.ones((self.side, self.side), np.uint8),
            landmarks=np.zeros((68, 2), np.float32),
            factors={"bright": scene["index"] * STEP, "identity": "same"},
        )


@pytest.fixture
def drawn(edited, monkeypatch):
    """Clips 00 and 01 of four frames; the last two frames of 01 have no room for the edit, one of them
    is asked for. Nothing moves."""
    scene = types.SimpleNamespace(
        sample_scene=lambda split, index, seed: {"index": index},
        edit_scene=lambda scene, attribute, degree: {**scene, "more": round(127.5 * degree)},
        EDITS={"bright": ("", "bright", 0.0, (COUNT - 1.5) * STEP, 1.0)},
    )
    monkeypatch.setitem(sys.modules, "annyfaces.scene", scene)
    render = types.SimpleNamespace(Renderer=FakeRenderer, RENDERER_VERSION="1")
    monkeypatch.setitem(sys.modules, "annyfaces.render", render)
    monkeypatch.setitem(RENDERERS, "annyfaces", Annyfaces())  # without what it keeps of other tests
    still = np.zeros((32, 32, 2), np.float32)
    for module in (video_preparation, score_method):
        monkeypatch.setattr(module, "true_motions", lambda dataset, ids: [still] * (len(ids) - 1))
    head = {"id": "drawn", "domain": "toy", "kind": "rendered", "resolution": 32, "licence": "CC0", "count": COUNT}
    head["render"] = {"renderer_version": "1", "split": "video", "seed": 0, "clip": FRAMES}
    (edited / "datasets" / "drawn.yaml").write_text(yaml.safe_dump(head))
    prepare(load_config(edited), "drawn", update=True, execution=SERIAL)
    settings(edited, VIDEO)
    return edited


def settings(root, video):
    path = root / "profiles" / "toy.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "video": video}))


SCORE = ("score-video", "--method", "toy_codes")


def read(root, name="toy_codes"):
    folder = root / "results" / "video" / "toy" / name
    return pd.read_parquet(folder / "rows.parquet"), json.loads((folder / "video.json").read_text())


def test_clips_are_measured_frame_by_frame(drawn, cli):
    answer = cli(*SCORE)
    assert answer.code == 0 and "toy_codes: 1 frames have no exact edit" in answer.err, answer.err
    rows, record = read(drawn)
    assert record["ids"] == {"00": ["00_0000", "00_0001", "00_0002"], "01": ["01_0000", "01_0001", "01_0002"]}
    assert record["no_room"] == ["01_0002"] and record["matched"]["degree"] > 0
    kinds = rows.groupby(["task", "metric"])["image_id"].nunique()
    assert kinds["inversion", "mae"] == 6 and kinds["edit", "mae"] == 5
    assert kinds["inversion", "flicker"] == 4 and kinds["edit", "flicker"] == 4, "pairs never cross clips"
    assert kinds["target", "flicker"] == 3 and kinds["edit", "flicker_target"] == 3
    source = rows.query("task == 'source' and metric == 'flicker'")["value"]
    np.testing.assert_allclose(source, 1 / 255, rtol=1e-9), "a level a frame"
    assert rows.query("task == 'target' and metric == 'flicker'")["value"].abs().max() < 1e-12, "the same edit always"
    films = read_videos(load_store(drawn), "toy")["toy_codes"]
    strip = films.frames("01", "target")
    assert strip.shape == (3, 32, 32, 3) and films.frames("00", "target") is None
    sources = films.frames("01", "source")
    assert (strip.astype(int) - sources == 3).all(), "the film shows the exact edit of every frame"


def load_store(root):
    from bench.store.paths import RunStore

    return RunStore(root, "toy")


def test_clips_alone_or_together_in_any_batch_are_the_same(drawn, cli, monkeypatch, assert_same_rows):
    assert cli(*SCORE).code == 0
    together, _ = read(drawn)
    settings(drawn, {**VIDEO, "clips": [1]})
    monkeypatch.setattr(score_method, "BATCH", 1)
    assert cli(*SCORE).code == 0
    alone, _ = read(drawn)
    assert_same_rows(alone, together[together["clip"] == "01"])


def test_a_failing_frame_is_named_and_its_neighbours_have_no_pair(drawn, cli):
    from bench.inversion.runner import image_seed

    source = drawn / "methods" / "toy_fussy.py"
    source.write_text(source.read_text().replace('"raise_for": 0', f'"raise_for": {image_seed(0, "drawn", "01_0001")}'))
    answer = cli("score-video", "--method", "toy_fussy")
    assert answer.code == 0 and "frame 01_0001 failed: ValueError: cannot do this one" in answer.err
    folder = next((drawn / "results" / "video").glob("*/toy_fussy"))
    rows = pd.read_parquet(folder / "rows.parquet")
    flicker = rows.query("task == 'inversion' and metric == 'flicker'")
    assert set(flicker["image_id"]) == {"00_0001", "00_0002"}


def test_targets_are_recorded(drawn, cli):
    answer = cli("video-targets")
    assert answer.code == 0 and "drawn: 5 of 6 have an exact edit" in answer.err
    found = json.loads((drawn / "results/video/toy/targets.json").read_text())
    assert found["targets"]["drawn"]["01_0002"] is None and found["targets"]["visible"]["00_0001"] == 1
    assert found["settings"]["video"]["dataset"] == "drawn" and found["settings"]["edits"]["directions"]


@pytest.mark.parametrize(
    ("video", "told"),
    [
        ({"clips": [7]}, "unknown clip '7'"),
        ({"shown": [0], "clips": [1]}, "unknown clip '0'"),
        ({"dataset": "toy"}, "dataset 'toy' has no clips"),
        ({"dataset": "drwan"}, "did you mean 'drawn'"),
        ({"direction": "brigth"}, "did you mean 'bright'"),
        ({"direction": "small"}, "was not made for an attribute"),
        ({"metrics": ["mea"]}, "did you mean"),
        ({"frames": 1}, "greater than or equal to 2"),
        ({"change": "much"}, "valid number"),
    ],
)
def test_mistakes_are_one_line_and_keep_earlier_results(drawn, cli, one_line_error, video, told):
    assert cli(*SCORE).code == 0
    before = {p: p.read_bytes() for p in (drawn / "results" / "video").rglob("*") if p.is_file()}
    settings(drawn, {**VIDEO, **video})
    assert told in one_line_error(*SCORE)
    assert {p: p.read_bytes() for p in (drawn / "results" / "video").rglob("*") if p.is_file()} == before


def test_a_profile_without_clips_and_one_without_strengths(drawn, cli, one_line_error, ask):
    ask(policy="fixed", directions={"bright": [1]}, calibration=None)
    path = drawn / "profiles" / "toy.yaml"
    held = yaml.safe_load(path.read_text())
    held["edits"] = {"policy": "fixed", "directions": {"bright": [1]}}
    path.write_text(yaml.safe_dump(held))
    assert "not matched in strength" in one_line_error(*SCORE)
    settings(drawn, None)
    assert cli(*SCORE).code == 0 and cli("video-targets").code == 0
    for name, empty in (("toy_codes/video.json", {}), ("targets.json", {"targets": {}})):
        assert json.loads((drawn / "results" / "video" / "toy" / name).read_text()).items() >= empty.items()
    assert read_videos(load_store(drawn), "toy") == {}


@pytest.mark.parametrize(("key", "value"), [("clips", [1, 1]), ("clips", [-1]), ("change", 0), ("fps", 0)])
def test_settings_that_cannot_be(key, value):
    with pytest.raises(ValueError):
        VideoSettings.model_validate({key: value})
