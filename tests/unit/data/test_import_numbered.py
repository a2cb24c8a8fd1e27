"""Datasets known by number: files found by number alone; all there, of one size, different, and always the same."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from bench.config.project import load_config
from bench.contract.toy import toy_images
from bench.data.dataset import PreparedDataset
from bench.data.import_folder import FolderRequest
from bench.data.import_numbered import numbered_files
from bench.data.manifest import load_manifest
from bench.data.prepare import prepare
from bench.engine import SERIAL
from bench.errors import BenchError, DataError

ROOT = Path(__file__).parents[3]
SIDE, COUNT = 32, 12
PICTURES = toy_images(SIDE, COUNT + 3)
DATASET = {
    "id": "stars", "domain": "toy", "kind": "folder", "resolution": SIDE, "licence": "ask them", "hash": "file",
    "count": COUNT, "folder": {"numbers": {"first": 0, "last": COUNT - 1, "prefixes": ["imgHQ"]}},
    "images_file": "stars.csv",
}  # fmt: skip


@pytest.fixture()
def stars(project):
    (project / "datasets" / "stars.yaml").write_text("# by hand\n" + yaml.safe_dump(DATASET))
    return project


def copy_of(folder, name="{}.png", count=COUNT):
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        Image.fromarray(PICTURES[n]).save(folder / name.format(n))
    return folder


def bring(root, folder=None, update=False):
    return prepare(load_config(root), "stars", FolderRequest(images=folder), update, execution=SERIAL)


def prepared(root):
    dataset = PreparedDataset.open(root, "stars")
    return dataset.manifest.ids, dataset.stack(dataset.manifest.ids)


@pytest.mark.parametrize("name", ["{}.png", "{:05d}.png", "{:08d}.png", "imgHQ{:05d}.png", "{}.PNG"])
def test_a_number_finds_its_picture_however_it_is_written(stars, tmp_path, name):
    """Also number 10, which a listing has before 2."""
    bring(stars, copy_of(tmp_path / "copy", name))
    ids, pictures = prepared(stars)
    assert ids == [f"{n:05d}" for n in range(COUNT)]
    assert np.array_equal(pictures, PICTURES[:COUNT])


def test_jpeg_is_decoded_once_and_its_file_hashed(stars, tmp_path):
    folder = copy_of(tmp_path / "copy", "{}.jpg")
    bring(stars, folder)
    with Image.open(folder / "10.jpg") as picture:
        assert np.array_equal(prepared(stars)[1][10], np.asarray(picture))
    with open(stars / "datasets" / "stars.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [r["id"] for r in rows] == [f"{n:05d}" for n in range(COUNT)] and list(rows[0]) == ["id", "sha256", "pixels"]
    import hashlib

    assert rows[10]["sha256"] == hashlib.sha256((folder / "10.jpg").read_bytes()).hexdigest()


def test_the_record_is_beside_the_manifest_which_stays_as_written(stars, tmp_path):
    before = (stars / "datasets" / "stars.yaml").read_text()
    first = bring(stars, copy_of(tmp_path / "copy"))
    assert any("trusted as first seen" in note for note in first.notes)
    assert (stars / "datasets" / "stars.yaml").read_text() == before
    second = bring(stars, tmp_path / "copy")
    assert second.done == first.done and not second.notes


def test_the_same_pictures_from_another_place_and_by_other_names_are_the_same_data(stars, tmp_path):
    first = bring(stars, copy_of(tmp_path / "copy")).done
    (tmp_path / "other").mkdir()
    for n in range(COUNT):
        shutil.copy(tmp_path / "copy" / f"{n}.png", tmp_path / "other" / f"imgHQ{n:05d}.png")
    shutil.rmtree(stars / "datasets" / "prepared" / "stars")
    assert bring(stars, tmp_path / "other").done == first


def test_without_a_folder_the_last_one_is_meant_and_none_is_needed_while_all_is_there(stars, tmp_path):
    with pytest.raises(DataError, match=r"needs its pictures.*12 files of 32 px; ask them.*--images DIR"):
        bring(stars)
    done = bring(stars, copy_of(tmp_path / "copy")).done
    (stars / "datasets" / "prepared" / "stars" / "images" / "00003.png").unlink()
    assert bring(stars).done == done
    shutil.rmtree(tmp_path / "copy")
    assert bring(stars).done == done
    (stars / "datasets" / "prepared" / "stars" / "images" / "00003.png").unlink()
    with pytest.raises(DataError, match="there is no folder .*copy"):
        bring(stars)


def test_a_record_from_elsewhere_binds(stars, tmp_path):
    """A clone has the csv and no pictures yet."""
    bring(stars, copy_of(tmp_path / "copy"))
    shutil.rmtree(stars / "datasets" / "prepared" / "stars")
    other = copy_of(tmp_path / "other", "{}.jpg")
    with pytest.raises(DataError, match=r"12 pictures .* not those recorded .*other bytes: 00000.*--update"):
        bring(stars, other)
    assert not (stars / "datasets" / "prepared" / "stars" / "prepared.json").exists()
    bring(stars, other, update=True)
    assert bring(stars, other).done


def swap(folder):
    for old, new in (("2", "x"), ("10", "2"), ("x", "10")):
        (folder / f"{old}.png").rename(folder / f"{new}.png")


def shrink(folder):
    Image.fromarray(PICTURES[4][::2, ::2]).save(folder / "4.png")


def grow(folder):
    Image.fromarray(np.repeat(PICTURES[4], 2, 0)).save(folder / "4.png")


MISTAKES = {  # what is done to the user's folder, what is said
    "one is missing": (lambda f: (f / "7.png").unlink(), "1 of the 12 pictures .* missing.*no file for 7; "),
    "many are missing": (lambda f: [(f / f"{n}.png").unlink() for n in (2, 10)], "no file for 2, 10; "),
    "of another size": (shrink, r"4\.png is 16x16, expected 32x32"),
    "not square": (grow, r"4\.png is 32x64, expected 32x32"),
    "twice under two numbers": (lambda f: shutil.copy(f / "3.png", f / "10.png"), "same picture.*00003 = 00010"),
    "two files of one number": (lambda f: shutil.copy(f / "3.png", f / "00003.jpg"), "two pictures for one number"),
    "truncated": (lambda f: (f / "5.png").write_bytes((f / "5.png").read_bytes()[:200]), r"5\.png cannot be read"),
    "grey": (lambda f: Image.fromarray(PICTURES[5][..., 0]).save(f / "5.png"), r"5\.png has mode L"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_what_is_refused_at_first_use(stars, tmp_path, case):
    spoil, message = MISTAKES[case]
    folder = copy_of(tmp_path / "copy")
    spoil(folder)
    with pytest.raises(DataError, match=message):
        bring(stars, folder)
    assert not (stars / "datasets" / "stars.csv").exists(), "recorded in spite of the error"
    with pytest.raises(DataError):
        PreparedDataset.open(stars, "stars")


def test_pictures_under_each_others_numbers_are_told_apart(stars, tmp_path):
    folder = copy_of(tmp_path / "copy")
    bring(stars, folder)
    swap(folder)
    with pytest.raises(DataError, match="00002 is the recorded 00010, 00010 is the recorded 00002"):
        bring(stars, folder)
    ids, pictures = prepared(stars)
    assert np.array_equal(pictures, PICTURES[:COUNT]), "what was prepared before is kept"


def test_further_pictures_and_other_files_are_said(stars, tmp_path):
    folder = copy_of(tmp_path / "copy", count=COUNT + 3)
    (folder / "readme.txt").write_text("hello")
    (folder / "10_hair.png").write_bytes((folder / "10.png").read_bytes())
    found, ignored, beyond = numbered_files(folder, ["imgHQ"], range(COUNT))
    assert list(found) == list(range(COUNT)) and ignored == ["10_hair.png", "readme.txt"] and beyond == 3
    done = bring(stars, folder)
    assert done.ignored == ignored and "3 pictures with other numbers than 0 to 11" in done.notes[0]


TABLE = "hq_to_all.txt"
FILES = [501, 17, 498, 505, 3, 510, 500, 90, 499, 511, 12, 700]  # of the numbers 0 to 11 in the other collection
PART = [0, 3, 5, 6, 9]  # whose files are 500 to 511, its borders included


def table(changed=None, head="idx orig_idx orig_file\n"):
    """The table of these files; ``changed``: {number: another line}."""
    lines = {n: f"{n:<11}{file - 1:<11}{file:06d}.jpg" for n, file in enumerate(FILES)}
    return head + "\n".join({**lines, **(changed or {})}.values()) + "\n"


@pytest.fixture()
def part(project):
    """A dataset of the numbers that lie in a part of another collection."""
    numbers = {"last": COUNT - 1, "mapped": {"table": TABLE, "first": 500, "last": 511}}
    made = {**DATASET, "count": len(PART), "folder": {"numbers": numbers}}
    (project / "datasets" / "stars.yaml").write_text(yaml.safe_dump(made))
    return project


@pytest.mark.parametrize("place", [".", ".."])
@pytest.mark.parametrize("head", ["", "idx orig_idx orig_file\n"])
def test_a_table_says_which_numbers_are_meant(part, tmp_path, place, head):
    """In the folder or beside it; once recorded, the pictures are known without it, and no others are needed."""
    folder = copy_of(tmp_path / "all" / "copy")
    (folder / place / TABLE).write_text(table(head=head))
    notes = bring(part, folder).notes
    assert f"7 pictures with other numbers than those named by {TABLE} were left out" in notes
    ids, pictures = prepared(part)
    assert ids == [f"{n:05d}" for n in PART] and np.array_equal(pictures, PICTURES[PART])
    (folder / place / TABLE).unlink()
    (folder / "1.png").unlink()
    shutil.rmtree(part / "datasets" / "prepared" / "stars")
    assert bring(part, folder).done["count"] == 5


TABLES = {  # what is wrong with the table, what is said
    "not there": (None, "hq_to_all.txt, which is not there.*beside their folder"),
    "one picture less in the part": (table({5: "5 3 000004.jpg"}), "4 of 12 lie between 500 and 511; expected 5"),
    "index and file disagree": (table({3: "3 505 000505.jpg"}), "line 5 of .* is no entry.*got 3 505 000505.jpg"),
    "a number twice": (table({7: "5 89 000090.jpg"}), "a number twice; got 5 89"),
    "another file": ("000001.jpg 0\n000002.jpg 1\n", "line 2 of .* is no entry"),
    "no text": (b"\xff\xfe\x00", "cannot be read"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_says_something_else_is_refused(part, tmp_path, case):
    text, message = TABLES[case]
    folder = copy_of(tmp_path / "copy")
    if text is not None:
        (folder / TABLE).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        bring(part, folder)
    assert not (part / "datasets" / "stars.csv").exists()


def test_a_picture_of_the_part_is_missing(part, tmp_path):
    folder = copy_of(tmp_path / "copy", count=9)
    (folder / TABLE).write_text(table())
    with pytest.raises(DataError, match=r"1 of the 5 pictures .*no file for 9; .*those named by hq_to_all.txt"):
        bring(part, folder)


def test_settings_belong_to_the_manifest(stars, tmp_path):
    asked = FolderRequest(images=copy_of(tmp_path / "copy"), crop="center")
    with pytest.raises(BenchError, match="fixed by its manifest"):
        prepare(load_config(stars), "stars", asked, execution=SERIAL)


def test_through_the_command_line_to_a_score(stars, tmp_path, cli):
    folder = copy_of(tmp_path / "copy", "{}.jpg")
    answer = cli("prepare", "--dataset", "stars", "--images", folder, "--engine", "serial")
    assert answer.code == 0 and "trusted as first seen" in answer.err, answer.err
    assert cli("run", "--method", "toy_copy", "--dataset", "stars", "--limit", "11").code == 0
    run = json.loads((stars / "results/runs/local/toy_copy/stars/run.json").read_text())
    assert run["ids"] == [f"{n:05d}" for n in range(11)]
    assert cli("score", "--scope", "local", "--method", "toy_copy", "--dataset", "stars").code == 0
    import pandas as pd

    rows = pd.read_parquet(stars / "results/scores/local/toy_copy.parquet")
    assert (rows[rows.metric == "mae"].value == 0).all(), "a picture was compared with another's inversion"


def test_the_papers_pictures_are_the_first_by_number():
    manifest = load_manifest(ROOT, "celebahq_1500", allow_empty=True)
    numbers = manifest.numbers
    assert (numbers.first, numbers.last, manifest.count, manifest.resolution) == (0, 1499, 1500, 1024)
    assert manifest.domain == "faces" and numbers.last - numbers.first + 1 == manifest.count


def test_the_test_part_is_celebas_own():
    """182,638 to 202,599 of CelebA, both included: its partition list gives them the label 2."""
    manifest = load_manifest(ROOT, "celebahq_2824", allow_empty=True)
    mapped = manifest.numbers.mapped
    assert (mapped.first, mapped.last, manifest.count, manifest.resolution) == (182638, 202599, 2824, 1024)
    assert mapped.table == "CelebA-HQ-to-CelebA-mapping.txt" and manifest.domain == "faces"
    presets = [p for p in (ROOT / "bench/analysis/protocols").glob("*.yaml") if "celebahq_2824" in p.read_text()]
    assert {p.stem for p in presets} >= {"core_2824"}, "a preset names the dataset"
