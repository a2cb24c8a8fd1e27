"""Pictures smaller than the generator's: FFHQ as published, 256 px learnt from and 1024 px drawn, in small."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.config.project import load_config
from bench.contract.toy import toy_images
from bench.data.import_folder import FolderRequest
from bench.data.prepare import prepare
from bench.engine import SERIAL
from bench.files import read_rgb, write_png
from bench.training import record
from bench.training.validation import validate


@pytest.fixture
def small(project: Path) -> str:
    """A dataset of 16 px; the generator of its domain draws 32 px."""
    folder = project / "small_pictures"
    folder.mkdir()
    for n, picture in enumerate(toy_images(16, 8)):
        write_png(folder / f"head_{n}.png", np.asarray(picture))
    prepare(load_config(project), "small", FolderRequest(folder, "toy", 16), execution=SERIAL)
    return "small"


@pytest.mark.parametrize("method", ["psp", "hfgi"])
def test_trains_validates_shows_and_exports(method, small, training):
    """Renders are pooled to the pictures: error, grid and export, not a RuntimeError at the first validation."""
    training.add_hfgis()
    path = training.preset(method, dataset=small, images=16, batch=4, validate_every=8)
    training.run(path)
    errors = training.curve(method, "held_out_mae")
    assert len(errors) == 2 and all(0 < e < 1 for e in errors)
    grid = read_rgb(training.folder / "toy" / method / "grids" / "00000016.png")
    assert grid.shape == (2 * 16, 2 * 16, 3), "two held-out pictures above their reconstructions"
    held = [read_rgb(training.project / f"datasets/prepared/small/images/head_{n}.png") for n in (6, 7)]
    np.testing.assert_array_equal(grid[:16], np.concatenate(held, 1))
    error = np.abs(grid[:16].astype(float) - grid[16:]).mean() / 255
    assert error == pytest.approx(errors[-1], abs=0.003)  # the grid is rounded to 8 bits
    training.run(path, export=True)
    measured = json.loads(path.with_suffix(".json").read_text())
    assert measured["held_out_mae"] == pytest.approx(errors[-1], rel=1e-4)


def test_a_validation_that_fails_costs_no_step(project, training, monkeypatch):
    """The checkpoint comes first; on resume what was not looked at is looked at, and the curve has no hole."""
    path = training.preset("psp", images=16, checkpoint_every=8, validate_every=8)
    training.run(path)
    names = ("l2", "held_out_mae", "gradient_norm")
    whole = {name: training.curve("psp", name) for name in names}
    (training.folder / "toy" / "psp").rename(project / "whole")

    def failing(*given):
        raise RuntimeError("cannot invert")

    monkeypatch.setattr(record, "validate", failing)
    with pytest.raises(RuntimeError, match="cannot invert"):
        training.run(path)
    assert training.saved("psp")["loop"]["position"] == 8
    monkeypatch.setattr(record, "validate", validate)
    training.run(path, resume=True)
    assert {name: training.curve("psp", name) for name in names} == whole
    assert sorted(p.name for p in (training.folder / "toy/psp/grids").iterdir()) == ["00000008.png", "00000016.png"]
    assert Image.open(training.folder / "toy/psp/grids/00000008.png").size == (64, 64)


def test_measuring_keeps_no_graph(project, training, monkeypatch):
    """Batch norms of averaged weights are measured without gradients, when a training is exported too."""
    from bench.registry import methods

    path = training.preset("psp", images=8)
    training.run(path)
    kind, kept = methods(project).load("psp"), []
    render = kind.render

    def spying(self, w_plus, inversion):
        kept.append(w_plus.requires_grad)
        return render(self, w_plus, inversion)

    monkeypatch.setattr(kind, "render", spying)
    training.run(path, export=True)
    assert len(kept) > 16 and not any(kept)
