"""The check of a method's code: few pictures, measured on themselves, never exported."""

from pathlib import Path

import numpy as np
import pytest

from bench.errors import BenchError
from bench.generator import SharedGenerator
from bench.registry import methods
from bench.training.data import PackedImages
from bench.training.overfit import few
from bench.training.preset import Overfit, read_preset

ROOT = Path(__file__).parents[3]
PICTURES = PackedImages(
    [f"p{n}" for n in range(6)], np.arange(6 * 32 * 32 * 3).reshape(6, 32, 32, 3).astype("u1"), None
)


def test_the_first_pictures_of_the_set_or_some_the_generator_drew():
    generator = SharedGenerator.toy(32)
    first = few(Overfit(pictures=4), PICTURES, generator, 0)
    assert first.ids == PICTURES.ids[:4] and (first.images == PICTURES.images[:4]).all()
    assert len(few(Overfit(pictures=40), PICTURES, generator, 0).ids) == 6, "no more than there are"
    drawn = few(Overfit(pictures=20, drawn=True), PICTURES, generator, 0)
    assert drawn.images.shape == (20, 32, 32, 3) and len(set(drawn.ids)) == 20
    assert not (drawn.images[0] == drawn.images[1]).all()
    assert (few(Overfit(pictures=20, drawn=True), PICTURES, generator, 0).images == drawn.images).all()


def test_what_is_measured_is_what_is_learnt(training):
    """The last measurement is the error on the very pictures of the losses, and there is nothing to export."""
    options = training.special["psp"]["options"] | {"noise": "stored"}
    how = {"weights": {"l2": 1}, "options": options, "optimizer": {"lr": 0.01}, "flip": False, "ema_images": 0}
    path = training.preset("psp", images=160, validate_every=80, overfit={"pictures": 4, "drawn": True}, **how)
    training.run(path)
    errors = training.curve("psp", "held_out_mae")
    assert errors[-1] < 0.6 * errors[0]
    with pytest.raises(BenchError, match="is a check, not a training"):
        training.run(path, export=True)


def test_a_training_keeps_its_checkpoints(training):
    """Checkpoints written before there was such a key still belong to their presets."""
    assert "overfit" not in read_preset(training.preset("psp")).identity()
    assert "overfit" in read_preset(training.preset("psp", overfit={"pictures": 4})).identity()


@pytest.mark.parametrize("path", sorted((ROOT / "weights" / "overfit").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_committed_checks_are_their_method_s(path):
    preset = read_preset(path)
    method = methods(ROOT).load(preset.method)
    assert path.stem == preset.method and preset.overfit and not preset.flip
    assert set(preset.options) <= set(method.training)
    trained = read_preset(ROOT / "weights" / "annyfaces" / f"{'hfgi_paper' if path.stem == 'hfgi' else path.stem}.yaml")
    same = ("dataset", "domain", "batch", "precision")
    assert all(getattr(preset, name) == getattr(trained, name) for name in same)
    sizes = ("trunk", "head_width", "input_size", "inner_steps", "fusion", "layers", "widths", "distortion_size")
    assert all(preset.options.get(name) == trained.options.get(name) for name in sizes)
    assert set(preset.opponents) <= set(trained.opponents)
