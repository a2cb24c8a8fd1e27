"""Editing pictures: invert (or take the codes of a run that is there), move the codes, render by the method's own path.

Pictures come from a prepared dataset or from any folder. Each finished picture is written at once, so whatever stops a
command leaves what was done; ``edit.json`` says how they were made and is what a second command is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.directions.direction import Direction
from bench.engine import map_images
from bench.errors import BenchError, DataError, message_of
from bench.files import read_json, read_rgb, write_error, write_json, write_png
from bench.images import resize_pil, to_tensor, to_uint8
from bench.inversion.runner import NOT_FINITE, image_seed

if TYPE_CHECKING:
    from torch import Tensor

    from bench.api import Inversion, Method
    from bench.data.dataset import PreparedDataset
    from bench.store.run import Run

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
RECORD = "edit.json"


@dataclass(frozen=True)
class Pictures:
    """Pictures to edit by id.

    Args:
        name: of the dataset or the folder; ids: in order; read: id -> (R, R, 3) uint8.
        codes: id -> (L, D) of a run that keeps nothing else, so that nothing need be inverted again; {} without one.
    """

    name: str
    ids: Sequence[str]
    read: Callable[[str], np.ndarray]
    codes: Mapping[str, np.ndarray]


def of_dataset(dataset: PreparedDataset, ids: Sequence[str] | None, run: Run | None, config_hash: str) -> Pictures:
    """Pictures of a prepared dataset.

    Args:
        ids: those wanted, None for all. run: where the method's run would be; used if it is complete, has this very
            configuration and keeps codes alone (whatever else a method keeps is not stored, so it must invert again).
    Raises:
        UnknownName: an id that the dataset does not have, with the nearest ones.
    """
    have = set(dataset.manifest.ids)
    for image_id in ids or ():
        if image_id not in have:
            from bench.errors import UnknownName

            raise UnknownName.of(f"picture of dataset {dataset.id!r}", image_id, have)
    codes: dict[str, np.ndarray] = {}
    if run is not None and run.state() == "complete":
        held = run.read()
        names, w_plus = run.read_codes()
        if held["config_hash"] == config_hash and held["rate_floats"] == w_plus[0].size:
            codes = dict(zip(names, w_plus, strict=True))
    return Pictures(dataset.id, list(ids or dataset.manifest.ids), dataset.read, codes)


def of_folder(folder: Path, resolution: int) -> Pictures:
    """Square pictures of any size in a folder, brought to ``resolution`` with Pillow's Lanczos; id = file stem.

    Raises:
        DataError: no such folder, no pictures in it, two of the same stem.
    """
    if not folder.is_dir():
        raise DataError(
            f"no folder {folder}", expected="a folder of pictures, or ids of a dataset", fix="correct --images"
        )
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"no pictures in {folder}", expected=f"files ending in {', '.join(SUFFIXES)}")
    by_id = {p.stem: p for p in files}
    if len(by_id) < len(files):
        twice = next(p.stem for p in files if by_id[p.stem] != p)
        raise DataError(f"two pictures of {folder} are called {twice!r}", fix="rename one")

    def read(image_id: str) -> np.ndarray:
        array = read_rgb(by_id[image_id])
        if array.shape[0] != array.shape[1]:
            raise DataError(
                f"picture {by_id[image_id]} is not square", got=f"{array.shape[1]}x{array.shape[0]}", fix="crop it"
            )
        return resize_pil(array[None], resolution, "pil_lanczos")[0]

    return Pictures(folder.resolve().name, list(by_id), read, {})


@dataclass(frozen=True)
class Edit:
    """One edit of one method. Args: seed: of the method's random numbers. out: folder of the results."""

    method: Method
    direction: Direction
    degree: float
    seed: int
    out: Path
    settings: Mapping[str, Any]

    def picture(self, image_id: str) -> Path:
        """File of one edited image."""
        return self.out / "images" / f"{image_id}.png"

    def run(self, pictures: Pictures, batch: int, on_done: Callable[[float], None]) -> dict[str, Any]:
        """Edit all pictures; one that fails is recorded with its reason and the rest goes on.

        Returns:
            the content of edit.json: settings, ids, failures.
        Raises:
            ShapeError: a direction of another space. BenchError: other settings' results are here, the disk is full,
                or no picture could be edited.
        """
        self.direction.check(self.method.generator.n_latent, self.method.generator.style_dim)
        earlier = self._earlier()
        folder = self.picture("").parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(folder, error) from None
        done: list[str] = []
        failures: dict[str, str] = {}
        for ids, x in _batches(pictures, batch, failures):
            for image_id, image in self._edited(ids, x.to(self.method.device), pictures, failures).items():
                write_png(self.picture(image_id), image)
                done.append(image_id)
            on_done(len(ids))
        if not done:
            raise BenchError("no picture could be edited", got=next(iter(failures.values()), "no pictures"))
        record = {
            "settings": dict(self.settings),
            "ids": sorted({*earlier.get("ids", []), *done}),
            "failures": {**{k: v for k, v in earlier.get("failures", {}).items() if k not in done}, **failures},
        }
        write_json(self.out / RECORD, record)
        return record

    def _earlier(self) -> dict[str, Any]:
        """What an earlier command left here, if it was made in the same way."""
        if not (self.out / RECORD).is_file():
            return {}
        held = read_json(self.out / RECORD)
        differing = sorted(k for k in self.settings if held.get("settings", {}).get(k) != self.settings[k])
        if differing:
            raise BenchError(
                f"{self.out} holds edits made with other settings",
                got=f"other values of: {', '.join(differing)}",
                fix="pass --out FOLDER, or move them away",
            )
        return held

    def _edited(self, ids: list[str], x: Tensor, pictures: Pictures, failures: dict[str, str]) -> dict[str, np.ndarray]:
        """id -> edited image, of those that could be edited; ``failures`` gains the reasons of the others."""
        import torch

        def edit(part: Sequence[str]) -> dict[str, np.ndarray | None]:
            here = slice(ids.index(part[0]), ids.index(part[-1]) + 1)
            self.method.context.image_seeds = [image_seed(self.seed, pictures.name, i) for i in part]
            with torch.no_grad():
                inversion = self._inverted(part, x[here], pictures.codes)
                edited = self.method.render(self.direction.apply(inversion.w_plus, self.degree), inversion)
            finite = edited.flatten(1).isfinite().all(1).tolist()
            images = to_uint8(torch.nan_to_num(edited))
            return {i: images[n] if finite[n] else None for n, i in enumerate(part)}

        parts, failed = map_images(ids, edit)
        found = {i: image for part in parts for i, image in part.items()}
        failed |= {i: NOT_FINITE for i, image in found.items() if image is None}
        failures |= {i: failed[i] for i in ids if i in failed}
        return {i: image for i, image in found.items() if image is not None}

    def _inverted(self, ids: Sequence[str], x: Tensor, codes: Mapping[str, np.ndarray]) -> Inversion:
        if not all(i in codes for i in ids):
            return self.method.embed(x)
        import torch

        from bench.api import Inversion

        return Inversion(torch.from_numpy(np.stack([codes[i] for i in ids])).to(x.device))


def _batches(pictures: Pictures, size: int, failures: dict[str, str]) -> Iterator[tuple[list[str], Tensor]]:
    """(ids, (B, 3, R, R) in [-1, 1]); pictures that cannot be read become failures."""
    ids: list[str] = []
    arrays: list[np.ndarray] = []
    for image_id in pictures.ids:
        try:
            arrays.append(pictures.read(image_id))
            ids.append(image_id)
        except DataError as error:
            failures[image_id] = message_of(error)
        if len(ids) == size:
            yield ids, to_tensor(np.stack(arrays))
            ids, arrays = [], []
    if ids:
        yield ids, to_tensor(np.stack(arrays))
