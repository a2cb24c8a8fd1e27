"""Landmark sources and the warp by their points."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.api import Context, ShapeError, UnknownName
from bench.contract.check_method import MethodChecks
from bench.errors import BenchError
from bench.generator import SharedGenerator
from bench.nets.thin_plate import warp
from bench.predictors import landmarks
from methods.hfgi import Method

SIDE = 32


@pytest.fixture(scope="module")
def toy():
    return SharedGenerator.toy(SIDE)


@pytest.fixture
def context(toy):
    return Context("toy", toy, toy.device, lambda weights_id: {"id": torch.tensor(float(len(weights_id)))})


@pytest.fixture
def fake(monkeypatch):
    """A source whose points follow the brightest pixel of the first channel: they move with what they are found on."""
    monkeypatch.setattr(landmarks, "SOURCES", {})
    asked = []

    @landmarks.source("bright", domains=["toy"])
    def load(context, weights_id):
        def find(pictures):
            asked.append((weights_id, tuple(pictures.shape)))
            at = pictures[:, 0].flatten(1).argmax(1)
            centre = torch.stack([at % pictures.shape[-1], at // pictures.shape[-1]], -1).float()
            return centre[:, None] + 3 * points(len(pictures), spread=1.0)

        return find

    return asked


def points(batch=2, spread=5.0, count=68):
    made = np.random.default_rng(1).normal(0, spread, (batch, count, 2))
    return torch.from_numpy(made).float()


def blobs():
    """Smooth maps, so that bilinear sampling loses little."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    made = [np.exp(-((columns - a) ** 2 + (rows - b) ** 2) / 30) for a, b in ((12, 14), (18, 16))]
    return torch.from_numpy(np.stack(made)[:, None]).float()


def turned(x, angle, zoom, shift):
    """Points under a similarity about the middle of the map."""
    turn = zoom * torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], dtype=torch.float32)
    return (x - SIDE / 2) @ turn + SIDE / 2 + torch.tensor(shift)


# --- warp ---


def test_equal_points_change_nothing():
    x, at = torch.randn(2, 3, SIDE, SIDE), points() + SIDE / 2
    torch.testing.assert_close(warp(x, at, at), x, rtol=0, atol=1e-5)


def test_a_whole_shift_moves_pixels():
    x, at = torch.randn(2, 3, SIDE, SIDE), points() + SIDE / 2
    moved = warp(x, at, at + torch.tensor([3.0, -2.0]))
    torch.testing.assert_close(moved[..., :-2, 3:], x[..., 2:, :-3], rtol=0, atol=1e-4)
    assert moved[..., :2].abs().max() < 1e-4 and moved[..., -1, :].abs().max() < 1e-4  # from outside: nothing


@pytest.mark.parametrize(("angle", "zoom", "shift"), [(0.4, 1.0, (0, 0)), (0, 1.3, (2, 1)), (-0.3, 0.8, (-1, 3))])
def test_a_similarity_of_the_points_is_that_of_the_map(angle, zoom, shift):
    """Every pixel's value is that of the place the inverse similarity names, far from the points too."""
    x, at = blobs(), points(spread=4.0) + SIDE / 2
    moved = warp(x, at, turned(at, angle, zoom, shift))
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    pixels = torch.from_numpy(np.stack([columns, rows], -1).reshape(-1, 2)).float()
    inverse = turned(pixels - torch.tensor(shift), -angle, 1 / zoom, (0, 0))
    expected = [torch.exp(-((inverse[:, 0] - a) ** 2 + (inverse[:, 1] - b) ** 2) / 30) for a, b in ((12, 14), (18, 16))]
    for n in range(2):
        torch.testing.assert_close(moved[n, 0].flatten(), expected[n], rtol=0, atol=0.02)
        assert float((x[n, 0].flatten() - expected[n]).abs().max()) > 0.1  # and the transform is one


def test_every_point_arrives(toy):
    """Not affine: a spot under each source point is found under its target point."""
    source = torch.tensor([[[8.0, 8], [24, 8], [8, 24], [24, 24], [16, 16]]])
    target = source + torch.tensor([[[2.0, 0], [0, 3], [-2, 0], [0, -1], [1, 1]]])
    x = torch.zeros(1, 5, SIDE, SIDE)
    for n, (column, row) in enumerate(source[0].int().tolist()):
        x[0, n, row, column] = 1
    moved = warp(x, source, target)
    for n, (column, row) in enumerate(target[0].int().tolist()):
        assert moved[0, n].argmax() == row * SIDE + column and moved[0, n].max() > 0.9


def test_pictures_are_warped_apart():
    x, at = torch.randn(2, 3, SIDE, SIDE), points() + SIDE / 2
    to = at + torch.tensor([[[3.0, 0]], [[0, -2.0]]])
    together = warp(x, at, to)
    apart = torch.cat([warp(x[n : n + 1], at[n : n + 1], to[n : n + 1]) for n in range(2)])
    assert torch.equal(together, apart)


