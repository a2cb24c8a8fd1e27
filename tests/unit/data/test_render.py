"""Rendered datasets: resumable, verified, every mismatch named. A fake renderer stands in for the slow one."""

import sys
import types

import numpy as np
import pandas as pd
import pytest
import yaml

from bench.config.project import load_config
from bench.data.dataset import PreparedDataset, PreparedPaths
from bench.data.fingerprint import coarse, drifted
from bench.data.manifest import load_manifest
from bench.data.prepare import counterfactual, counterfactuals, prepare
from bench.engine import SERIAL
from bench.errors import BenchError, DataError, UnknownName
from bench.files import read_rgb, write_png
from bench.renderers.annyfaces import Annyfaces
from bench.renderers.by_name import RENDERERS

COUNT = 20


class FakeRenderer:
    """One picture a scene: its index and degree in colours. Counts what it draws; ``shift`` moves every level."""

    drawn: list = []
    shift = 0

    def __init__(self, resolution):
        self.resolution = resolution

    def render(self, scenes):
        FakeRenderer.drawn += [s["index"] for s in scenes]
        return [self._one(scene) for scene in scenes]

    def _one(self, scene):
        image = np.random.default_rng(scene["index"]).integers(40, 200, (self.resolution,) * 2 + (3,))
        image = image + int(10 * scene.get("degree", 0)) + FakeRenderer.shift
        return types.SimpleNamespace(
            image=image.astype(np.uint8),
            labels=np.full((self.resolution,) * 2, scene["index"] % 15, np.uint8),
            landmarks=np.full((68, 2), scene["index"], np.float32),
            factors={"yaw": scene["index"] / 10, "identity": f"id{scene['index']}"},
        )


@pytest.fixture
def drawn(project, monkeypatch):
    """A dataset whose manifest has no hashes yet; the renderer is the fake one."""

    def edit_scene(scene, attribute, degree):
        if attribute != "smile":
            raise UnknownName.of("attribute", attribute, ["smile"])
        return {**scene, "degree": degree}

    def sample_scene(split, index, seed):
        return {"index": index}

    scene = types.SimpleNamespace(sample_scene=sample_scene, edit_scene=edit_scene)
    render = types.SimpleNamespace(Renderer=FakeRenderer, RENDERER_VERSION="1")
    monkeypatch.setitem(sys.modules, "annyfaces.scene", scene)
    monkeypatch.setitem(sys.modules, "annyfaces.render", render)
    monkeypatch.setitem(RENDERERS, "annyfaces", Annyfaces())  # without what it keeps of other tests
    FakeRenderer.drawn, FakeRenderer.shift = [], 0
    head = {
        "id": "drawn",
        "domain": "toy",
        "kind": "rendered",
        "resolution": 32,
        "licence": "CC0",
        "count": COUNT,
        "render": {"renderer_version": "1", "split": "test", "seed": 0},
    }
    (project / "datasets" / "drawn.yaml").write_text(yaml.safe_dump(head))
    return project


def make(project, update=False):
    FakeRenderer.drawn = []
    return prepare(load_config(project), "drawn", update=update, execution=SERIAL).done


def paths(project):
    return PreparedPaths.of(project, "drawn")


def test_without_hashes_only_update_goes(drawn):
    with pytest.raises(DataError, match="got 0; expected count 20.*--update"):
        make(drawn)
    done = make(drawn, update=True)
    assert done["count"] == COUNT and done["drifted"] == {} and FakeRenderer.drawn == list(range(COUNT))
    manifest = load_manifest(drawn, "drawn")
    assert manifest.ids == [f"{n:06d}" for n in range(COUNT)] and len(manifest.images[0].coarse) == 96


def test_everything_is_there(drawn):
    make(drawn, update=True)
    dataset = PreparedDataset.open(drawn, "drawn")
    truth = dataset.truth()
    assert list(truth["image_id"]) == dataset.manifest.ids
    assert truth["lm_67_y"].iloc[3] == 3.0 and truth["identity"].iloc[7] == "id7" and truth["yaw"].iloc[5] == 0.5
    assert dataset.read("000004").shape == (32, 32, 3) and paths(drawn).label("000004").is_file()
    assert not paths(drawn).parts.exists()


def test_second_run_renders_nothing(drawn):
    make(drawn, update=True)
    make(drawn)
    assert FakeRenderer.drawn == []


def test_only_what_is_damaged_is_rendered_again(drawn):
    make(drawn, update=True)
    truth = paths(drawn).truth.read_bytes()
    paths(drawn).image("000003").unlink()
    paths(drawn).image("000011").write_bytes(b"junk")
    paths(drawn).label("000015").unlink()
    write_png(paths(drawn).image("000017"), np.zeros((32, 32, 3), np.uint8))
    make(drawn)
    assert FakeRenderer.drawn == [3, 11, 15, 17]
    pd.testing.assert_frame_equal(pd.read_parquet(paths(drawn).truth), pd.read_parquet(__import__("io").BytesIO(truth)))


