"""Any picture file -> a square RGB picture of a dataset's resolution, or the reason why not.

Rules, all of them in the manifest: the id is the file's stem; EXIF orientation is applied; a picture must be square
unless ``crop: center``, and 8-bit RGB unless ``convert``; it is resized with Pillow's LANCZOS (antialiased) if its side
differs from the resolution.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.dataset import PreparedPaths
from bench.data.manifest import FolderSpec
from bench.engine import Shard, tick
from bench.errors import DataError, duplicates, name_some
from bench.files import image_errors, write_png
from bench.images import pixel_sha256

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".gif"}
CONVERTIBLE = ("1", "L", "LA", "P", "RGBA", "CMYK")  # modes that --convert accepts


def list_images(folder: Path) -> tuple[list[Path], list[str]]:
    """(picture files sorted by name, names of other files).

    Raises:
        DataError: no such folder, no picture in it, or two files with one stem.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}", fix="pass the folder of your pictures as --images")
    everything = sorted(p for p in folder.iterdir() if p.is_file())
    files = [p for p in everything if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    ignored = [p.name for p in everything if p not in set(files)]
    if not files:
        raise DataError(
            f"folder {folder} holds no pictures",
            got=name_some(ignored, 5) or "nothing",
            expected=f"files with one of {', '.join(sorted(SUFFIXES))}",
        )
    if twice := duplicates([p.stem for p in files]):
        same = [p.name for p in files if p.stem in twice]
        raise DataError(
            f"folder {folder} has pictures that would share an id",
            got=name_some(same),
            expected="every file stem once",
            fix="rename or move one of each",
        )
    return files, ignored


def load_square(path: Path, data: bytes, resolution: int, crop: str, convert: bool) -> np.ndarray:
    """A picture file's bytes -> (R, R, 3) uint8 by the rules of this module.

    Raises:
        DataError: unreadable, wrong mode, not square; the message is the reason alone, the caller names the file.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            image = ImageOps.exif_transpose(opened)
    except image_errors() as error:
        reason = str(error).split(" <_io")[0] or type(error).__name__  # Pillow names the buffer's address
        raise DataError(f"cannot be read ({reason})") from None
    if image.mode != "RGB":
        if image.mode not in CONVERTIBLE or not convert:
            hint = ", --convert accepts it" if image.mode in CONVERTIBLE else ""
            raise DataError(f"has mode {image.mode}, expected RGB{hint}")
        image = _to_rgb(image)
    width, height = image.size
    if width != height:
        if crop != "center":
            raise DataError(f"is {width}x{height}, expected a square, --crop center cuts it")
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if image.size != (resolution, resolution):
        image = image.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _to_rgb(image: Any) -> Any:
    """RGB of any 8-bit mode; transparent parts become white, as on a page."""
    from PIL import Image

    if image.mode in ("LA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(page, image)
    return image.convert("RGB")


def convert_shard(
    shard: Shard, files: dict[str, Path], spec: FolderSpec, resolution: int, paths: PreparedPaths
) -> list[tuple[str, dict[str, Any] | None, str]]:
    """Prepare one shard's files: (id, manifest entry, "") each, or (id, None, reason)."""
    results: list[tuple[str, dict[str, Any] | None, str]] = []
    for image_id in shard.ids:
        path = files[image_id]
        try:
            data = path.read_bytes()
            array = load_square(path, data, resolution, spec.crop, spec.convert)
        except DataError as error:
            results.append((image_id, None, error.what))
        except OSError as error:
            results.append((image_id, None, f"cannot be read ({error.strerror})"))
        else:
            write_png(paths.image(image_id), array)
            entry = {
                "id": image_id,
                "file": path.name,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "width": array.shape[1],
                "height": array.shape[0],
                "pixels": pixel_sha256(array),
            }
            results.append((image_id, entry, ""))
        tick(1)
    return results
