"""Files: YAML and tables with one-line errors, folders replaced whole, one writer at a time."""

import fcntl
import os
from functools import partial

import pandas as pd
import pytest
from pydantic import BaseModel, ConfigDict

from bench.errors import BenchError, DataError, WeightsError
from bench.files import only_writer, read_table, read_yaml, replaced_folder, write_table


class Page(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str = "none"
    lines: int = 1


def test_yaml_becomes_a_model(tmp_path):
    path = tmp_path / "page.yaml"
    path.write_text("title: one\nlines: 3\n")
    assert read_yaml(path, Page) == Page(title="one", lines=3)
    path.write_text("# an empty file has no keys\n")
    assert read_yaml(path, Page) == Page()
    assert read_yaml(path, Page, text="lines: 2") == Page(lines=2)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"title: [", r"^page .*page\.yaml is not YAML; got while parsing .* Fix: mend it\.$"),
        (b"title: 2026-13-01", r"page\.yaml is not YAML; got month must be in 1..12"),
        (b"\xff\xfe\x00", r"page\.yaml cannot be read; got 'utf-8' codec"),
        (b"lines: many\ncolour: red", r"page\.yaml is not valid; got lines: .*; colour: .* Fix: mend it\.$"),
        (b"- 1", r"page\.yaml is not valid; got file: "),
        (None, r"^page .*page\.yaml is missing\. Fix: mend it"),
    ],
)
def test_wrong_yaml_is_one_line(tmp_path, content, message):
    path = tmp_path / "page.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as error:
        read_yaml(path, Page, "page", fix="mend it", raises=WeightsError)
    assert "\n" not in str(error.value)


TABLE = pd.DataFrame({"image_id": ["a", "b", "c"], "value": [1.0, 2.0, 3.0], "note": ["", "x", ""]})


def test_tables_keep_columns_and_attributes(tmp_path):
    path, table = tmp_path / "deep" / "rows.parquet", TABLE.copy()
    table.attrs = {"state": "1"}
    write_table(path, table)
    before = path.read_bytes()
    write_table(path, table)
    assert path.read_bytes() == before, "equal tables are equal files"
    pd.testing.assert_frame_equal(read_table(path, fix=""), TABLE)
    part = read_table(path, ["value", "image_id"], fix="", image_ids=["c", "a"])
    assert list(part.columns) == ["value", "image_id"] and list(part["value"]) == [1.0, 3.0]
    assert part.attrs == {"state": "1"}


def test_a_table_that_cannot_be_read_is_one_line(tmp_path):
    path = tmp_path / "rows.parquet"
    with pytest.raises(DataError, match=r"^rows .*rows\.parquet cannot be read; .* Fix: score again\.$"):
        read_table(path, what="rows", fix="score again")
    write_table(path, TABLE)
    with pytest.raises(DataError, match="expected a Parquet table with columns image_id, colour"):
        read_table(path, ["image_id", "colour"], fix="score again")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        read_table(path, fix="score again")


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = tmp_path / "result"

    def fill(text):
        with replaced_folder(folder) as fresh:
            (fresh / f"{text}.txt").write_text(text)
            if text == "broken":
                raise ZeroDivisionError

    fill("first")
    fill("second")
    with pytest.raises(ZeroDivisionError):
        fill("broken")
    real = os.replace

    def full(source, target):
        if target == folder and not (source / "second.txt").exists():
            raise OSError(28, "No space left on device")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(BenchError, match="cannot write .*result; got No space left"):
            fill("third")
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == ["result", "result/second.txt"]


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
