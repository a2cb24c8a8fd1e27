"""`bench score-edits` on a rendered dataset: only pictures with an exact target are measured, whatever the measure."""

import json
import sys
import types

import numpy as np
import pandas as pd
import pytest
import yaml

from bench.config.project import load_config
from bench.data.prepare import prepare
from bench.engine import SERIAL
from bench.renderers.annyfaces import Annyfaces
from bench.renderers.by_name import RENDERERS

STEP = 3 / 127.5  # of the judge's brightness: three levels


class FakeRenderer:
    """Smooth pictures, brighter by ``scene["more"]`` levels; the upper half is skin."""

    def __init__(self, resolution):
        self.side = resolution

    def render(self, scenes):
        return [self._one(scene) for scene in scenes]

    def _one(self, scene):
        ramp = np.linspace(60, 160, self.side)[:, None, None] + 8 * scene["index"] + scene.get("more", 0)
        labels = np.zeros((self.side, self.side), np.uint8)
        labels[: self.side // 2] = 1
        return types.SimpleNamespace(
            image=np.broadcast_to(ramp, (self.side, self.side, 3)).astype(np.uint8),
            labels=labels,
            landmarks=np.zeros((68, 2), np.float32),
            factors={"bright": scene["index"] * STEP, "identity": f"id{scene['index']}"},
        )


@pytest.fixture
def rendered(edited, ask, monkeypatch):
    """Five scenes: of 0 and 2 there are targets, 1 would not show the change, 3 and 4 have no room for it."""

    def edit_scene(scene, attribute, degree):
        return {**scene, "more": 0 if scene["index"] == 1 else round(127.5 * degree)}

    scene = types.SimpleNamespace(
        sample_scene=lambda split, index, seed: {"index": index},
        edit_scene=edit_scene,
        EDITS={"bright": ("", "bright", 0.0, 3.5 * STEP, 1.0)},
    )
    monkeypatch.setitem(sys.modules, "annyfaces.scene", scene)
    render = types.SimpleNamespace(Renderer=FakeRenderer, RENDERER_VERSION="1")
    monkeypatch.setitem(sys.modules, "annyfaces.render", render)
    monkeypatch.setitem(RENDERERS, "annyfaces", Annyfaces())  # without what it keeps of other tests
    head = {"id": "drawn", "domain": "toy", "kind": "rendered", "resolution": 32, "licence": "CC0", "count": 5}
    head["render"] = {"renderer_version": "1", "split": "test", "seed": 0}
    (edited / "datasets" / "drawn.yaml").write_text(yaml.safe_dump(head))
    prepare(load_config(edited), "drawn", update=True, execution=SERIAL)
    ask(images=5, directions={"bright": [STEP]}, round_trips=5, shown=3)
    return edited


SCORE = ("score-edits", "--method", "toy_codes", "--dataset", "drawn")


def read(root, name="toy_codes"):
    folder = root / "results" / "edits" / "local" / name
    return pd.read_parquet(folder / "rows.parquet"), json.loads((folder / "edits.json").read_text())


def test_only_pictures_with_a_target_are_measured(rendered, cli):
    answer = cli(*SCORE)
    assert answer.code == 0, answer.err
    rows, record = read(rendered)
    name = f"bright{STEP:+g}"
    assert record["no_room"] == {name: ["000003", "000004"]} and record["unseen"] == {name: ["000001"]}
    assert "2 pictures have no room" in answer.err and "in 1 pictures nothing of it is seen" in answer.err
    for task in ("edit", "curve", "round_trip"):
        assert set(rows.loc[rows["task"] == task, "image_id"]) == {"000000", "000002"}, task
    of_edits = rows[rows["task"] == "edit"].groupby("metric")["image_id"].nunique()
    assert {"mae", "leakage", "change", "attribute_error", "background"} <= set(of_edits.index)
    assert (of_edits == 2).all(), "every measure of an edit covers the same pictures"
    assert set(rows.loc[rows["task"] == "cycle", "image_id"]) == {f"{n:06d}" for n in range(5)}, "no edit, no target"
    assert record["shown"] == {"000000": name, "000002": name}
    due = rows.query("metric == 'change_due'")["value"]
    assert due.to_numpy() == pytest.approx(STEP, abs=1e-6), "what the judge sees between source and target"


def test_an_edit_that_has_no_target_at_all_leaves_the_others(rendered, ask, cli):
    ask(images=5, directions={"bright": [STEP, 5 * STEP]})
    assert cli(*SCORE).code == 0
    rows, record = read(rendered)
    assert len(record["no_room"][f"bright{5 * STEP:+g}"]) == 5
    assert set(rows.loc[rows["task"] == "edit", "change"]) == {STEP}


def test_edit_targets_say_which_are_there(rendered, cli):
    profile = yaml.safe_load((rendered / "profiles" / "toy.yaml").read_text())
    (rendered / "profiles" / "toy.yaml").write_text(yaml.safe_dump({**profile, "datasets": ["drawn"]}))
    answer = cli("edit-targets")
    assert answer.code == 0 and "2 of 5 pictures have a target" in answer.err, answer.err
    recorded = json.loads((rendered / "results/edits/toy/targets.json").read_text())
    assert recorded["settings"]["edits"]["directions"] == {"bright": [STEP]}
    found = recorded["targets"]["drawn"][f"bright{STEP:+g}"]
    assert found["000001"] == "" and found["000003"] is None and len(found["000002"]) == 64


def test_a_full_disk_leaves_the_earlier_edits(tmp_path, on_a_disk_that_fills):
    """At whatever file it fills up: nothing of what was there is gone, and nothing half is left beside it."""
    from bench.edits import results
    from bench.edits.set_metrics import Features

    folder, picture = tmp_path / "toy", np.zeros((4, 4, 3), np.uint8)
    features = Features([("a+1", "x")], {"net": (np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32))})
    results.write_edits(folder, [], {"n": 1}, {("edit", "x"): picture}, features)
    assert len([p for p in folder.rglob("*") if p.is_file()]) == 4 and (folder / "features.npz").is_file()

    def again():
        results.write_edits(folder, [], {"n": 2}, {("edit", "y"): picture}, features)

    on_a_disk_that_fills(folder, again, renames=6)
    assert json.loads((folder / "edits.json").read_text()) == {"n": 2}
    assert not (folder / "pictures/edit/x.png").exists()
