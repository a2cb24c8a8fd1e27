"""Ranges, rounding, named resizes, picture files."""

import errno
import os

import numpy as np
import pytest
import torch
from PIL import Image

from bench import files, images
from bench.errors import BenchError, DataError, ShapeError


def picture(side=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_all_256_levels_survive_the_round_trip():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    x = images.to_tensor(levels)
    assert x.shape == (3, 16, 16) and float(x.min()) == -1 and float(x.max()) == 1
    assert (images.to_uint8(x) == levels).all()


def test_rounding_is_to_nearest_and_clamped():
    x = torch.tensor([-9.0, -1.0, 0.5 / 127.5 - 1 + 1e-4, 9.0]).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert images.to_uint8(x)[0, :, :, 0].ravel().tolist() == [0, 0, 1, 255]


def test_batches_keep_their_layout():
    batch = np.stack([picture(seed=n) for n in range(3)])
    assert images.to_tensor(batch).shape == (3, 3, 8, 8)
    assert (images.to_uint8(images.to_tensor(batch)) == batch).all()


@pytest.mark.parametrize("how", images.RESIZES)
def test_resize_keeps_constants(how):
    x = torch.full((1, 3, 8, 8), 0.25, dtype=torch.float64)
    for size in (4, 16, (4, 8)):
        out = images.resize(x, size, how)
        assert out.shape[-2:] == ((size, size) if isinstance(size, int) else size)
        torch.testing.assert_close(out, torch.full_like(out, 0.25))


def test_resize_area_is_the_block_mean():
    x = torch.arange(16, dtype=torch.float64).reshape(1, 1, 4, 4)
    assert images.resize(x, 2, "area").ravel().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_resize_refuses():
    with pytest.raises(ShapeError):
        images.resize(torch.zeros(3, 8, 8), 4, "area")
    with pytest.raises(BenchError, match="unknown resize"):
        images.resize(torch.zeros(1, 3, 8, 8), 4, "nearest")


def test_png_round_trip_and_hash(tmp_path):
    array = picture()
    files.write_png(tmp_path / "a.png", array)
    assert (files.read_rgb(tmp_path / "a.png", 8) == array).all()
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    Image.fromarray(array).save(tmp_path / "b.png", compress_level=9)  # other bytes, same pixels
    assert images.pixel_sha256(files.read_rgb(tmp_path / "b.png")) == images.pixel_sha256(array)
    assert files.file_sha256(tmp_path / "a.png") != files.file_sha256(tmp_path / "b.png")


def test_pixel_hash_sees_shape_and_one_level():
    array = picture()
    other = array.copy()
    other[0, 0, 0] ^= 1
    hashes = {images.pixel_sha256(a) for a in (array, other, array.reshape(4, 16, 3))}
    assert len(hashes) == 3
    assert images.pixel_sha256(array) == images.pixel_sha256(np.asfortranarray(array))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16"])
def test_wrong_mode_is_named(tmp_path, mode):
    array = np.zeros((4, 4), np.uint16) if mode == "I;16" else picture()
    image = Image.fromarray(array)
    (image if mode == "I;16" else image.convert(mode)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=f"x.png has the wrong mode; got {mode}"):
        files.read_rgb(tmp_path / "x.png")


def test_missing_truncated_and_foreign_files(tmp_path):
    with pytest.raises(DataError, match="is missing"):
        files.read_rgb(tmp_path / "none.png")
    files.write_png(tmp_path / "whole.png", picture(64))
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    for name in ("cut", "text", "empty", "folder"):
        with pytest.raises(DataError, match=f"{name}.png cannot be read"):
            files.read_rgb(tmp_path / f"{name}.png")


def test_picture_that_claims_a_billion_pixels(tmp_path, monkeypatch):
    """Pillow refuses to unpack it, which is one line here."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    files.write_png(tmp_path / "bomb.png", np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(DataError, match="bomb.png cannot be read; got .*exceeds limit"):
        files.read_rgb(tmp_path / "bomb.png")


def test_access_errors_say_what_is_true():
    """Only what can be nothing but a failed write is called one."""
    for code in (errno.ENOSPC, errno.EROFS):
        assert str(files.access_error(OSError(code, os.strerror(code), "x"))).startswith("cannot write x")
    for code in (errno.ENOENT, errno.EACCES, errno.EISDIR, errno.EIO):
        line = str(files.access_error(OSError(code, os.strerror(code), "x")))
        assert line.startswith(f"cannot access x; got {os.strerror(code)}") and "write x" not in line


def test_wrong_size_is_named(tmp_path):
    files.write_png(tmp_path / "x.png", np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(DataError, match="got 6x4; expected 8x8"):
        files.read_rgb(tmp_path / "x.png", 8)
    assert files.read_rgb(tmp_path / "x.png", (4, 6)).shape == (4, 6, 3)


@pytest.mark.parametrize("write", [lambda p: files.write_png(p, picture()), lambda p: files.atomic_write(p, "text")])
@pytest.mark.parametrize(
    "code, word", [(errno.ENOSPC, "disk space"), (errno.EACCES, "writable"), (errno.EROFS, "read-only")]
)
def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch, write, code, word):
    target = tmp_path / "x"
    target.write_text("old")

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(BenchError, match=word):
        write(target)
    assert target.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_write_below_a_file_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="cannot write"):
        files.atomic_write(tmp_path / "file" / "below.txt", "x")
