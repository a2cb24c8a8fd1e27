"""Folders of pictures become datasets; every file that breaks a rule is named; nothing is dropped or guessed."""

import shutil

import numpy as np
import pytest
from PIL import Image

from bench.config.project import load_config
from bench.contract.toy import toy_images
from bench.data.dataset import PreparedDataset
from bench.data.import_folder import FolderRequest
from bench.data.import_image import load_square
from bench.data.manifest import load_manifest
from bench.data.prepare import prepare
from bench.engine import SERIAL
from bench.errors import BenchError, DataError, UnknownName


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "mine"
    path.mkdir()
    for n, picture in enumerate(toy_images(48, 3)):
        Image.fromarray(picture).save(path / f"p{n}.png")
    return path


def make(project, folder=None, update=False, name="my", **asked):
    return prepare(load_config(project), name, FolderRequest(images=folder, **asked), update, execution=SERIAL)


def test_folder_becomes_a_dataset(project, folder):
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "sub").mkdir()
    made = make(project, folder)
    assert made.ignored == [".hidden.png", "notes.txt"] and made.done["count"] == 3
    manifest = load_manifest(project, "my")
    assert manifest.ids == ["p0", "p1", "p2"] and manifest.resolution == 32 and manifest.domain == "toy"
    entry = manifest.images[0]
    assert entry.file == "p0.png" and entry.bytes == (folder / "p0.png").stat().st_size and entry.width == 32
    assert PreparedDataset.open(project, "my").tensor(manifest.ids).shape == (3, 3, 32, 32)


def test_right_sized_pictures_are_copied_exactly(project, tmp_path):
    folder = tmp_path / "exact"
    folder.mkdir()
    Image.fromarray(toy_images(32, 1)[0]).save(folder / "a.png")
    make(project, folder)
    assert (PreparedDataset.open(project, "my").read("a") == toy_images(32, 1)[0]).all()


def test_second_run_only_verifies(project, folder):
    make(project, folder)
    before = {p: p.stat().st_mtime_ns for p in (project / "datasets").rglob("*")}
    make(project)
    make(project, folder)
    assert {p: p.stat().st_mtime_ns for p in (project / "datasets").rglob("*")} == before


def test_damaged_prepared_picture_is_restored(project, folder):
    make(project, folder)
    dataset = PreparedDataset.open(project, "my")
    dataset.paths.image("p1").write_bytes(b"junk")
    with pytest.raises(DataError, match="p1.png cannot be read"):
        dataset.read("p1")
    make(project)
    assert dataset.read("p1").shape == (32, 32, 3)


def test_source_may_be_gone_once_prepared(project, folder):
    make(project, folder)
    shutil.rmtree(folder)
    assert make(project).done["count"] == 3
    PreparedDataset.open(project, "my").paths.image("p1").unlink()
    with pytest.raises(DataError, match="there is no folder"):
        make(project)


def test_changes_of_the_folder_are_named(project, folder):
    make(project, folder)
    shutil.copy(folder / "p0.png", folder / "p9.png")
    (folder / "p2.png").unlink()
    with pytest.raises(DataError, match="missing p2; new p9.*--update"):
        make(project)
    make(project, update=True)
    assert load_manifest(project, "my").ids == ["p0", "p1", "p9"]
    assert sorted(p.stem for p in PreparedDataset.open(project, "my").paths.images.iterdir()) == ["p0", "p1", "p9"]


BROKEN_LISTS = {
    "wrong count": ("count: 3", "count: 4"),
    "malformed hash": ('sha256: "', 'sha256: "zz'),
    "malformed pixels": ('pixels: "', 'pixels: "zz'),
    "duplicate id": ('id: "p1"', 'id: "p0"'),
    "unknown key": ('id: "p1"', 'colour: "p1"'),
    "no list": ("images:", "images: []\n#"),
}


@pytest.mark.parametrize("old, new", BROKEN_LISTS.values(), ids=BROKEN_LISTS)
def test_update_mends_what_its_error_message_says(cli, one_line_error, project, folder, old, new):
    make(project, folder)
    path = project / "datasets" / "my.yaml"
    good = path.read_text()
    text = good.replace(old, new, 1)
    path.write_text(text.split("- {")[0] if new.startswith("images: []") else text)
    one_line_error("prepare", "--dataset", "my")
    answer = cli("prepare", "--dataset", "my", "--update")
    assert answer.code == 0, answer.err
    assert path.read_text() == good and cli("prepare", "--dataset", "my").code == 0


def test_engine_is_the_profiles_unless_asked(cli, project, folder, monkeypatch):
    """The toy profile says serial."""
    import bench.data.import_folder

    real, seen = bench.data.import_folder.map_shards, []
    monkeypatch.setattr(bench.data.import_folder, "SHARD", 1)  # three shards: enough for processes to be started

    def serial(work, shards, execution):
        seen.append(execution.engine)
        return real(work, shards, SERIAL)

    monkeypatch.setattr(bench.data.import_folder, "map_shards", serial)
    cli("prepare", "--dataset", "my", "--images", folder)
    cli("prepare", "--dataset", "my", "--update", "--engine", "processes")
    assert seen == ["serial", "processes"]


def test_bomb_is_named(project, folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="p0.png cannot be read .Image size .2304 pixels. exceeds limit"):
        make(project, folder)


