"""`bench edit` on the toy project: pictures, codes of a run, and what cannot be."""

import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from bench.directions import files
from bench.directions.direction import Direction

pytestmark = pytest.mark.numeric


@pytest.fixture
def directed(project):
    """The toy project with a set of directions; returns its root."""
    path = project / "weights" / "directions" / "toy_x.safetensors"
    path.parent.mkdir()
    made = [Direction("smile", torch.ones(16)), Direction("small", torch.ones(8))]
    entry = {"id": "toy_x", "file": "directions/toy_x.safetensors", "sha256": files.write_set(path, made, {})}
    entry |= {"size_bytes": path.stat().st_size, "domain": "toy", "kind": "directions", "licence": "none"}
    manifest = project / "weights" / "manifest.yaml"
    held = yaml.safe_load(manifest.read_text())
    held["weights"].append(entry)
    manifest.write_text(yaml.safe_dump(held))
    return project


EDIT = ("edit", "--method", "toy_codes", "--set", "noise=0.0", "--direction", "smile")


def picture(path):
    return np.asarray(Image.open(path))


def test_pictures_of_a_dataset_and_of_a_folder(directed, cli, assert_same_images):
    assert cli(*EDIT, "--degree", "1.5", "--images", "head_1,head_2", "--out", "some").code == 0
    record = json.loads((directed / "some" / "edit.json").read_text())
    assert record["ids"] == ["head_1", "head_2"] and not record["failures"]
    assert cli(*EDIT, "--degree", "0", "--images", "head_1", "--out", "none").code == 0
    assert np.abs(picture("some/images/head_1.png").astype(int) - picture("none/images/head_1.png")).mean() > 1
    assert cli(*EDIT, "--degree", "1.5", "--images", "./pictures", "--limit", "2", "--out", "folder").code == 0
    assert_same_images(picture("folder/images/head_1.png"), picture("some/images/head_1.png"))


def test_codes_of_a_run_are_used_when_they_are_all_a_method_keeps(directed, cli):
    assert cli("run", "--method", "toy_codes").code == 0
    args = ("edit", "--method", "toy_codes", "--direction", "smile", "--degree", "1", "--images", "head_3")
    assert cli(*args, "--out", "first").code == 0
    source = directed / "methods" / "toy_codes.py"
    assert "def embed(self, x):" in source.read_text()
    from bench.edits import apply

    calls = []
    edits_inverted = apply.Edit._inverted

    def spy(self, ids, x, codes):
        calls.append(sorted(codes))
        return edits_inverted(self, ids, x, codes)

    apply.Edit._inverted = spy
    try:
        assert cli(*args, "--out", "second").code == 0
    finally:
        apply.Edit._inverted = edits_inverted
    assert calls and len(calls[0]) == 8


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("--degree", "much"), "--degree is not a number"),
        (("--degree", "nan"), "--degree is not a number"),
        (("--direction", "smiel"), "did you mean 'smile'"),
        (("--direction", "small"), "another space"),
        (("--direction", "nowhere.pt"), "no direction file"),
        (("--images", "head_99"), "unknown picture of dataset 'toy'"),
        (("--images", "./nowhere"), "no folder"),
        (("--rows", "2"), "--rows cannot be read"),
        (("--rows", "3:99"), "rows the code does not have"),
        (("--method", "toy_code"), "did you mean 'toy_codes'"),
    ],
)
def test_mistakes_are_one_line_and_keep_what_was_there(directed, cli, one_line_error, changed, told):
    assert cli(*EDIT, "--degree", "1", "--images", "head_0", "--out", "kept").code == 0
    before = {p: p.read_bytes() for p in (directed / "kept").rglob("*") if p.is_file()}
    asked = [*EDIT, "--degree", "1", "--images", "head_0", "--out", "kept"]
    name, value = changed
    if name in asked:
        asked[asked.index(name) + 1] = value
    else:
        asked += changed
    assert told in one_line_error(*asked)
    assert {p: p.read_bytes() for p in (directed / "kept").rglob("*") if p.is_file()} == before


def test_other_settings_do_not_mix_and_unreadable_pictures_are_told(directed, cli, one_line_error):
    (directed / "pictures" / "broken.png").write_bytes(b"no picture")
    answer = cli(*EDIT, "--degree", "1", "--images", "./pictures", "--out", "all")
    assert answer.code == 0 and "8 pictures, 1 failed: broken" in answer.err
    assert "other values of: degree" in one_line_error(*EDIT, "--degree", "2", "--images", "./pictures", "--out", "all")
