"""What can go wrong goes wrong in one line with what, got, expected and fix; exit code 2; finished work stays valid."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.files import write_png
from bench.store.paths import RunStore

RUN = ("run", "--method", "toy_codes")


def prepared(project, image_id="head_3"):
    return project / "datasets/prepared/toy/images" / f"{image_id}.png"


def run_of(project, method="toy_codes"):
    return RunStore(project, "toy").run("toy", method, "toy")


def files_of(run):
    return {str(p.relative_to(run.folder)): p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}


def spoil(path, how):
    """Damage a prepared picture in one of the ways disks and people do."""
    array = np.zeros((32, 32, 3), np.uint8)
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    elif how == "wrong size":
        write_png(path, array[:16, :16])
    elif how == "wrong mode":
        Image.fromarray(array).convert("L").save(path)
    elif how == "other pixels":
        write_png(path, array)


@pytest.mark.parametrize(
    "how, words",
    [
        ("missing", "head_3.png is missing. Fix: run `bench prepare`"),
        ("truncated", "head_3.png cannot be read; got"),
        ("wrong size", "head_3.png has the wrong size; got 16x16; expected 32x32"),
        ("wrong mode", "head_3.png has the wrong mode; got L; expected RGB"),
        ("other pixels", "head_3.png was changed after preparation; got pixels"),
    ],
)
def test_damaged_picture_then_mended(project, cli, one_line_error, how, words):
    """The run stops with the file's name, keeps its finished shards, and completes once the picture is restored."""
    spoil(prepared(project), how)
    line = one_line_error(*RUN)
    assert words in line and "Fix:" in line
    run = run_of(project)
    assert run.state() == "partial" and run.shard(0).is_dir() and not run.shard(1).exists()
    kept = {p: p.stat().st_mtime_ns for p in run.shard(0).rglob("*")}
    assert cli("prepare", "--dataset", "toy").code == 0
    assert run.state() == "partial" and {p: p.stat().st_mtime_ns for p in kept} == kept
    assert cli(*RUN).code == 0
    resumed = files_of(run)
    assert cli(*RUN, "--fresh").code == 0 and files_of(run) == resumed


def test_duplicate_ids(project, one_line_error):
    path = project / "datasets/toy.yaml"
    path.write_text(path.read_text().replace('id: "head_5"', 'id: "head_4"'))
    line = one_line_error(*RUN)
    assert "toy.yaml lists images twice; got head_4; expected every id once. Fix:" in line


@pytest.mark.parametrize(
    "old, new, words",
    [
        ('sha256: "', 'sha256: "zz', "malformed hashes; got head_0"),
        ('pixels: "', 'pixels: "0123456789abcdef', "malformed hashes; got head_0"),
        ("count: 8", "count: 9", "lists the wrong number of images; got 8; expected count 9"),
        ("licence: unknown", "", "licence: field required"),
        ("kind: folder", "kind: [", "is not YAML"),
    ],
)
def test_broken_manifest(project, one_line_error, old, new, words):
    path = project / "datasets/toy.yaml"
    path.write_text(path.read_text().replace(old, new, 1))
    assert words in one_line_error(*RUN)


def test_edited_manifest_needs_a_new_preparation(project, one_line_error):
    """Another hash, well-formed: the prepared pictures are no longer those of the manifest."""
    path = project / "datasets/toy.yaml"
    text = path.read_text()
    at = text.index('pixels: "') + len('pixels: "')
    path.write_text(text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :])
    assert "prepared from another state of its manifest" in one_line_error(*RUN)
    assert "decode to other pixels than in the manifest; got head_0" in one_line_error("prepare", "--dataset", "toy")


def test_damaged_list_of_images(project, cli, one_line_error):
    """Of the sidecar of a long manifest: named with the command that writes it anew, and that does."""
    path, sidecar = project / "datasets/toy.yaml", project / "datasets/toy.csv"
    good = path.read_text()
    path.write_text(good.split("images:")[0] + "images_file: toy.csv\n")
    sidecar.write_bytes(b"id,sha256\n\xff\xfe\n")
    line = one_line_error(*RUN)
    assert "toy.csv cannot be read" in line and "`bench prepare --dataset toy --update`" in line
    assert cli("prepare", "--dataset", "toy", "--update").code == 0 and cli(*RUN).code == 0