def test_problems_are_csv_whatever_a_file_is_called(project, folder):
    import csv

    (folder / 'a "b", c.png').write_bytes(b"")
    with pytest.raises(DataError):
        make(project, folder)
    with open(project / "datasets/prepared/my/problems.csv", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["file", "problem"] and rows[1][0] == 'a "b", c.png' and len(rows[1]) == 2


def test_changed_file_is_named(project, folder):
    make(project, folder)
    Image.fromarray(toy_images(48, 1, seed=5)[0]).save(folder / "p1.png")
    with pytest.raises(DataError, match="1 pictures of dataset 'my' differ from the manifest; got p1"):
        make(project)
    with pytest.raises(DataError, match="is not prepared"):  # half-verified data is not offered
        PreparedDataset.open(project, "my")


def test_other_settings_need_update(project, folder):
    make(project, folder)
    with pytest.raises(BenchError, match="resolution 64 instead of 32"):
        make(project, folder, resolution=64)
    make(project, folder, resolution=64, update=True)
    assert load_manifest(project, "my").resolution == 64


def test_all_bad_files_are_named_in_one_error(project, folder):
    array = toy_images(48, 1)[0]
    Image.fromarray(array[:, :20]).save(folder / "wide.png")
    Image.fromarray(array).convert("L").save(folder / "grey.png")
    Image.fromarray(array).convert("RGBA").save(folder / "alpha.png")
    Image.fromarray(np.zeros((48, 48), np.uint16)).save(folder / "deep.png")
    (folder / "cut.png").write_bytes((folder / "p0.png").read_bytes()[:300])
    (folder / "text.jpg").write_text("no picture")
    with pytest.raises(DataError) as caught:
        make(project, folder)
    text = str(caught.value)
    assert text.startswith("6 pictures of dataset 'my' cannot be used")
    for words in (
        "wide.png is 20x48",
        "grey.png has mode L",
        "alpha.png has mode RGBA",
        "deep.png has mode I;16",
        "cut.png cannot be read",
        "text.jpg cannot be read",
    ):
        assert words in text
    with pytest.raises(UnknownName):
        load_manifest(project, "my")


def test_many_bad_files_are_counted_and_listed(project, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    for n in range(13):
        (folder / f"b{n:02d}.png").write_bytes(b"")
    with pytest.raises(DataError, match="13 pictures.*and 3 more.*problems.csv"):
        make(project, folder)
    listed = (project / "datasets" / "prepared" / "my" / "problems.csv").read_text()
    assert listed.count("\n") == 14 and "b12.png" in listed


def test_duplicate_stems(project, folder):
    Image.fromarray(toy_images(48, 1)[0]).save(folder / "p1.jpg")
    with pytest.raises(DataError, match="share an id; got p1.jpg, p1.png"):
        make(project, folder)


@pytest.mark.parametrize("empty", [True, False])
def test_no_pictures(project, tmp_path, empty):
    folder = tmp_path / "none"
    if empty:
        folder.mkdir()
    with pytest.raises(DataError, match="holds no pictures" if empty else "there is no folder"):
        make(project, folder)


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"align": "ffhq"}, "unknown alignment 'ffhq'"),
        ({"crop": "top"}, "unknown crop 'top'"),
        ({"resolution": 100}, "power of two"),
        ({"resolution": 0}, "power of two"),
    ],
)
def test_settings_that_cannot_be(project, folder, asked, words):
    with pytest.raises(BenchError, match=words):
        make(project, folder, **asked)


def test_names_that_cannot_be(project, folder):
    with pytest.raises(BenchError, match="cannot be the id of a dataset"):
        make(project, folder, name="My Heads")
    with pytest.raises(UnknownName, match="did you mean 'toy'"):
        make(project, name="toi")


def test_conversion_on_request(project, folder):
    array = toy_images(48, 1)[0]
    clear = np.dstack([array, np.zeros(array.shape[:2], np.uint8)])
    Image.fromarray(clear).save(folder / "clear.png")
    Image.fromarray(array).convert("L").save(folder / "grey.png")
    Image.fromarray(array).convert("P").save(folder / "palette.png")
    Image.fromarray(array).convert("CMYK").save(folder / "print.jpg")
    Image.fromarray(array[8:40]).save(folder / "wide.png")
    make(project, folder, convert=True, crop="center")
    dataset = PreparedDataset.open(project, "my")
    assert (dataset.read("clear") == 255).all()  # transparent becomes white
    grey = dataset.read("grey")
    assert (grey[..., 0] == grey[..., 1]).all()
    assert dataset.read("wide").shape == dataset.read("palette").shape == dataset.read("print").shape == (32, 32, 3)


def encoded(array, **options):
    import io

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", **options)
    return buffer.getvalue()


def test_center_crop_takes_the_middle():
    array = np.zeros((4, 8, 3), np.uint8)
    array[:, 2:6] = 200
    assert (load_square(None, encoded(array), 4, "center", False) == 200).all()


def test_exif_orientation_is_applied():
    array = np.zeros((4, 4, 3), np.uint8)
    array[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = load_square(None, encoded(array, exif=exif), 4, "none", False)
    assert (turned[3] == 255).all() and (turned[0] == 0).all()


def test_resize_keeps_constants():
    array = np.full((48, 48, 3), 77, np.uint8)
    assert (load_square(None, encoded(array), 16, "none", False) == 77).all()
    assert (load_square(None, encoded(array), 64, "none", False) == 77).all()


def test_rendered_datasets_take_no_folder_settings(project, folder):
    (project / "datasets" / "drawn.yaml").write_text(
        "id: drawn\ndomain: toy\nkind: rendered\nresolution: 128\nlicence: CC0\ncount: 2\n"
        "render: {renderer_version: '1', split: test, seed: 0}\n"
    )
    with pytest.raises(BenchError, match="is of kind 'rendered'"):
        make(project, folder, name="drawn")
    with pytest.raises(BenchError, match="takes no folder settings"):
        make(project, name="drawn", resolution=64, update=True)
