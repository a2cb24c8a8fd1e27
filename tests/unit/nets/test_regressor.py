"""The regressor of factors and landmarks: its units, the hooks it is entered under."""

import pytest
import torch

from bench.api import Context
from bench.errors import BenchError, UnknownName, WeightsError
from bench.generator import SharedGenerator
from bench.nets.regressor import Reader, Regressor, architecture_of, reader_from
from bench.predictors import attributes, landmarks

SIDE = 32


def test_units_are_undone_and_landmarks_scale_with_the_picture():
    net = Regressor(16, [4, 8], [1, 1], 2).eval()
    torch.nn.init.zeros_(net.factors.weight), torch.nn.init.zeros_(net.landmarks.weight)
    torch.nn.init.ones_(net.factors.bias), torch.nn.init.zeros_(net.landmarks.bias)
    mean, scale = torch.full((138,), 8.0), torch.full((138,), 3.0)
    factors, points = Reader(net, ("a", "b"), mean, scale, SIDE).read(torch.zeros(1, 3, 2 * SIDE, 2 * SIDE))
    assert factors.tolist() == [[11.0, 11.0]]
    assert (points == 2 * 8 - 0.5).all()  # corner to centre of the first pixel


def test_the_file_says_its_own_architecture():
    net = Regressor(32, [4, 8, 8], [1, 2, 1], 5)
    assert architecture_of(net.state_dict()) == (32, [4, 8, 8], [1, 2, 1], 5)
    state = {f"net.{k}": v for k, v in net.state_dict().items() if v.is_floating_point()}
    state |= {"mean": torch.zeros(141), "scale": torch.ones(141), "landmark_side": torch.tensor(SIDE)}
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    assert reader_from(state, list("abcde"), "it", torch.device("cpu")).factors(x)["e"].shape == (2,)
    with pytest.raises(WeightsError, match="no mean"):
        reader_from({k: v for k, v in state.items() if k != "mean"}, (), "it", torch.device("cpu"))


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
