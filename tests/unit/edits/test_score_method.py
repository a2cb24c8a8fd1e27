"""`bench score-edits`: strengths, regions, leakage, results, and the verb on the toy project with its own judge."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from annyfaces.labels import PARTS
from bench.api import Inversion
from bench.config.sections import EditSettings
from bench.directions import files
from bench.directions.direction import Direction
from bench.edits.editor import Part
from bench.edits.measures import Regions, distance, inside, leakage, mean_over, of_labels, of_mask, similarity
from bench.edits.results import Edits, per_image
from bench.edits.score_batch import Batch, Scoring
from bench.edits.score_method import choose_shown
from bench.edits.strength import Matched, match
from bench.edits.targets import Wanted
from bench.errors import DataError
from bench.predictors import attributes


def test_a_strength_is_where_the_mark_is_crossed():
    curve = {-1.0: np.array([-0.1, -0.3]), -2.0: np.array([-0.4, -0.8])}
    found = match(-0.5, -0.4, curve)
    assert found.degree == pytest.approx(-1.5) and found.n == 2
    assert Matched.from_json(json.loads(json.dumps(found.to_json()))) == found
    far = match(-0.9, -0.9, curve)
    assert far.degree is None and far.most == pytest.approx((-2.0, -0.6))
    assert "not reached: -0.6 of -0.9 at -2" in far.told()
    assert match(0.1, 0.1, {1.0: np.array([-0.2]), 2.0: np.array([0.2])}).degree == pytest.approx(1.75)


def test_regions_and_measures_inside_them():
    labels = np.zeros((16, 16), np.uint8)
    labels[4:8], labels[8:12] = 1, 8  # skin, hair
    regions = of_labels(labels, PARTS)
    assert regions.face.sum() == 64 and regions.rest.sum() == 128
    both = regions | Regions(np.zeros((16, 16), bool), labels > 0)
    assert both.face.sum() == 64 and not both.rest.any()
    dark, light = np.full((16, 16, 3), 100, np.uint8), np.full((16, 16, 3), 151, np.uint8)
    mixed = inside(regions, light, dark)
    assert mean_over(distance(mixed, dark), regions.face) == pytest.approx(0.2)
    assert mean_over(distance(mixed, dark), regions.rest) == 0
    assert np.isnan(mean_over(distance(mixed, dark), np.zeros((16, 16), bool)))
    assert similarity(mixed, mixed).shape == (16, 16) and similarity(mixed, mixed) == pytest.approx(1)
    assert similarity(mixed, dark)[5, 5] < 0.99


def test_leakage_is_what_is_not_due():
    found = leakage({"smile": 0.5, "age": 4.0, "hat": 1.0}, {"age": 1.0}, {"smile": 1, "age": 6.0, "hat": 0.0}, "smile")
    assert found == {"age": 0.5}


def test_pictures_shown_take_edits_in_turn_where_there_is_room():
    edits = [Wanted("smile", "smile", 0.3), Wanted("yaw", "yaw", -0.2)]
    room = {"smile+0.3": ["b", "c"], "yaw-0.2": ["a", "b"]}
    assert choose_shown(edits, room, 5) == {"b": "smile+0.3", "a": "yaw-0.2", "c": "smile+0.3"}


def test_means_cover_the_edits_that_all_reach(tmp_path):
    def edits(label, values):
        rows = [
            {"task": "edit", "metric": "mae", "image_id": i, "direction": d, "change": 1.0, "value": v}
            for (i, d), v in values.items()
        ]
        return Edits(label, pd.DataFrame(rows), {}, tmp_path)

    one = edits("one", {("a", "smile"): 1.0, ("a", "yaw"): 9.0, ("b", "smile"): 2.0})
    two = edits("two", {("a", "smile"): 3.0, ("b", "smile"): float("nan")})
    table = per_image({"one": one, "two": two}, "mae")
    assert table.to_dict() == {"one": {"a": 1.0}, "two": {"a": 3.0}}
    assert per_image({"one": one}, "mae").loc["a", "one"] == 5


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("degrees", [1, "far"], "valid number"),
        ("degrees", [2, 1], "above 2"),
        ("directions", {"bright": [0]}, "than 0"),
    ],
)
def test_settings_that_cannot_be(edit_settings, key, value, told):
    with pytest.raises(ValueError, match=told):
        EditSettings.model_validate({**edit_settings, key: value})


SCORE = ("score-edits", "--method", "toy_codes", "--masks", "masks")


def test_edits_of_a_folder_dataset(edited, cli):
    answer = cli(*SCORE)
    assert answer.code == 0 and "bright+0.02: degree +" in answer.err, answer.err
    folder = edited / "results" / "edits" / "toy" / "toy_codes"
    rows, record = pd.read_parquet(folder / "rows.parquet"), json.loads((folder / "edits.json").read_text())
    assert record["ids"] == ["head_0", "head_1", "head_2"] and record["shown"] == {"head_0": "bright+0.02"}
    change = rows.query("task == 'edit' and metric == 'change'")["value"]
    assert len(change) == 3 and change.mean() == pytest.approx(0.02, abs=0.015)
    assert set(rows["task"]) == {"edit", "curve", "round_trip", "cycle", "sweep"}
    assert not {"attribute_error", "mae_face"} & set(rows["metric"]), "no exact targets here"
    start = rows.query("task == 'curve' and metric == 'background_drift' and degree == 0")
    assert (start["value"] == 0).all() and len(start) == 3
    sweep = np.asarray(Image.open(folder / "pictures" / "sweep" / "head_0.png"))
    assert sweep.shape == (32, 96, 3)
    before = (folder / "rows.parquet").read_bytes()
    assert cli(*SCORE).code == 0 and (folder / "rows.parquet").read_bytes() == before


FIXED = {"policy": "fixed", "images": 3, "round_trips": 2, "cycles": 2, "shown": 1, "frames": 3}


def test_fixed_degrees_need_no_judge_no_attribute_and_no_masks(edited, ask, cli, monkeypatch):
    """Also along a published direction that sets a coordinate; the way back is the step it took."""
    monkeypatch.setattr(attributes, "judge", lambda *_: pytest.fail("no judge is asked"))
    pca = {"mean": torch.zeros(1, 16), "comp": torch.eye(16)[:2, None], "std": torch.ones(2)}
    torch.save(pca, edited / "weights" / "directions" / "pca.pt")
    ask(FIXED, directions={"bright": [0.4], "pca.pt:1:0:2": [3]})
    assert cli("edit-targets").code == 0
    answer = cli("score-edits", "--method", "toy_codes")
    assert answer.code == 0 and "bright+0.4: degree +0.40" in answer.err, answer.err
    folder = edited / "results" / "edits" / "toy" / "toy_codes"
    rows, record = pd.read_parquet(folder / "rows.parquet"), json.loads((folder / "edits.json").read_text())
    assert set(rows["task"]) == {"round_trip", "cycle", "sweep"}, "nothing to say of edits without masks and identity"
    assert not {"change", "leakage", "attribute_error", "background"} & set(rows["metric"])
    assert record["judge"] == {} and record["shown"] == {"head_0": "bright+0.4"}
    codes = rows.query("task == 'round_trip' and metric == 'code'")
    assert len(codes) == 4 and set(codes["direction"]) == {"bright", "pca.pt:1:0:2"}
    with_masks = cli("score-edits", "--method", "toy_codes", "--masks", "masks")
    rows = pd.read_parquet(folder / "rows.parquet")
    assert with_masks.code == 0 and set(rows.loc[rows["task"] == "edit", "metric"]) == {
        "background",
        "background_drift",
    }


def test_the_way_back_is_the_step_it_took():
    """A method that inverts its own edits exactly comes back exactly, along a direction of either rule."""
    codes = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0))
    added = Direction("a", torch.eye(8)[0])
    put = Direction("s", torch.eye(8)[1], "set", (0, 2), torch.zeros(8), 2.0)
    for direction in (added, put):
        moved, wanted = direction.apply(codes, 3.0), Wanted(direction.name, "", 3.0)
        scoring = Scoring.__new__(Scoring)
        scoring.job, scoring.done = SimpleNamespace(again=("x",)), Part()
        scoring.editor = SimpleNamespace(
            embed=lambda ids, pictures, moved=moved: Inversion(moved),
            render=lambda w_plus, inversion: np.zeros((1, 2, 2, 3), np.uint8),
            directions={wanted.name: direction},
        )
        black = np.zeros((1, 2, 2, 3), np.uint8)
        scoring._round_trip(
            wanted, 3.0, black, Batch(("x",), black, Inversion(codes), black, [{}], [{}], [None], [0.0])
        )
        found = {row["metric"]: row["value"] for row in scoring.done.rows}
        assert found == {"code": pytest.approx(0, abs=1e-5), "image": 0} and not torch.equal(moved, codes)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"judge": "toy_judge"}, "no use for: judge"),
        ({"metrics": ["mae"], "degrees": [1]}, "no use for: degrees, metrics"),
        ({"policy": "matched"}, "name some under calibration"),
        ({"policy": "equal"}, "'matched' or 'fixed'"),
    ],
)
def test_policies_that_cannot_be(keys, told):
    with pytest.raises(ValueError, match=told):
        EditSettings.model_validate({**FIXED, "directions": {"bright": [1]}, **keys})


def test_a_failing_picture_is_named_and_the_others_go_on(edited, cli):
    from bench.inversion.runner import image_seed

    name = ("--method", "toy_fussy", "--set", f"raise_for={image_seed(0, 'toy', 'head_1')}")
    answer = cli("score-edits", "--masks", "masks", "--variant", "fussy", *name)
    assert answer.code == 0 and "picture head_1 failed: ValueError: cannot do this one" in answer.err, answer.err
    rows = pd.read_parquet(edited / "results" / "edits" / "local" / "toy_fussy.fussy" / "rows.parquet")
    assert set(rows["image_id"]) == {"head_0", "head_2"}


@pytest.mark.parametrize(
    ("edits", "asked", "told"),
    [
        ({}, ("--masks", "nowhere"), "no folder nowhere"),
        ({}, (), "has no masks"),
        ({"images": 5}, ("--masks", "masks"), "'head_4' has no mask"),
        ({"directions": {"smiel": [1]}}, ("--masks", "masks"), "unknown direction"),
        ({"directions": {"small": [1]}}, ("--masks", "masks"), "was not made for an attribute"),
        ({"calibration": {"dataset": "toy"}}, ("--masks", "masks"), "scored and calibrated on"),
        ({"degrees": ["far"]}, ("--masks", "masks"), "valid number"),
        ({"judge": "toy_jugde"}, ("--masks", "masks"), "did you mean 'toy_judge'"),
    ],
)
def test_mistakes_are_one_line_and_keep_earlier_results(edited, ask, one_line_error, edits, asked, told):
    kept = edited / "results" / "edits" / "toy" / "toy_codes" / "edits.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    ask(**edits)
    assert told in one_line_error("score-edits", "--method", "toy_codes", *asked)
    assert kept.read_text() == "{}"


def test_a_direction_of_another_space_and_a_judge_that_labelled_it(edited, cli, one_line_error):
    path = edited / "weights" / "directions" / "toy_d.safetensors"
    manifest = edited / "weights" / "manifest.yaml"
    held = yaml.safe_load(manifest.read_text())

    def write(vector, about):
        made = [Direction("bright", vector, about={"attribute": "bright"})]
        held["weights"][-1] |= {"sha256": files.write_set(path, made, about), "size_bytes": path.stat().st_size}
        held["weights"][-1]["size_bytes"] = path.stat().st_size
        manifest.write_text(yaml.safe_dump(held))

    write(torch.ones(8), {})
    assert "another space" in one_line_error(*SCORE)
    write(torch.ones(16), {"made_with": {"toy_generator": "0" * 64}})
    assert "the judge of edits labelled direction 'bright'" in one_line_error(*SCORE)


def test_masks_and_a_profile_without_edits(edited, ask, cli):
    with pytest.raises(DataError, match="wrong size"):
        of_mask(edited / "masks", "head_0", 64)
    ask(None)
    assert cli("score-edits", "--method", "toy_codes").code == 0
    assert json.loads((edited / "results/edits/toy/toy_codes/edits.json").read_text()) == {}
    assert cli("edit-targets").code == 0
    nothing = {"settings": {"edits": None}, "targets": {}}
    assert json.loads((edited / "results/edits/toy/targets.json").read_text()) == nothing
