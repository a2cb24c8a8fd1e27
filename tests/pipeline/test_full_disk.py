"""A disk that fills up at any byte or refuses any rename: one line, exit code 2, nothing half written under a final
name, and the same command completes once there is room."""

import builtins
import errno
import os
import shutil

import pytest

from bench.store.paths import RunStore

RUN = ("run", "--method", "toy_codes")


class File:
    """A file that takes what the disk has room for, as the system does: part of the bytes, then ENOSPC."""

    def __init__(self, real, disk):
        self.real, self.disk = real, disk

    def write(self, data):
        size = len(data.encode() if isinstance(data, str) else memoryview(data).cast("B"))
        if self.disk.used + size > self.disk.room:
            self.real.write(data[: self.disk.room - self.disk.used])
            self.disk.used = self.disk.room
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.real.name)
        self.disk.used += size
        return self.real.write(data)

    def __getattr__(self, name):
        return getattr(self.real, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.real.close()


class Disk:
    """Room for so many bytes more below a folder, whoever writes them in this process."""

    def __init__(self, monkeypatch, folder, room=float("inf")):
        self.folder, self.room, self.used, self.real = str(folder), room, 0, builtins.open
        monkeypatch.setattr(builtins, "open", self.open)

    def open(self, path, mode="r", *args, **more):
        stream = self.real(path, mode, *args, **more)
        mine = isinstance(path, (str, os.PathLike)) and os.path.abspath(path).startswith(self.folder)
        return File(stream, self) if mine and set(mode) & set("wax+") else stream


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def half_written(folder):
    return [p for p in folder.rglob("*.tmp") if p.is_file()]


@pytest.fixture
def fails_everywhere(project, cli, one_line_error, monkeypatch):
    """``check(words, before, after)``: let the command meet a full disk at several places.

    ``before()`` brings the project to its start each time; ``after()`` checks what must hold although it failed.
    """

    def check(words, before, after):
        before()
        with monkeypatch.context() as patch:
            disk = Disk(patch, project)
            assert cli(*words).code == 0
        written = disk.used
        assert written > 0
        nearly = max(written - 50, 1)  # records hold seconds, so that a run writes some bytes more or less than another
        for room in sorted({0, 1, written // 3, 2 * written // 3, nearly}):
            before()
            with monkeypatch.context() as patch:
                Disk(patch, project, room)
                line = one_line_error(*words)
            assert "cannot write" in line and "No space left on device" in line and "free some disk space" in line
            assert not half_written(project), room
            after()

    return check


def test_run(project, cli, fails_everywhere):
    """Earlier runs stay as they are; this one resumes to the files of a quiet run."""
    cli("run", "--method", "toy_copy")
    cli(*RUN)
    store = RunStore(project, "toy")
    run, other = store.run("toy", "toy_codes", "toy"), store.run("toy", "toy_copy", "toy")
    quiet, untouched = files_of(run.folder), files_of(other.folder)
    record = store.record_path("toy", "toy_codes-toy")

    def before():
        run.discard()
        record.unlink(missing_ok=True)

    def after():
        assert run.state() in ("absent", "partial") or files_of(run.folder) == quiet  # complete but for its record
        assert files_of(other.folder) == untouched
        assert cli(*RUN, "--overwrite").code == 0 and files_of(run.folder) == quiet

    fails_everywhere(RUN, before, after)


def test_score(project, cli, fails_everywhere):
    """Every file is the old or the new one, all can be aggregated, the next attempt ends as a quiet one."""
    words = ("score", "--metric", "mse")
    cli(*RUN)
    cli("score")
    scores = project / "results/scores"
    old = files_of(scores)
    assert cli(*words).code == 0
    new = files_of(scores)
    assert new != old

    def after():
        assert all(data in (old.get(name), new.get(name)) for name, data in files_of(scores).items())
        assert cli("aggregate").code == 0
        assert cli(*words).code == 0 and files_of(scores) == new

    fails_everywhere(words, lambda: restore(scores, old), after)


def restore(folder, files):
    shutil.rmtree(folder)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_prepare(project, cli, fails_everywhere):
    """Other datasets stay usable; the half-made one is not offered, and is whole after the next attempt."""
    words = ("prepare", "--dataset", "my", "--images", "pictures")
    assert cli(*words).code == 0
    prepared, manifest = project / "datasets/prepared/my", project / "datasets/my.yaml"
    quiet, text = files_of(prepared), manifest.read_text()

    def before():
        shutil.rmtree(prepared)
        manifest.unlink()

    def after():
        answer = cli(*RUN, "--dataset", "my", "--limit", "1")
        assert answer.code == 2 and ("unknown dataset 'my'" in answer.err or "is not prepared" in answer.err)
        assert cli("prepare", "--dataset", "toy").code == 0
        assert cli(*words).code == 0 and files_of(prepared) == quiet and manifest.read_text() == text

    fails_everywhere(words, before, after)


class Renames:
    """Lets so many renames through, then behaves like a full or forbidden disk."""

    def __init__(self, monkeypatch, code, allowed):
        self.code, self.left, self.real = code, allowed, os.replace
        monkeypatch.setattr(os, "replace", self)

    def __call__(self, source, target):
        if self.left <= 0:
            raise OSError(self.code, os.strerror(self.code), str(target))
        self.left -= 1
        return self.real(source, target)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("allowed", [0, 1, 4, 9, 14])
def test_disk_fails_at_any_moment(project, cli, one_line_error, monkeypatch, code, allowed):
    """Wherever writing stops, it is one line, and the same command later gives the same files as a quiet run."""
    run = RunStore(project, "toy").run("toy", "toy_codes", "toy")
    cli(*RUN)
    quiet = files_of(run.folder)
    shutil.rmtree(run.folder)
    with monkeypatch.context() as patch:
        Renames(patch, code, allowed)
        line = one_line_error(*RUN)
    assert "cannot write" in line and os.strerror(code) in line and "Fix:" in line
    assert run.state() in ("absent", "partial")
    assert cli(*RUN).code == 0 and files_of(run.folder) == quiet


def test_full_disk_spares_other_verbs(project, cli, one_line_error, monkeypatch):
    """Scores and summaries keep their old content when the new one cannot be written."""
    cli(*RUN)
    cli("score")
    cli("aggregate")
    before = {p: p.read_bytes() for p in (project / "results").rglob("*") if p.is_file()}
    for words in (("score",), ("aggregate",), ("prepare",)):
        with monkeypatch.context() as patch:
            Renames(patch, errno.ENOSPC, 0)
            assert "No space left on device" in one_line_error(*words)
    assert {p: p.read_bytes() for p in (project / "results").rglob("*") if p.is_file()} == before