def test_points_that_do_not_fit():
    x = torch.randn(2, 3, SIDE, SIDE)
    for source, target in ((points(1), points(1)), (points(), points(count=5))):
        with pytest.raises(ShapeError, match="points do not fit the maps"):
            warp(x, source, target)
    line, at = torch.stack([torch.arange(68.0), torch.arange(68.0)], -1)[None], points(1)
    twice = torch.cat([at[:, :1], at[:, :-1]], 1)
    for target in (line, twice):
        with pytest.raises(ValueError, match="coincide or lie on a line"):
            warp(x[:1], at + 1, target)


# --- sources ---


def test_contract_of_sources(context, fake):
    find = landmarks.detector(context, "bright", "ids")
    assert find(torch.rand(2, 3, SIDE, SIDE)).shape == (2, 68, 2) and fake == [("ids", (2, 3, SIDE, SIDE))]
    assert landmarks.names("toy") == ["bright"] and landmarks.names("cars") == []
    with pytest.raises(BenchError, match="'bright' is defined twice"):
        landmarks.source("bright", ["cars"])(lambda context, weights_id: None)


def test_sources_that_are_not_there(context, fake):
    with pytest.raises(UnknownName, match="landmark source 'brigt'.*did you mean 'bright'"):
        landmarks.detector(context, "brigt")
    with pytest.raises(BenchError, match="no landmark source is named for domain 'toy'; expected one of: bright"):
        landmarks.detector(context, "")
    landmarks.source("other", ["cars"])(lambda context, weights_id: None)
    with pytest.raises(
        BenchError, match="'other' is not made for domain 'toy'; got domains cars; expected one of: bri"
    ):
        landmarks.detector(context, "other")


def test_wrong_points_are_refused(context, fake):
    landmarks.source("five", ["toy"])(lambda context, weights_id: lambda pictures: torch.zeros(len(pictures), 5, 2))
    with pytest.raises(ShapeError, match=r"'five' gives other points; got \(1, 5, 2\); expected \(1, 68, 2\)"):
        landmarks.detector(context, "five")(torch.zeros(1, 3, 8, 8))


# --- in the method ---

WARPED = {**Method.quick, "untrained": False, "fusion": "image_warp", "align": False, "landmarks": {"toy": "bright"}}


def test_the_whole_variant(toy, context, fake):
    """The map is warped from the source's points to those of each render, and added; its points are kept."""
    x = toy.synthesize(toy.sample_w(3, seed=5)).clamp(-1, 1)
    method = Method(context, **WARPED, landmark_weights={"toy": "ids", "cars": "no"})
    with torch.no_grad():
        inversion = method.embed(x)
        assert inversion.rate() == 8 * 16 + 3 * SIDE * SIDE + 2 * 68
        for shift in (0.0, 0.4):
            w_plus = inversion.w_plus + shift
            render = toy.synthesize(w_plus)
            find = landmarks.detector(context, "bright")
            distortion = x - toy.synthesize(inversion.w_plus).clamp(-1, 1)
            moved = warp(distortion, find(x), find(render.clamp(-1, 1)))
            torch.testing.assert_close(method.render(w_plus, inversion), render + moved)
            assert not torch.allclose(moved, distortion, atol=1e-2)  # and the warp is one
    assert fake[0][0] == "ids"


def test_untrained_networks_include_that_of_the_points(context):
    """Where weights are start values, so is the detector: distinct points that the picture moves, in any domain."""
    x = torch.rand(2, 3, SIDE, SIDE) * 2 - 1
    find = landmarks.detector(context, "annyfaces_regressor", untrained=True)
    first, again = find(x), landmarks.detector(context, "annyfaces_regressor", untrained=True)(x)
    assert torch.equal(first, again) and 0 < first.min() and first.max() < SIDE
    assert len(first[0].unique(dim=0)) == 68 and (first[0] - first[1]).abs().max() > 1e-3
    with pytest.raises(BenchError, match="'annyfaces_regressor' is not made for domain 'toy'; got domains annyfaces"):
        landmarks.detector(context, "annyfaces_regressor")
    with pytest.raises(UnknownName):
        landmarks.detector(context, "annyfaces_regresor", untrained=True)


def test_a_source_of_another_domain_is_said_to_lack():
    """The check of a variant tries its weights where its landmark source serves, and says where it does not."""
    subject = MethodChecks(Path(__file__).parents[3], "hfgi", {"landmarks": "annyfaces_regressor"})
    assert subject.lacking["annyfaces"] == []
    assert "landmark source 'annyfaces_regressor' is made for annyfaces" in subject.lacking["faces"]


def test_without_a_source_it_says_so(context, monkeypatch):
    monkeypatch.setattr(landmarks, "SOURCES", {})
    with pytest.raises(BenchError, match=r"no landmark source is named for domain 'toy'; expected one of: \(none is"):
        Method(context, **{**WARPED, "landmarks": {}})
