"""Landmarks of photographs: insightface's class on a small exported network with the published one's interface."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench.api import Context, WeightsError
from bench.cli.rehearsal.files import write_file
from bench.errors import BenchError
from bench.generator import SharedGenerator
from bench.nets.face_landmarks import FACE_BOX, FaceLandmarks
from bench.predictors import landmarks
from bench.weights import fetch, manifest
from bench.weights.listing import read_published

ROOT = Path(__file__).parents[3]
INPUT, POINTS = 192, 1103  # of which the last 68 count


class Spot(nn.Module):
    """All points at the centre of what is red, in [-1, 1] of the crop; the last ten 0.1 lower, unused ones far off."""

    def forward(self, x):
        red = (x[:, 0] + 0.98).clamp(min=0)  # insightface gives (x - 127.5) / 128; black is nothing
        at = torch.arange(INPUT, dtype=x.dtype)
        total = red.sum((1, 2)) + 1e-6
        column, row = (red.sum(1) * at).sum(1) / total, (red.sum(2) * at).sum(1) / total
        one = torch.stack([column, row, 0 * row], -1)[:, None] / (INPUT / 2) - 1
        shift = torch.zeros(POINTS, 3)
        shift[:-68], shift[-10:, 1] = 9.0, 0.1
        return (one + shift).flatten(1)


def export(net, shape, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the exporter that needs no further package is the old one
        torch.onnx.export(net, (torch.zeros(shape),), str(path), dynamo=False)
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return export(Spot(), (1, 3, INPUT, INPUT), tmp_path_factory.mktemp("onnx") / "spot.onnx")


def spots(side, *places):
    """Black pictures in [-1, 1] with a red spot each, smooth enough to keep its centre through a resampling."""
    rows, columns = np.mgrid[0:side, 0:side]
    x = -np.ones((len(places), 3, side, side), np.float32)
    for n, (column, row) in enumerate(places):
        x[n, 0] += 2 * np.exp(-((columns - column) ** 2 + (rows - row) ** 2) / (0.03 * side) ** 2)
    return torch.from_numpy(x)


@pytest.mark.parametrize("side", [128, 256])
def test_points_come_back_in_pixels_of_the_picture(network, side):
    """Through crop, network and back: the centre of the spot, at any size; blue and green are not looked at."""
    places = [(0.4 * side, 0.55 * side), (0.61 * side, 0.7 * side)]
    x = spots(side, *places)
    found = FaceLandmarks(network)(x)
    assert found.shape == (2, 68, 2) and found.dtype == torch.float32
    for n, place in enumerate(places):
        np.testing.assert_allclose(found[n, :-10], [place] * 58, atol=0.02 * side / 10)
    box = side * max(FACE_BOX[2] - FACE_BOX[0], FACE_BOX[3] - FACE_BOX[1])
    lower = (found[:, -10:, 1] - found[:, :1, 1]).numpy()
    np.testing.assert_allclose(lower, 0.1 * 1.5 * box / 2, rtol=1e-3)  # the crop is 1.5 boxes wide, [-1, 1] across it
    x[:, 1:] = 1
    np.testing.assert_allclose(FaceLandmarks(network)(x), found, atol=1e-3)


def test_pictures_are_independent(network):
    x = spots(128, (50, 60), (70, 80), (64, 64))
    find = FaceLandmarks(network)
    assert torch.equal(find(x), torch.cat([find(one[None]) for one in x]))


def test_a_network_of_other_points_is_refused(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))
    export(net, (1, 3, 8, 8), tmp_path / "five.onnx")
    with pytest.raises(BenchError, match="finds no 68 points; got landmark_2d_5; expected landmark_3d_68"):
        FaceLandmarks(tmp_path / "five.onnx")


def context(root, domain="faces"):
    toy = SharedGenerator.toy(32)
    file = lambda weights_id, part: manifest.file_path(root, weights_id, part)  # noqa: E731
    return Context(domain, toy, toy.device, dict, weights_file=file)


def test_the_source_reads_its_part_of_the_fetched_pack(project):
    """From the published listing: a pack with both networks is fetched, and the source finds points with its own."""
    (project / "weights" / "published.yaml").write_text((ROOT / "weights" / "published.yaml").read_text())
    assert landmarks.names("faces") == ["insightface_68"]
    with pytest.raises(BenchError, match="landmark_weights={faces: arcface_buffalo_l}"):
        landmarks.detector(context(project), "insightface_68")
    with pytest.raises(WeightsError, match="are not here.*bench fetch arcface_buffalo_l"):
        landmarks.detector(context(project), "insightface_68", "arcface_buffalo_l")
    entry = read_published(project).entry("arcface_buffalo_l")
    assert "non-commercial" in entry.licence
    write_file(entry, entry.files[0], project / "files")
    fetch.fetch(project, "arcface_buffalo_l", project / "files")
    find = landmarks.detector(context(project), "insightface_68", "arcface_buffalo_l")
    points = find(torch.rand(2, 3, 256, 256) * 2 - 1)
    assert points.shape == (2, 68, 2) and points.isfinite().all() and not torch.equal(points[0], points[1])
    with pytest.raises(BenchError, match="not made for domain 'annyfaces'"):
        landmarks.detector(context(project, "annyfaces"), "insightface_68", "arcface_buffalo_l")


def test_a_pack_fetched_before_the_part_was_listed_says_how_to_get_it(project):
    text = (ROOT / "weights" / "published.yaml").read_text()
    without = "".join(line for line in text.splitlines(True) if "1k3d68.onnx" not in line)
    (project / "weights" / "published.yaml").write_text(without)
    entry = read_published(project).entry("arcface_buffalo_l")
    write_file(read_published(ROOT).entry("arcface_buffalo_l"), entry.files[0], project / "files")
    fetch.fetch(project, "arcface_buffalo_l", project / "files")
    (project / "weights" / "published.yaml").write_text(text)
    with pytest.raises(WeightsError, match="no part 'landmarks'.*bench fetch --again arcface_buffalo_l"):
        landmarks.detector(context(project), "insightface_68", "arcface_buffalo_l")
