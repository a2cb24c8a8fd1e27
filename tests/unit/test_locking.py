"""One writer at a time, whatever happens to the file that says so."""

import fcntl
from functools import partial

import pytest

from bench.errors import BenchError
from bench.files import only_writer

held = partial(only_writer, what="run m-d")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / ".d.lock"


def test_one_writer_at_a_time(path):
    with held(path):
        with pytest.raises(BenchError, match="being written by another process"), held(path):
            pass
    with held(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_lock_file_removed_while_another_waits(path, monkeypatch):
    """Opened before its holder removed it, locked after: such a lock holds nothing and must be taken again."""
    real, removed = fcntl.flock, []

    def flock(stream, how):
        if not removed:
            removed.append(path.unlink())
        real(stream, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(path):
        assert removed and path.is_file()
        with pytest.raises(BenchError, match="being written by another process"), held(path):
            pass
        assert path.is_file()