def test_folder_with_every_kind_of_unusable_picture(project, one_line_error, tmp_path, monkeypatch):
    """One line names them all, and nothing is prepared."""
    folder = tmp_path / "mine"
    folder.mkdir()
    array = np.zeros((32, 32, 3), np.uint8)
    write_png(folder / "good.png", array)
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:60])
    write_png(folder / "wide.png", array[:16])
    write_png(folder / "grey.png", array[..., 0])
    write_png(folder / "huge.png", np.zeros((64, 64, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # Pillow refuses twice as many
    line = one_line_error("prepare", "--dataset", "my", "--images", folder)
    for words in ("cut.png cannot be read", "wide.png is 32x16", "grey.png has mode L", "huge.png cannot be read"):
        assert words in line
    assert not (project / "datasets/my.yaml").exists()
    write_png(folder / "huge.jpg", array)
    assert "would share an id; got huge.jpg, huge.png" in one_line_error(
        "prepare", "--dataset", "my", "--images", folder
    )


def test_unknown_method(one_line_error):
    line = one_line_error("run", "--method", "toy_code")
    assert "unknown method 'toy_code'; expected one of:" in line and "did you mean 'toy_codes'" in line


def test_broken_method_file(project, one_line_error):
    (project / "methods/torn.py").write_text("import no_such_package\nclass Method: pass\n")
    line = one_line_error("run", "--method", "torn")
    assert "method 'torn' cannot be imported; got ModuleNotFoundError" in line and "torn.py" in line


@pytest.mark.parametrize("how", ["changed", "truncated", "missing"])
def test_wrong_weights(project, cli, one_line_error, how):
    """A weight file that is not the one of the manifest is never used; earlier runs stay as they are."""
    cli("run", "--method", "toy_copy")
    before = files_of(run_of(project, "toy_copy"))
    path = project / "weights/toy.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(bytes(data) if how == "changed" else bytes(data[:100]))
    line = one_line_error(*RUN)
    words = {
        "changed": "is not the file the manifest names; got sha256",
        "truncated": "has the wrong size; got 100 bytes",
        "missing": "cannot read",
    }
    assert words[how] in line and "toy_generator" in line and "Fix:" in line
    assert files_of(run_of(project, "toy_copy")) == before


@pytest.mark.parametrize("value", ["0", "-5"])
def test_limit_that_selects_nothing(project, one_line_error, value):
    line = one_line_error(*RUN, "--limit", value)
    assert f"--limit must be 1 or more; got {value}" in line and not (project / "results").exists()


def test_limit_of_a_profile(project, one_line_error):
    path = project / "profiles/toy.yaml"
    path.write_text(path.read_text() + "limits: {toy_codes: 0}\n")
    assert "limit of toy_codes is 0, expected 1 or more" in one_line_error(*RUN)


def test_device_that_is_not_there(one_line_error):
    import torch

    absent = "mps" if torch.cuda.is_available() else "cuda"
    line = one_line_error(*RUN, "--device", absent)
    assert f"device '{absent}' is not available; got cpu" in line and "--device auto" in line


def test_results_cannot_be_made(project, one_line_error):
    """A file where the folder should be: what also a user without permission meets, and root as well."""
    (project / "results").write_text("not a folder")
    line = one_line_error(*RUN)
    assert "cannot write" in line and "results" in line and "Fix:" in line


@contextmanager
def not_root():
    """The file rights of an ordinary user, also where tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("existing", [True, False])
def test_no_permission(project, cli, one_line_error, monkeypatch, existing):
    """A results folder, or a project, that the user may read but not write."""
    assert cli("run", "--method", "toy_copy", "--dry-run").code == 0  # imports what root alone may be able to read
    with tempfile.TemporaryDirectory() as open_to_all:
        root = Path(open_to_all) / "project"
        shutil.copytree(project, root)
        if existing:
            (root / "results").mkdir()
        for folder in (Path(open_to_all), root, *(p for p in root.rglob("*") if p.is_dir())):
            folder.chmod(0o555)
        monkeypatch.chdir("/")
        try:
            with not_root():
                line = one_line_error(*RUN, "--root", root)
        finally:
            for folder in (Path(open_to_all), root, *(p for p in root.rglob("*") if p.is_dir())):
                folder.chmod(0o755)
    assert "cannot write" in line and "Permission denied" in line and "make the folder writable" in line


def test_file_that_may_not_be_read(project, cli, one_line_error, monkeypatch):
    """A failed read is not called a failed write."""
    assert cli("run", "--method", "toy_copy", "--dry-run").code == 0  # imports what root alone may be able to read
    with tempfile.TemporaryDirectory() as open_to_all:
        root = Path(open_to_all) / "project"
        shutil.copytree(project, root)
        Path(open_to_all).chmod(0o755)
        (root / "datasets/toy.yaml").chmod(0o000)
        monkeypatch.chdir("/")
        with not_root():
            line = one_line_error(*RUN, "--root", root)
    assert "cannot access" in line and "toy.yaml; got Permission denied" in line and "write " not in line


def test_foreign_files_in_the_way(project, one_line_error, cli):
    run = run_of(project)
    run.folder.mkdir(parents=True)
    (run.folder / "notes.txt").write_text("mine")
    assert "holds files that are no run; got notes.txt" in one_line_error(*RUN)
    assert (run.folder / "notes.txt").read_text() == "mine"
    assert cli(*RUN, "--overwrite").code == 0


def test_scoring_a_half_written_run(project, cli, one_line_error):
    spoil(prepared(project), "missing")
    cli(*RUN)
    line = one_line_error("score", "--method", "toy_codes")
    assert "has no complete results" in line and "state 'partial'" in line and "it resumes" in line


def test_aggregating_nothing(one_line_error):
    assert "there are no scores" in one_line_error("aggregate")


def test_score_file_that_is_no_table(project, cli, one_line_error):
    cli(*RUN)
    cli("score")
    (project / "results/scores/toy/toy_codes.parquet").write_text("junk")
    assert "toy_codes.parquet cannot be read" in one_line_error("score")
