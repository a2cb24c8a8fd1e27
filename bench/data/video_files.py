"""Frames in and films out: video files (PyAV), folders of pictures, H.264 and GIF. Nothing here knows a method."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import BenchError, DataError, message_of
from bench.files import file_sha256, picture_errors, read_json, read_rgb, write_error, write_json, write_png

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
DECODED = "decoded.json"
QUALITY = "16"  # x264's constant rate factor: hardly to be told from the frames
DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class Clip:
    """Frames in order, all of one size.

    Args:
        name: of the clip. ids: of its frames. read: id -> (H, W, 3) uint8. size: (height, width).
        aligned: frames are known to be aligned as the domain's pictures are.
    """

    name: str
    ids: tuple[str, ...]
    read: Callable[[str], np.ndarray]
    size: tuple[int, int]
    fps: float
    aligned: bool = False

    def first(self, count: int | None) -> Clip:
        """The first so many frames; None for all."""
        return self if count is None else Clip(**{**self.__dict__, "ids": self.ids[:count]})


def natural_key(name: str) -> list[Any]:
    """Sorts ``frame_2`` before ``frame_10``."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in re.split(r"(\d+)", name) if part]


def of_folder(folder: Path, fps: float | None = None, name: str | None = None) -> Clip:
    """Pictures of a folder in natural order; an id is a file's stem.

    Raises:
        DataError: no pictures, two of one stem, one that is no picture, or frames of several sizes.
    """
    files = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    files.sort(key=lambda p: natural_key(p.name))
    if not files:
        raise DataError(f"no frames in {folder}", expected=f"files ending in {', '.join(SUFFIXES)}")
    by_id = {p.stem: p for p in files}
    if len(by_id) < len(files):
        twice = next(p.stem for p in files if by_id[p.stem] != p)
        raise DataError(f"two frames of {folder} are called {twice!r}", fix="rename one")
    sizes = {i: _size(path) for i, path in by_id.items()}
    size = one_size(str(folder), sizes)
    return Clip(name or folder.resolve().name, tuple(by_id), lambda i: read_rgb(by_id[i]), size, fps or DEFAULT_FPS)


def one_size(what: str, sizes: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """The (height, width) that all frames have.

    Raises:
        DataError: one has another than the first; it is named.
    """
    (first, size), *_ = sizes.items()
    for frame, other in sizes.items():
        if other != size:
            raise DataError(
                f"frames of {what} differ in size",
                got=f"frame {frame}: {other[1]}x{other[0]}",
                expected=f"{size[1]}x{size[0]} as in frame {first}",
                fix="bring all frames to one size",
            )
    return size


def _size(path: Path) -> tuple[int, int]:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except picture_errors() as error:
        raise DataError(f"frame {path} cannot be read", got=message_of(error)) from None


def of_file(path: Path, work: Path, fps: float | None = None, limit: int | None = None) -> Clip:
    """Frames of a video file, decoded once into PNG files in ``work`` (lossless; memory holds one at a time).

    Args:
        fps: instead of the file's own. limit: the first so many frames.
    Raises:
        DataError: no video, damaged, or frames of several sizes. BenchError: PyAV is not installed, the disk is full.
    """
    state = {"sha256": file_sha256(path), "limit": limit}
    held = read_json(work / DECODED) if (work / DECODED).is_file() else {}
    if held.get("state") != state:
        held = {"state": state, **_decode(path, work, limit)}
        write_json(work / DECODED, held)
    return of_folder(work, fps or held["fps"], path.stem)


def _decode(path: Path, work: Path, limit: int | None) -> dict[str, Any]:
    av = _av()
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(work, error) from None
    sizes: dict[str, tuple[int, int]] = {}
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path} holds no video", fix="name a video file or a folder of frames")
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 0) or DEFAULT_FPS
            for n, frame in enumerate(container.decode(stream)):
                if n == limit:
                    break
                sizes[str(n)] = (frame.height, frame.width)
                one_size(str(path), {key: sizes[key] for key in dict.fromkeys(("0", str(n)))})
                write_png(work / f"{n:06d}.png", frame.to_ndarray(format="rgb24"))
    except av.error.FFmpegError as error:
        raise DataError(
            f"video {path} cannot be read", got=message_of(error, 200), fix="convert it, or use a folder"
        ) from None
    if not sizes:
        raise DataError(f"video {path} has no frames")
    return {"fps": rate}


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise BenchError("video files need package av", fix="pip install 'hfgi-bench[video]'") from None
    av.logging.set_level(av.logging.PANIC)  # its complaints come back as exceptions
    return av


def write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float) -> int:
    """Write a film, H.264 in yuv420p as every player takes it; atomically.

    Args:
        frames: (H, W, 3) uint8 of one size; an odd side is continued by one pixel.
    Returns:
        How many frames it has.
    Raises:
        DataError: no frames, or of several sizes. BenchError: PyAV is not installed, the disk is full.
    """
    av = _av()
    count, stream, size = 0, None, None
    how: dict[str, Any] = {"format": "mp4", "options": {"movflags": "+faststart"}}
    with _whole(path) as temporary, av.open(str(temporary), "w", **how) as to:
        for frame in frames:
            size = one_size(path.name, {"0": size or frame.shape[:2], str(count): frame.shape[:2]})
            even = np.pad(frame, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge")
            if stream is None:
                stream = to.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
                stream.height, stream.width, stream.pix_fmt = even.shape[0], even.shape[1], "yuv420p"
                # Equal bytes: one thread, and no macroblock tree, whose result varies from run to run.
                stream.options = {"crf": QUALITY, "preset": "medium", "threads": "1", "x264-params": "mbtree=0"}
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            to.mux(stream.encode(picture))
            count += 1
        if stream is None:
            raise DataError(f"film {path} would have no frames")
        to.mux(stream.encode())
    return count


def write_gif(path: Path, frames: Iterable[np.ndarray], fps: float, colours: int = 128) -> int:
    """Write an endless GIF with one palette for all frames; atomically. Returns how many frames it has.

    Raises:
        DataError: no frames.
    """
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    if not pictures:
        raise DataError(f"film {path} would have no frames")
    some = pictures[:: max(1, len(pictures) // 8)]
    together = Image.fromarray(np.concatenate([np.asarray(p) for p in some]))
    palette = together.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    flat = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    with _whole(path) as temporary:
        flat[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=flat[1:],
            duration=round(1000 / fps / 10) * 10,
            loop=0,
            optimize=False,
        )
    return len(flat)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A temporary name that becomes ``path`` when the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise write_error(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def read_film(path: Path) -> tuple[np.ndarray, float]:
    """All frames of a film, (N, H, W, 3) uint8, and its frames per second. For short ones."""
    av = _av()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(stream)]), float(stream.average_rate)
