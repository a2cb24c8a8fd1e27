"""Training pictures in memory: packed once, drawn by a rule that a resumed run repeats exactly."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.errors import DataError
from bench.images import read_rgb, write_error
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


def _read_pair(paths: tuple[Path, Path | None, int]) -> tuple[np.ndarray, np.ndarray | None]:
    from PIL import Image

    image, label, resolution = paths
    return read_rgb(image, resolution), None if label is None else np.asarray(Image.open(label))


def pack(folder: Path, ids: list[str], resolution: int, with_labels: bool = True) -> PackedImages:
    """Read a prepared dataset into memory-mapped arrays beside it, once; later calls map the same files.

    Args:
        folder: ``datasets/prepared/<id>``; the block is ``packed_<R>.npy`` there.
        ids: image ids in manifest order.
        resolution: side of the stored pictures.
    Raises:
        DataError: a picture is missing, damaged or of another size.
    """
    images_file, labels_file = folder / f"packed_{resolution}.npy", folder / f"packed_{resolution}_labels.npy"
    if not (images_file.is_file() and len(np.load(images_file, mmap_mode="r")) == len(ids)):
        _write_pack(folder, ids, resolution, with_labels, images_file, labels_file)
    labels = np.load(labels_file, mmap_mode="r") if with_labels else None
    return PackedImages(list(ids), np.load(images_file, mmap_mode="r"), labels)


def _write_pack(
    folder: Path, ids: list[str], resolution: int, with_labels: bool, images_file: Path, labels_file: Path
) -> None:
    tasks = [
        (folder / "images" / f"{i}.png", folder / "labels" / f"{i}.png" if with_labels else None, resolution)
        for i in ids
    ]
    temporary = [images_file.with_suffix(".tmp.npy"), labels_file.with_suffix(".tmp.npy")]
    try:
        images = np.lib.format.open_memmap(temporary[0], "w+", np.uint8, (len(ids), resolution, resolution, 3))
        labels = np.lib.format.open_memmap(temporary[1], "w+", np.uint8, (len(ids), resolution, resolution))
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for row, (image, label) in enumerate(pool.map(_read_pair, tasks, chunksize=256)):
                images[row] = image
                if label is not None:
                    labels[row] = label
        images.flush()
        labels.flush()
        for source, target in zip(temporary, (images_file, labels_file), strict=True):
            os.replace(source, target)
    except OSError as error:
        raise write_error(images_file, error) from None


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
