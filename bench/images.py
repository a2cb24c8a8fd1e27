"""The only place for value ranges, uint8 rounding, named resizes and picture files.

Inside the suite a picture is float32 RGB in [-1, 1], layout (B, 3, H, W). On disk it is an 8-bit RGB PNG.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import BenchError, DataError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

RESIZES = ("area", "bilinear", "bilinear_aa", "bicubic_aa")
PIL_RESIZES = ("pil_bilinear", "pil_bicubic", "pil_lanczos")  # of 8-bit pictures, rounded to 8 bits again


def read_rgb(path: str | Path, size: int | tuple[int, int] | None = None) -> np.ndarray:
    """Read a picture file completely and check it.

    Args:
        path: any format Pillow reads; it must be 8-bit RGB.
        size: expected side, or (height, width); None accepts any.
    Returns:
        (H, W, 3) uint8.
    Raises:
        DataError: missing, truncated or not a picture, far too large, wrong mode, wrong size.
    """
    from PIL import Image

    path = Path(path)
    try:
        with Image.open(path) as picture:
            if picture.mode != "RGB":
                raise DataError(
                    f"picture {path} has the wrong mode",
                    got=picture.mode,
                    expected="RGB",
                    fix="convert it, e.g. `convert in.png -type TrueColor out.png`",
                )
            array = np.asarray(picture)
    except FileNotFoundError:
        raise DataError(f"picture {path} is missing", fix="run `bench prepare` for its dataset") from None
    except picture_errors() as error:
        raise DataError(
            f"picture {path} cannot be read",
            got=str(error) or type(error).__name__,
            expected="a complete picture file",
            fix="replace the file and run the same command again",
        ) from None
    if size is not None:
        want = (size, size) if isinstance(size, int) else tuple(size)
        if array.shape[:2] != want:
            raise DataError(
                f"picture {path} has the wrong size",
                got=f"{array.shape[1]}x{array.shape[0]}",
                expected=f"{want[1]}x{want[0]}",
                fix="prepare the dataset at the resolution of its manifest",
            )
    return array


def picture_errors() -> tuple[type[Exception], ...]:
    """What Pillow raises for a file that is no complete picture, or claims more pixels than it dares to unpack."""
    import struct
    import zlib

    from PIL import Image, UnidentifiedImageError

    damaged = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
    return (UnidentifiedImageError, Image.DecompressionBombError, *damaged)


def write_png(path: str | Path, array: np.ndarray) -> None:
    """Write (H, W, 3) or (H, W) uint8 as PNG, atomically: the final name never holds half a file."""
    from PIL import Image

    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        Image.fromarray(array).save(temporary, format="PNG", compress_level=1)
        os.replace(temporary, path)
    except OSError as error:
        _forget(temporary)
        raise write_error(path, error) from None


def _forget(temporary: Path) -> None:
    """Remove a temporary file if that can be done; the error already under way is the one that matters."""
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        pass


def atomic_write(path: str | Path, data: str | bytes) -> None:
    """Write a file completely or not at all: a temporary name, flushed to the disk, then renamed.

    Raises:
        BenchError: full disk, no permission, read-only file system.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _forget(temporary)
        raise write_error(path, error) from None


def write_error(path: str | Path, error: OSError) -> BenchError:
    """The one-line error for a failed write: full disk, no permission, missing folder."""
    import errno

    fixes = {
        errno.ENOSPC: "free some disk space and run the same command again; finished work is kept",
        errno.EACCES: "make the folder writable or choose another one",
        errno.EPERM: "make the folder writable or choose another one",
        errno.EROFS: "the file system is read-only: choose another folder",
    }
    return BenchError(
        f"cannot write {path}",
        got=error.strerror or str(error),
        expected="a writable path with free space",
        fix=fixes.get(error.errno or 0, "check the path"),
    )


def access_error(error: OSError) -> BenchError:
    """The one-line error for a failure of the file system that nobody closer to it explained."""
    import errno

    path = error.filename or "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return write_error(path, error)
    return BenchError(
        f"cannot access {path}",
        got=error.strerror or str(error),
        expected="a file that can be read and written",
        fix="check that it exists and whose it is",
    )


def pixel_sha256(array: np.ndarray) -> str:
    """SHA-256 of decoded pixels (shape, then bytes): independent of the PNG encoder's version."""
    digest = hashlib.sha256(repr(tuple(array.shape)).encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, read in chunks."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def to_tensor(arrays: np.ndarray) -> Tensor:
    """(B, H, W, 3) or (H, W, 3) uint8 -> (B, 3, H, W) or (3, H, W) float32 in [-1, 1]."""
    import torch

    x = torch.from_numpy(np.ascontiguousarray(arrays)).movedim(-1, -3)
    return x.to(torch.float32).div_(127.5).sub_(1.0).contiguous()


def to_uint8(x: Tensor) -> np.ndarray:
    """(..., 3, H, W) float in [-1, 1] (clamped) -> (..., H, W, 3) uint8, rounded to nearest.

    The official scripts truncate instead (`.astype(uint8)`), which darkens by half a level; see docs/numerics.md.
    """
    import torch

    y = x.detach().to(torch.float32).clamp(-1, 1).add(1).mul(127.5).round_()
    return y.to(torch.uint8).movedim(-3, -1).cpu().numpy()


def resize(x: Tensor, size: int | tuple[int, int], how: str) -> Tensor:
    """Resize (B, 3, H, W) by a named rule; the name is part of every metric's signature.

    ``area``: adaptive average pooling (`face_pool` of pSp). ``bilinear``: plain, align_corners False, no antialias
    (HFGI's release). ``bilinear_aa`` / ``bicubic_aa``: antialiased, as PIL does on float. For PIL's own rules on 8-bit
    pictures see :func:`resize_pil`.
    """
    import torch.nn.functional as F

    want = (size, size) if isinstance(size, int) else (size[0], size[1])
    if x.ndim != 4:
        raise ShapeError("resize takes a batch of pictures", got=tuple(x.shape), expected="(B, 3, H, W)")
    if tuple(x.shape[-2:]) == want:
        return x
    if how == "area":
        return F.adaptive_avg_pool2d(x, want)
    if how == "bilinear":
        return F.interpolate(x, size=want, mode="bilinear", align_corners=False)
    if how in ("bilinear_aa", "bicubic_aa"):
        return F.interpolate(x, size=want, mode=how.removesuffix("_aa"), align_corners=False, antialias=True)
    raise BenchError(f"unknown resize {how!r}", expected=f"one of: {', '.join(RESIZES)}")


def resize_pil(pictures: np.ndarray, size: int, how: str) -> np.ndarray:
    """Resize (B, H, W, 3) uint8 to (B, size, size, 3) uint8 as Pillow does, antialiased: how the pSp family scores.

    Raises:
        BenchError: a rule that is not in PIL_RESIZES.
    """
    from PIL import Image

    if how not in PIL_RESIZES:
        raise BenchError(f"unknown resize {how!r} of 8-bit pictures", expected=f"one of: {', '.join(PIL_RESIZES)}")
    if pictures.shape[1:3] == (size, size):
        return pictures
    rule = Image.Resampling[how.removeprefix("pil_").upper()]
    return np.stack([np.asarray(Image.fromarray(p).resize((size, size), rule)) for p in pictures])
