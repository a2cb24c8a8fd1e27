"""The regressor of factors and landmarks: its targets, its units, the hooks it is entered under."""

import numpy as np
import pandas as pd
import pytest
import torch

from bench.api import Context
from bench.errors import BenchError, UnknownName, WeightsError
from bench.generator import SharedGenerator
from bench.nets.regressor import Reader, Regressor, architecture_of, reader_from
from bench.predictors import attributes, landmarks
from bench.training.data import PackedImages
from bench.training.regressor import RegressorConfig, RegressorTraining, measured, mirrored_values, read_config

SIDE, COUNT = 32, 24


def config(**changes):
    given = {"id": "toy", "dataset": "toy", "domain": "toy", "side": 16, "widths": [4, 8], "blocks": [1, 2]}
    spans = {"identities": (0, 16), "held_out": (16, COUNT), "images": 64, "batch": 8, "warm_up_images": 8}
    return RegressorConfig(**{**given, **spans, "factors": ["bright"], "odd_factors": ["yaw"], **changes})


def truth():
    rng = np.random.default_rng(0)
    table = {"identity": [f"i{n:02d}" for n in range(COUNT)], "bright": np.linspace(0, 1, COUNT)}
    table["yaw"] = rng.normal(size=COUNT)
    for point in range(68):
        table[f"lm_{point:02d}_x"], table[f"lm_{point:02d}_y"] = rng.uniform(0, SIDE, (2, COUNT))
    return pd.DataFrame(table)


def pictures():
    """Pictures as bright as their factor says."""
    level = np.linspace(60, 200, COUNT)[:, None, None, None]
    noise = np.random.default_rng(1).integers(-20, 20, (COUNT, SIDE, SIDE, 3))
    return PackedImages([f"{n}" for n in range(COUNT)], (level + noise).astype(np.uint8), None)


def training(**changes):
    return RegressorTraining(config(**changes), pictures(), truth(), torch.device("cpu"))


def test_a_mirror_image_swaps_points_turns_odd_factors_and_is_its_own_inverse():
    values = np.arange(2 * 138, dtype=float).reshape(2, 138)
    there = mirrored_values(values, config(), SIDE)
    assert (there[:, 0] == values[:, 0]).all() and (there[:, 1] == -values[:, 1]).all()
    assert there[0, 2] == SIDE - values[0, 2 + 2 * 16]  # the first point of the jaw is the mirror of its last
    assert there[0, 3] == values[0, 3 + 2 * 16]
    np.testing.assert_array_equal(mirrored_values(there, config(), SIDE), values)


def test_training_learns_and_a_resumed_one_goes_on_exactly():
    whole = training(precision="fp32", images=640)
    first = whole.step()["factors"]
    for _ in range(9):
        whole.step()
    part = training(precision="fp32", images=640)
    for _ in range(5):
        part.step()
    rest = training(precision="fp32", images=640)
    rest.restore(part.state())
    for _ in range(5):
        last = rest.step()
    for a, b in zip(whole.net.parameters(), rest.net.parameters(), strict=True):
        assert torch.equal(a, b)
    assert last["factors"] < first


def test_a_checkpoint_of_another_configuration_is_refused():
    with pytest.raises(BenchError, match="other values of: landmark_weight"):
        training().restore(training(landmark_weight=2).state())


def test_units_are_undone_and_landmarks_scale_with_the_picture():
    net = Regressor(16, [4, 8], [1, 1], 2).eval()
    torch.nn.init.zeros_(net.factors.weight), torch.nn.init.zeros_(net.landmarks.weight)
    torch.nn.init.ones_(net.factors.bias), torch.nn.init.zeros_(net.landmarks.bias)
    mean, scale = torch.full((138,), 8.0), torch.full((138,), 3.0)
    factors, points = Reader(net, ("a", "b"), mean, scale, SIDE).read(torch.zeros(1, 3, 2 * SIDE, 2 * SIDE))
    assert factors.tolist() == [[11.0, 11.0]]
    assert (points == 2 * 8 - 0.5).all()  # corner to centre of the first pixel


def test_measured_is_one_for_truth_itself():
    made = training()

    class Truth:
        names, mean = ("bright", "yaw"), torch.zeros(1)

        def read(self, x):
            rows = made.held_out[: len(x)]
            values = torch.from_numpy(made.values[rows])
            return values[:, :2], values[:, 2:].reshape(-1, 68, 2) - 0.5

    found = measured(Truth(), made.images, made.held_out, made.values)
    assert found["r2"] == {"bright": 1.0, "yaw": 1.0} and found["landmark_px"]["mean"] == 0


def test_the_file_says_its_own_architecture():
    net = Regressor(32, [4, 8, 8], [1, 2, 1], 5)
    assert architecture_of(net.state_dict()) == (32, [4, 8, 8], [1, 2, 1], 5)
    state = {f"net.{k}": v for k, v in net.state_dict().items() if v.is_floating_point()}
    state |= {"mean": torch.zeros(141), "scale": torch.ones(141), "landmark_side": torch.tensor(SIDE)}
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    assert reader_from(state, list("abcde"), "it", torch.device("cpu")).factors(x)["e"].shape == (2,)
    with pytest.raises(WeightsError, match="no mean"):
        reader_from({k: v for k, v in state.items() if k != "mean"}, (), "it", torch.device("cpu"))


def test_configurations_that_measure_on_what_they_train_on_are_refused(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(config(held_out=(10, 20)).model_dump_json())
    with pytest.raises(BenchError, match="trained on"):
        read_config(path)
    path.write_text("factors: [smile]")
    with pytest.raises(BenchError, match="wrong values"):
        read_config(path)


def test_judges_are_found_by_domain_and_misspelt_ones_named(tmp_path):
    with pytest.raises(BenchError, match="no judge of attributes for domain 'toy'"):
        attributes.judge(tmp_path, "toy", torch.device("cpu"))
    with pytest.raises(UnknownName, match="annyfaces_regressor"):
        attributes.judge(tmp_path, "annyfaces", torch.device("cpu"), "annyface_regressor")


def test_the_landmark_source_wants_its_weights_named():
    toy = SharedGenerator.toy(32)
    context = Context("annyfaces", toy, toy.device, dict)
    with pytest.raises(BenchError, match="landmark_weights={annyfaces: annyfaces_regressor}"):
        landmarks.detector(context, "annyfaces_regressor")
