"""Every path of a prepared dataset, below ``datasets/prepared/<id>/``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PreparedPaths:
    """Every path of a prepared dataset."""

    folder: Path

    @classmethod
    def of(cls, root: Path, dataset_id: str) -> PreparedPaths:
        return cls(Path(root) / "datasets" / "prepared" / dataset_id)

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def labels(self) -> Path:
        return self.folder / "labels"

    @property
    def truth(self) -> Path:
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
        return self.images / f"{image_id}.png"

    def label(self, image_id: str) -> Path:
        return self.labels / f"{image_id}.png"

    def counterfactual(self, image_id: str, attribute: str, degree: float) -> Path:
        return self.folder / "counterfactual" / f"{attribute}_{degree:+g}" / f"{image_id}.png"
