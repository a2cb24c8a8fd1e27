"""Training pictures in memory: packed once, drawn by a rule that a resumed run repeats exactly."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.data.dataset import PreparedPaths
from bench.errors import DataError
from bench.files import image_errors, only_writer, read_json, read_rgb, write_error, write_json
from bench.seeds import seed_for


@dataclass
class PackedImages:
    """All pictures of a set as one uint8 block.

    Args:
        ids: image ids, in manifest order.
        images: (N, R, R, 3) uint8.
        labels: (N, R, R) uint8 part index per pixel, or None.
    """

    ids: list[str]
    images: np.ndarray
    labels: np.ndarray | None

    def subset(self, rows: np.ndarray) -> PackedImages:
        """The given rows, still on disk until they are read."""
        return PackedImages(
            [self.ids[int(r)] for r in rows], self.images[rows], None if self.labels is None else self.labels[rows]
        )

    def resized(self, resolution: int) -> PackedImages:
        """Pictures box-averaged and labels sub-sampled to ``resolution`` (a divisor of the stored side)."""
        side = self.images.shape[1]
        if side == resolution:
            return self
        if side % resolution:
            raise DataError(f"cannot box-average {side} px pictures to {resolution} px", expected="a divisor")
        k = side // resolution
        small = np.empty((len(self.ids), resolution, resolution, 3), np.uint8)
        for start in range(0, len(small), 1000):  # in pieces: the sums are wider than the pictures
            block = self.images[start : start + 1000].reshape(-1, resolution, k, resolution, k, 3)
            small[start : start + 1000] = (block.sum((2, 4), dtype=np.uint32) + k * k // 2) // (k * k)
        labels = None if self.labels is None else np.ascontiguousarray(self.labels[:, k // 2 :: k, k // 2 :: k])
        return PackedImages(self.ids, small, labels)

    def batch(self, rows: np.ndarray, flip: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Rows as (B, 3, R, R) float32 in [-1, 1] and labels (B, R, R) int64, mirrored where ``flip``."""
        x = torch.from_numpy(self.images[rows]).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        mirrored = torch.from_numpy(flip)
        x[mirrored] = x[mirrored].flip(-1)
        labels = None
        if self.labels is not None:
            labels = torch.from_numpy(self.labels[rows]).long()
            labels[mirrored] = labels[mirrored].flip(-1)
        return x.contiguous(memory_format=torch.channels_last), labels


def pack(folder: Path, ids: list[str], resolution: int, with_labels: bool = True) -> PackedImages:
    """Read a prepared dataset into memory-mapped arrays beside it, once; later calls map the same files.

    Beside each block a record says which pictures it holds: their ids and the manifest they were prepared from. A block
    of others, or without a record, is written anew.

    Args:
        folder: ``datasets/prepared/<id>``; the blocks are ``packed_<R>.npy`` and ``packed_<R>_labels.npy`` there.
        ids: image ids in manifest order.
        resolution: side of the stored pictures.
        with_labels: read part labels too. The set must have them.
    Raises:
        DataError: a picture or a label is missing, damaged or of another size.
        BenchError: the disk is full, or another process writes the same block.
    """
    images = _block(folder, "images", ids, resolution)
    return PackedImages(list(ids), images, _block(folder, "labels", ids, resolution) if with_labels else None)


def _block(folder: Path, kind: str, ids: list[str], resolution: int) -> np.ndarray:
    """The block of ``images`` (N, R, R, 3) or ``labels`` (N, R, R), mapped; packed first where it is not current."""
    file = folder / f"packed_{resolution}{'' if kind == 'images' else '_labels'}.npy"
    record, expected = file.with_suffix(".json"), _contents(folder, ids)
    if not _current(file, record, expected):
        with only_writer(file.with_suffix(".lock"), str(file)):
            if not _current(file, record, expected):
                _write_block(folder / kind, ids, resolution, file)
                write_json(record, expected)
    return np.load(file, mmap_mode="r")