def test_killed_preparation_resumes(drawn, monkeypatch):
    make(drawn, update=True)
    for path in (*paths(drawn).images.iterdir(), paths(drawn).truth, paths(drawn).done):
        path.unlink()
    original, calls = FakeRenderer.render, []

    def stop(self, scenes):
        calls.append(len(scenes))
        if sum(calls) > 10:
            raise KeyboardInterrupt
        return original(self, scenes)

    with monkeypatch.context() as patch:
        patch.setattr(FakeRenderer, "render", stop)
        with pytest.raises(KeyboardInterrupt):
            make(drawn)
    with pytest.raises(DataError, match="is not prepared"):
        PreparedDataset.open(drawn, "drawn")
    make(drawn)
    assert 0 < len(FakeRenderer.drawn) < COUNT
    assert PreparedDataset.open(drawn, "drawn").truth()["image_id"].is_unique


def test_mismatches_are_named(drawn):
    make(drawn, update=True)
    FakeRenderer.shift = 30  # a renderer that draws something else
    for image_id in ("000002", "000005"):
        paths(drawn).image(image_id).unlink()
    with pytest.raises(DataError, match="2 of 20 pictures of 'drawn' differ from the manifest; got 000002, 000005"):
        make(drawn)
    assert "000005" in paths(drawn).problems.read_text()
    with pytest.raises(DataError, match="is not prepared"):
        PreparedDataset.open(drawn, "drawn")
    FakeRenderer.shift = 0
    make(drawn)
    assert not paths(drawn).problems.exists()


def test_many_mismatches_are_counted(drawn):
    make(drawn, update=True)
    FakeRenderer.shift = 30
    for path in paths(drawn).images.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="20 of 20.*000009 and 10 more"):
        make(drawn)


def test_rounding_of_another_machine_is_accepted_and_named(drawn):
    make(drawn, update=True)
    FakeRenderer.shift = 1  # one level: another hash, the same picture
    paths(drawn).image("000002").unlink()
    done = make(drawn)
    assert list(done["drifted"]) == ["000002"]
    assert PreparedDataset.open(drawn, "drawn").read("000002").shape == (32, 32, 3)
    assert "000002" in paths(drawn).problems.read_text()
    make(drawn)
    assert FakeRenderer.drawn == []  # accepted once, not rendered again and again


def test_other_renderer_version_is_refused(drawn, monkeypatch):
    make(drawn, update=True)
    monkeypatch.setattr(sys.modules["annyfaces.render"], "RENDERER_VERSION", "2")
    with pytest.raises(DataError, match="another renderer; got version 1; expected version 2.*--update"):
        make(drawn)
    make(drawn, update=True)
    assert load_manifest(drawn, "drawn").render.renderer_version == "2" and len(FakeRenderer.drawn) == COUNT


def test_video_ids(drawn):
    path = drawn / "datasets" / "drawn.yaml"
    head = yaml.safe_load(path.read_text())
    head["render"].update(split="video", clip=8)
    path.write_text(yaml.safe_dump(head))
    make(drawn, update=True)
    assert load_manifest(drawn, "drawn").ids[:9] == [f"00_{n:04d}" for n in range(8)] + ["01_0000"]


def test_manifest_with_other_ids(drawn):
    make(drawn, update=True)
    path = drawn / "datasets" / "drawn.yaml"
    path.write_text(path.read_text().replace('"000003"', '"000099"'))
    with pytest.raises(DataError, match="lists other ids"):
        make(drawn)


def test_counterfactuals_are_rendered_once(drawn):
    make(drawn, update=True)
    FakeRenderer.drawn = []
    dataset = PreparedDataset.open(drawn, "drawn")
    path = counterfactual(dataset, "000004", "smile", 0.5)
    assert path == paths(drawn).folder / "counterfactual" / "smile_+0.5" / "000004.png"
    moved = read_rgb(path).astype(int) - dataset.read("000004")
    assert (moved == 5).all()
    found = counterfactuals(dataset, ["000004", "000005", "000004"], "smile", 0.5)
    assert FakeRenderer.drawn == [4, 5] and found[0] == found[2] == path
    assert counterfactual(dataset, "000004", "smile", -0.5) != path


def test_counterfactuals_that_cannot_be(drawn):
    make(drawn, update=True)
    dataset = PreparedDataset.open(drawn, "drawn")
    with pytest.raises(DataError, match="has no image '77'"):
        counterfactual(dataset, "77", "smile", 1)
    with pytest.raises(UnknownName, match="did you mean 'smile'"):
        counterfactual(dataset, "000001", "smil", 1)
    with pytest.raises(BenchError, match="has no counterfactuals; got kind 'folder'"):
        counterfactual(PreparedDataset.open(drawn, "toy"), "head_0", "smile", 1)


def test_coarse_colours():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:8, :8] = 100
    assert coarse(image)[:6] == "646464" and len(coarse(image)) == 96
    assert drifted(coarse(image), coarse(image + 2))
    assert not drifted(coarse(image), coarse(image + 3))
    assert not drifted(None, coarse(image))
