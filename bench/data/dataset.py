"""Reading prepared datasets. Every picture is checked against the manifest's pixel hash as it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.api import DatasetInfo
from bench.data.manifest import Manifest, load_manifest
from bench.errors import DataError
from bench.files import read_json, read_rgb, read_table
from bench.images import pixel_sha256, to_tensor

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


@dataclass(frozen=True)
class PreparedDataset:
    """A dataset whose preparation was verified.

    Args:
        manifest: ids and hashes. paths: where its pictures lie.
        drifted: id -> pixel hash of pictures that this machine renders with other rounding than the manifest's.
    """

    manifest: Manifest
    paths: PreparedPaths
    drifted: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, root: Path, dataset_id: str) -> PreparedDataset:
        """Refuse a dataset that is not prepared, or prepared from another state of its manifest."""
        manifest = load_manifest(root, dataset_id)
        paths = PreparedPaths.of(root, dataset_id)
        fix = f"run `bench prepare --dataset {dataset_id}`"
        if not paths.done.is_file():
            raise DataError(f"dataset {dataset_id!r} is not prepared", expected=str(paths.done), fix=fix)
        done = read_json(paths.done)
        if done.get("manifest_sha256") != manifest.sha256:
            raise DataError(
                f"dataset {dataset_id!r} was prepared from another state of its manifest",
                got=str(done.get("manifest_sha256"))[:12],
                expected=manifest.sha256[:12],
                fix=fix,
            )
        return cls(manifest, paths, done.get("drifted", {}))

    @property
    def id(self) -> str:
        """The dataset's id."""
        return self.manifest.id

    @property
    def info(self) -> DatasetInfo:
        """What a method is told of the dataset: id, domain, resolution, number of images."""
        return self.manifest.info

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return {**self.manifest.pixel_hashes(), **self.drifted}

    def read(self, image_id: str) -> np.ndarray:
        """(R, R, 3) uint8.

        Raises:
            DataError: the file is missing, damaged, of another size or mode, or holds other pixels than the manifest
                says; the message names the file and the command that mends it.
        """
        path = self.paths.image(image_id)
        array = read_rgb(path, self.manifest.resolution)
        if pixel_sha256(array) != self._hashes[image_id]:
            raise DataError(
                f"picture {path} was changed after preparation",
                got=f"pixels {pixel_sha256(array)[:12]}",
                expected=self._hashes[image_id][:12],
                fix=f"run `bench prepare --dataset {self.id}`",
            )
        return array

    def stack(self, ids: Sequence[str]) -> np.ndarray:
        """(B, R, R, 3) uint8 in the order of ``ids``."""
        return np.stack([self.read(i) for i in ids])

    def tensor(self, ids: Sequence[str]) -> Tensor:
        """(B, 3, R, R) float32 in [-1, 1], on the CPU."""
        return to_tensor(self.stack(ids))

    def batches(self, ids: Sequence[str], size: int) -> Iterator[tuple[list[str], Tensor]]:
        """(ids, pictures) in order; nothing is dropped, the last batch may be short."""
        for start in range(0, len(ids), size):
            chunk = list(ids[start : start + size])
            yield chunk, self.tensor(chunk)

    def truth(self) -> pd.DataFrame:
        """Ground truth of a rendered dataset, one row an image, in manifest order."""
        return self._read_truth()

    def factor(self, name: str) -> dict[str, float]:
        """Image id -> one number of the ground truth: of its hundreds of columns these two alone are read, once."""
        if name not in self._factors:
            two = self._read_truth(["image_id", name])
            self._factors[name] = dict(zip(two["image_id"], two[name].astype(float), strict=True))
        return self._factors[name]

    @cached_property
    def _factors(self) -> dict[str, dict[str, float]]:
        return {}

    def _read_truth(self, columns: list[str] | None = None) -> pd.DataFrame:
        if not self.paths.truth.is_file():
            raise DataError(
                f"dataset {self.id!r} has no ground truth",
                expected="a rendered dataset",
                fix="only kind 'rendered' has it",
            )
        return read_table(
            self.paths.truth, columns, "ground truth", fix=f"run `bench prepare --dataset {self.id}` again"
        )


@dataclass(frozen=True)
class PreparedPaths:
    """Every path of a prepared dataset."""

    folder: Path

    @classmethod
    def of(cls, root: Path, dataset_id: str) -> PreparedPaths:
        """Return the paths of a dataset in a project."""
        return cls(Path(root) / "datasets" / "prepared" / dataset_id)

    @property
    def images(self) -> Path:
        """Folder of the images."""
        return self.folder / "images"

    @property
    def labels(self) -> Path:
        """Folder of the part labels of a rendered dataset."""
        return self.folder / "labels"

    @property
    def truth(self) -> Path:
        """File of the true factors of a rendered dataset."""
        return self.folder / "truth.parquet"

    @property
    def done(self) -> Path:
        """Written last: a dataset without it is not prepared."""
        return self.folder / "prepared.json"

    @property
    def parts(self) -> Path:
        """Rows of a preparation in progress."""
        return self.folder / "parts"

    @property
    def problems(self) -> Path:
        """Every picture the last preparation complained about, one line each."""
        return self.folder / "problems.csv"

    def image(self, image_id: str) -> Path:
        """File of one image."""
        return self.images / f"{image_id}.png"

    def label(self, image_id: str) -> Path:
        """File of the part labels of one image."""
        return self.labels / f"{image_id}.png"

    def counterfactual(self, image_id: str, attribute: str, degree: float) -> Path:
        """File of one image's ground-truth edit along ``attribute`` by ``degree``."""
        return self.folder / "counterfactual" / f"{attribute}_{degree:+g}" / f"{image_id}.png"
