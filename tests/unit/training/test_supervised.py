"""What trainings on labelled images share: identities, learning rate, resuming, and the command from file to weights."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from bench.errors import BenchError, DataError
from bench.training import run_recogniser, run_regressor
from bench.training.data import PackedImages
from bench.training.recogniser import RecogniserConfig, RecogniserTraining
from bench.training.regressor import RegressorConfig, RegressorTraining
from bench.training.settings import read_settings
from bench.training.supervised import identity_rows
from bench.weights import manifest as weights

COMMON = {"id": "toy_it", "dataset": "toy", "domain": "toy", "images": 32, "batch": 4, "warm_up_images": 8}
COMMON |= {"identities": [0, 2], "precision": "fp32"}
NETWORK = {"kind": "ir_se", "side": 16, "groups": [[16, 1], [32, 2]], "features": 6}
RECOGNISER = {**COMMON, "format": "safetensors", "network": NETWORK, "verified": [2, 4], "factors": ["bright"]}
RECOGNISER |= {"guide": 0.5}
REGRESSOR = {**COMMON, "side": 16, "widths": [4, 8], "blocks": [1, 2], "held_out": [2, 4], "factors": ["bright"]}
REGRESSOR |= {"odd_factors": ["yaw"]}
KINDS = {
    "recogniser": (run_recogniser.main, RecogniserConfig, RecogniserTraining, RECOGNISER, "verified"),
    "regressor": (run_regressor.main, RegressorConfig, RegressorTraining, REGRESSOR, "held_out"),
}
COUNT, SIDE = 8, 32


def truth():
    rng = np.random.default_rng(0)
    table = {"image_id": [f"head_{n}" for n in range(COUNT)], "identity": [f"p{n // 2}" for n in range(COUNT)]}
    table |= {"bright": np.linspace(0, 1, COUNT), "yaw": rng.normal(size=COUNT)}
    for point in range(68):
        table[f"lm_{point:02d}_x"], table[f"lm_{point:02d}_y"] = rng.uniform(0, SIDE, (2, COUNT))
    return pd.DataFrame(table)


def training(kind, **changes):
    _, config, made, settings, _ = KINDS[kind]
    images = np.random.default_rng(1).integers(0, 256, (COUNT, SIDE, SIDE, 3), np.uint8)
    packed = PackedImages([f"head_{n}" for n in range(COUNT)], images, None)
    return made(config.model_validate({**settings, **changes}), packed, truth(), torch.device("cpu"))


@pytest.fixture
def written(project):
    """Write a configuration into the toy project, whose dataset then has a ground truth."""
    truth().to_parquet(project / "datasets" / "prepared" / "toy" / "truth.parquet")
    (project / "weights" / "toy").mkdir()

    def write(kind, **changes):
        path = project / "weights" / "toy" / f"{kind}.yaml"
        path.write_text(yaml.safe_dump({**KINDS[kind][3], **changes}))
        return path

    return write


def test_identities_that_are_not_there():
    with pytest.raises(DataError, match="no such identities"):
        identity_rows(truth(), (0, 9))
    with pytest.raises(DataError, match="known identities"):
        identity_rows(truth().drop(columns="identity"), (0, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_learning_rate_rises_and_falls(kind):
    run = training(kind, images=400, warm_up_images=40)
    found = []
    for run.position in (0, 100, 200, 300, 400):
        found.append(run.lr_factor())
    assert found == pytest.approx([0.1, 0.8536, 0.5, 0.1464, 0.0], abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_training_gives_the_same_bits(kind, assert_same):
    whole, first, second = training(kind), training(kind), training(kind)
    expected = [whole.step() for _ in range(6)]
    assert [first.step() for _ in range(3)] == expected[:3]
    second.restore(first.state())
    assert [second.step() for _ in range(3)] == expected[3:]
    assert_same(second.state(), whole.state())


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_added_by_their_weights(kind):
    """The first update is that of the weighted sum, computed here once more from the losses."""
    run, other = training(kind), training(kind)
    run.step()
    drawn, flips = other.sampler.rows(0, 4), other.sampler.flips(0, 4)
    x = other.augmented(other.images.batch(other.rows[drawn], flips)[0])
    losses = other.losses(other.net.train()(x), drawn, flips)
    first, second = losses
    weight = {"guide": 0.5, "landmarks": 0.5}[second]
    other.optimizer.zero_grad()
    (losses[first] + weight * losses[second]).backward()
    other.optimizer.param_groups[0]["lr"] = 2e-3 * other.lr_factor()
    other.optimizer.step()
    for a, b in zip(run.net.parameters(), other.net.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("kind", "key"), [("recogniser", "margin"), ("regressor", "landmark_weight")])
def test_a_checkpoint_of_another_configuration_is_refused(kind, key):
    with pytest.raises(BenchError, match=f"other values of: {key}"):
        training(kind).restore(training(kind, **{key: 0.2}).state())


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_configurations_are_refused(kind, written, tmp_path):
    _, config, _, _, measured_on = KINDS[kind]
    with pytest.raises(BenchError, match=rf"{kind}.yaml is not valid.*to measure on are trained on"):
        read_settings(written(kind, **{measured_on: [1, 3]}), config)
    with pytest.raises(BenchError, match=rf"margins: extra.*its keys are those of bench/training/{kind}.py"):
        read_settings(written(kind, margins=2), config)
    path = written(kind)
    path.write_text("id: [")
    with pytest.raises(BenchError, match=rf"{kind}.yaml is not YAML"):
        read_settings(path, config)
    with pytest.raises(BenchError, match="no training configuration at .*none.yaml. Fix: write it"):
        read_settings(tmp_path / "none.yaml", config, "write it")


@pytest.mark.parametrize("kind", KINDS)
def test_from_configuration_to_committed_weights(kind, written, project, capsys):
    main, path = KINDS[kind][0], written(kind)
    assert main(path, project, dry_run=True) == [] and "4 training pictures" in capsys.readouterr().out
    with pytest.raises(BenchError, match=f"no training of {kind} to export"):
        main(path, project, export=True)
    folder = project / "weights" / "training" / kind
    assert main(path, project, stop_after=16) == [folder]
    with pytest.raises(BenchError, match="--resume"):
        main(path, project)
    main(path, project, resume=True)
    main(path, project, resume=True)
    assert "toy_it is finished: 32 of 32" in capsys.readouterr().out
    exported = main(path, project, export=True)
    assert [p.name for p in exported] == [f"{kind}.safetensors", f"{kind}.json", f"{kind}.md", "manifest.yaml"]
    entry = weights.read_manifest(project).entry("toy_it")
    assert (entry.kind, entry.file, entry.card) == (kind, f"toy/{kind}.safetensors", f"toy/{kind}.md")
    assert weights.load(project, "toy_it")
    numbers = json.loads(exported[1].read_text())
    assert numbers["pictures_seen"] == 32 and numbers["wall_seconds"] > 0
    assert f"`bench train {kind} --config weights/toy/{kind}.yaml`" in exported[2].read_text()


def test_an_export_outside_of_weights_is_refused(written, project, tmp_path):
    path = written("regressor")
    run_regressor.main(path, project)
    away = path.rename(tmp_path / "regressor.yaml")
    with pytest.raises(BenchError, match="cannot export beside .*regressor.yaml; expected a configuration under"):
        run_regressor.main(away, project, export=True)
