"""The plan of a scoring of edits: everything is settled once, before anything is computed."""

import pytest

from bench.config.project import load_config
from bench.edits import plan
from bench.edits.plan import check_apart, plan_edits, plan_targets
from bench.edits.targets import Wanted
from bench.errors import BenchError


def test_a_plan_has_edits_images_calibration_metrics_and_predictor(edited, monkeypatch):
    loaded, load = [], plan.load_manifest
    monkeypatch.setattr(plan, "load_manifest", lambda root, name: loaded.append(name) or load(root, name))
    found = plan_edits(load_config(edited), "toy")
    assert loaded == ["toy", "held"]
    assert found.edits == (Wanted("bright", "bright", 0.02),) and found.domain == "toy"
    assert found.ids == ["head_0", "head_1", "head_2"]
    assert (found.calibration, found.calibration_ids) == ("held", ["other_0", "other_1", "other_2"])
    assert found.rendered == {} and not found.targets_are_exact and not found.calibrated_on_targets
    assert found.usable.metrics == ["mae"] and found.missing == {}
    assert list(found.predictor) == ["toy_generator"]


def test_a_plan_of_targets_asks_no_predictor(edited, ask):
    ask(judge="toy_jugde")
    config = load_config(edited)
    assert plan_targets(config, "toy", images=1).ids == ["head_0"]
    with pytest.raises(BenchError, match="did you mean 'toy_judge'"):
        plan_edits(config, "toy")


def test_metrics_that_lack_something_are_left_out_with_the_command_that_brings_it(edited, ask, monkeypatch):
    ask(metrics=["mae", "psnr"])
    monkeypatch.setattr(plan, "lacking", lambda root, cls: "pip install it" if cls.__module__.endswith("psnr") else "")
    found = plan_edits(load_config(edited), "toy")
    assert found.usable.metrics == ["mae"] and found.missing == {"psnr": "pip install it"}
    assert found.settings.metrics == ["mae", "psnr"]


def test_no_image_is_scored_and_calibrated_on(edited):
    toy, held = (plan.load_manifest(edited, name) for name in ("toy", "held"))
    check_apart(toy, toy.ids, held, held.ids[:0])
    with pytest.raises(BenchError, match="2 pictures would be scored and calibrated on"):
        check_apart(toy, toy.ids[:3], toy, toy.ids[1:4])