def _contents(folder: Path, ids: list[str]) -> dict[str, Any]:
    """What a block of these pictures holds: hashes of the ids, the manifest and what was rendered differently here."""
    prepared = PreparedPaths(folder).done
    done = read_json(prepared) if prepared.is_file() else {}
    drifted = json.dumps(done.get("drifted", {}), sort_keys=True)
    return {
        "count": len(ids),
        "ids_sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
        "manifest_sha256": done.get("manifest_sha256"),
        "drifted_sha256": hashlib.sha256(drifted.encode()).hexdigest(),
    }


def _current(file: Path, record: Path, expected: dict[str, Any]) -> bool:
    try:
        return file.is_file() and json.loads(record.read_text()) == expected
    except (OSError, ValueError):  # none, or half a record: pack again
        return False


def _read(task: tuple[Path, int]) -> np.ndarray:
    path, resolution = task
    return read_rgb(path, resolution) if path.parent.name == "images" else _read_label(path, resolution)


def _read_label(path: Path, resolution: int) -> np.ndarray:
    """(R, R) uint8 part index.

    Raises:
        DataError: missing, damaged, of another size or mode.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            label, mode = np.asarray(image), image.mode
    except FileNotFoundError:
        raise DataError(
            f"part labels {path} are missing", fix="train on a rendered dataset, or run `bench prepare` for it"
        ) from None
    except image_errors() as error:
        raise DataError(f"part labels {path} cannot be read", got=str(error), fix="run `bench prepare` again") from None
    if mode not in ("L", "P") or label.shape != (resolution, resolution):
        raise DataError(
            f"part labels {path} do not fit their picture",
            got=f"{mode}, {label.shape}",
            expected=f"one byte a pixel, {resolution} x {resolution}",
        )
    return label


def _write_block(source: Path, ids: list[str], resolution: int, file: Path) -> None:
    """Pack the pictures of a folder; the block appears in one rename, after its old record has gone."""
    temporary, depth = file.with_suffix(".tmp.npy"), (3,) if source.name == "images" else ()
    try:
        block = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(ids), resolution, resolution, *depth))
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            tasks = [(source / f"{i}.png", resolution) for i in ids]
            for row, image in enumerate(pool.map(_read, tasks, chunksize=256)):
                block[row] = image
        block.flush()
        file.with_suffix(".json").unlink(missing_ok=True)
        os.replace(temporary, file)
    except OSError as error:
        raise write_error(file, error) from None
    finally:
        temporary.unlink(missing_ok=True)


class Sampler:
    """Batches of row numbers: a shuffled pass after another, a pure function of (seed, position).

    Position counts images drawn so far, so a run resumed at any step draws what the uninterrupted run drew.
    """

    def __init__(self, count: int, seed: int, name: str):
        self.count, self.seed, self.name = count, seed, name
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def rows(self, position: int, batch: int) -> np.ndarray:
        """The ``batch`` rows that follow ``position`` drawn images."""
        return np.array([self._row(p) for p in range(position, position + batch)])

    def flips(self, position: int, batch: int) -> np.ndarray:
        """Horizontal mirroring (p = 0.5) of the same images, boolean (batch,)."""
        return np.random.default_rng(seed_for(self.seed, self.name, "flip", position)).random(batch) < 0.5

    def _row(self, position: int) -> int:
        epoch, index = divmod(position, self.count)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng(seed_for(self.seed, self.name, epoch)).permutation(self.count)
        return int(self._order[index])


def split_rows(ids: list[str], clean: np.ndarray, held_out: int, clean_only: bool) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers for training and for validation: the last ``held_out`` pictures are never trained on.

    Args:
        ids: all image ids.
        clean: (N,) boolean, True where a picture has no image-specific detail.
    Returns:
        training rows, clean validation rows.
    """
    rows = np.arange(len(ids))
    train, held_out_rows = rows[: len(ids) - held_out], rows[len(ids) - held_out :]
    return (train[clean[train]] if clean_only else train), held_out_rows[clean[held_out_rows]]
