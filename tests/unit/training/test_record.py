"""What a training leaves: event files, the time it took, and a word where there is nothing to do."""

import json
from pathlib import Path

import pytest
import yaml

from bench.errors import BenchError
from bench.registry import methods
from bench.training import checkpoint, log
from bench.training.preset import default_preset, read_preset, weights_id
from bench.training.spent import Spent, in_words
from bench.weights import manifest as weights

ROOT = Path(__file__).parents[3]


def events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_tensorboard_shows_the_curve_and_the_grids(project, training):
    """Event files hold what the tables hold, each step once, after a stop and a resume too."""
    pytest.importorskip("tensorboard")
    path = training.preset("psp", images=24, checkpoint_every=12, validate_every=8)
    training.run(path, stop_after=16)
    training.run(path, resume=True)
    found = events(training.folder / "toy" / "psp" / "tensorboard")
    assert {"l2", "gradient_norm", "held_out_mae"} <= set(found.Tags()["scalars"])
    for name in found.Tags()["scalars"]:
        shown = found.Scalars(name)
        assert [point.value for point in shown] == pytest.approx(training.curve("psp", name)), name
    assert [point.step for point in found.Scalars("l2")] == [4, 8, 12, 16, 20, 24]
    assert [picture.step for picture in found.Images("held_out")] == [8, 16, 24]
    assert (found.Images("held_out")[0].width, found.Images("held_out")[0].height) == (64, 64)


def test_without_tensorboard_there_are_tables_alone(training, monkeypatch):
    monkeypatch.setattr(log, "find_spec", lambda name: None)
    training.run(training.preset("psp", images=8))
    assert len(training.curve("psp", "l2")) == 2
    assert not (training.folder / "toy" / "psp" / "tensorboard").exists()


def test_times_add_up_over_stretches_and_stand_in_the_card(project, training):
    path = training.preset("psp", images=16)
    file = training.folder / "toy" / "psp" / "checkpoint.pt"
    training.run(path, stop_after=8)
    state = checkpoint.load(file)
    assert 0 < state["spent"]["seconds"] < 600 and 0 < state["spent"]["wall_seconds"] < 600
    checkpoint.save(file, {**state, "spent": {"seconds": 7200.0, "wall_seconds": 9000.0}})
    training.run(path, resume=True)
    spent = checkpoint.load(file)["spent"]
    assert 7200 < spent["seconds"] < 7800 and 9000 < spent["wall_seconds"] < 9600
    training.run(path, export=True)
    assert json.loads(path.with_suffix(".json").read_text())["seconds"] == spent["seconds"]
    assert "| time of training | 2.0" in path.with_suffix(".md").read_text()


def test_time_of_an_older_checkpoint_is_not_guessed():
    assert Spent({}).state() is None and in_words({}) == "not recorded"
    assert in_words({"spent": {"seconds": 1800, "wall_seconds": 5400}}) == "0.50 hours of computing, 1.50 by the clock"


def test_nothing_to_do_is_said_and_nothing_is_done(project, training, capsys):
    """--stop-after at or below the position makes no step; a finished training says that it is."""
    path = training.preset("psp", images=16)
    training.run(path, stop_after=8)
    file = training.folder / "toy" / "psp" / "checkpoint.pt"
    before = file.read_bytes(), training.curve("psp", "l2")
    for stop in (4, 8):
        training.run(path, resume=True, stop_after=stop)
        assert f"has drawn 8 pictures: nothing to do before --stop-after {stop}" in capsys.readouterr().out
    assert (file.read_bytes(), training.curve("psp", "l2")) == before
    training.run(path, resume=True)
    before = file.read_bytes()
    capsys.readouterr()
    training.run(path, resume=True)
    assert "psp is finished: 16 of 16 pictures; raise its images to go on, or --export it" in capsys.readouterr().out
    assert file.read_bytes() == before


def test_exports_of_two_folders_do_not_meet(project, training):
    """The folder stands in the id where it is not the domain's; the licence is the dataset's or the preset's."""
    plain = training.preset("psp", images=8)
    training.run(plain)
    training.run(plain, export=True)
    other = project / "weights" / "paper" / "psp.yaml"
    other.parent.mkdir()
    other.write_text(yaml.safe_dump({**yaml.safe_load(plain.read_text()), "licence": "CC BY-NC-SA 4.0"}))
    training.run(other)
    training.run(other, export=True)
    found = {entry.id: entry for entry in weights.read_manifest(project).weights}
    assert found["toy_psp"].file == "toy/psp.safetensors"
    assert found["toy_paper_psp"].file == "paper/psp.safetensors"
    manifest = yaml.safe_load((project / "datasets" / "toy.yaml").read_text())
    assert found["toy_psp"].licence == manifest["licence"] != "MIT"
    assert found["toy_paper_psp"].licence == "CC BY-NC-SA 4.0"
    assert "| licence | CC BY-NC-SA 4.0 |" in other.with_suffix(".md").read_text()


def test_ids_of_this_repositorys_presets():
    ids = {str(p): weights_id(read_preset(p), p) for p in sorted((ROOT / "weights").glob("*/hfgi*.yaml"))}
    assert len(set(ids.values())) == len(ids)
    assert {"faces_paper_hfgi", "faces_release_hfgi", "annyfaces_hfgi", "annyfaces_hfgi_paper"} <= set(ids.values())
    with pytest.raises(BenchError, match="cannot name the weights"):
        weights_id(read_preset(ROOT / "weights/paper/psp.yaml"), Path("weights/My Runs/psp.yaml"))


@pytest.mark.parametrize("method", ["psp", "e4e", "restyle_psp", "restyle_e4e", "hfgi"])
def test_a_methods_name_trains_the_weights_it_uses(method):
    """`bench train METHOD` and the adapter mean the same weights."""
    used = methods(ROOT).attribute(method, "weights", {})["annyfaces"]
    chosen = default_preset(ROOT, "annyfaces", method, [used])
    assert weights_id(read_preset(chosen), chosen) == used
    assert default_preset(ROOT, "paper", method, [used]) == ROOT / "weights" / "paper" / f"{method}.yaml"


def test_the_command_line_says_what_it_will_export(project, cli, training):
    path = training.preset("psp", images=8)
    answer = cli("train", "psp", "--preset", "toy", "--dry-run")
    assert answer.code == 0, answer.err
    assert f"preset {path}; its weights will be toy_psp" in answer.out
