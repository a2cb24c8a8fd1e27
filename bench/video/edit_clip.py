"""``bench video``: one clip inverted and edited frame by frame, pasted back, as films.

Frames are written as soon as they are done, under settings that stand in ``video.json`` from the start; a second
command with the same settings goes on from there, with others it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.mosaic import board
from bench.data.video_files import Clip, write_mp4
from bench.directions.direction import Direction
from bench.engine import map_images
from bench.errors import BenchError, DataError
from bench.files import read_json, read_rgb, write_csv, write_json, write_png
from bench.images import resize_pil, to_tensor, to_uint8
from bench.inversion.runner import NOT_FINITE, image_seed
from bench.scoring.pair_metrics import score_batch
from bench.video.align import cut, paste
from bench.video.face_track import make_folder
from bench.video.measures import difference, flicker
from bench.video.motion import estimated_motions

if TYPE_CHECKING:
    from torch import Tensor

    from bench.api import Method, PairMetric

RECORD, MEASURES = "video.json", "measures.csv"
SIDE_BY_SIDE, EDITED = "side_by_side.mp4", "edited.mp4"
KINDS = ("inversion", "edit")


@dataclass(frozen=True)
class VideoEdit:
    """One edit of one clip by one method.

    Args:
        squares: (N, 4) where the face is in each frame (bench/video/align.py); None: frames are aligned already.
        seed: of the method's random numbers. out: folder of the results. settings: all that fixes the frames.
    """

    method: Method
    direction: Direction
    degree: float
    clip: Clip
    squares: np.ndarray | None
    seed: int
    out: Path
    settings: Mapping[str, Any]

    def path(self, kind: str, frame: str) -> Path:
        """File of one frame of a kind (source, inversion, edit)."""
        return self.out / "frames" / kind / f"{frame}.png"

    def run(
        self, batch: int, identity: tuple[str, PairMetric] | None, on_done: Callable[[float], None]
    ) -> tuple[list[Path], dict[str, Any]]:
        """Invert and edit all frames, make the films, measure; a frame that fails is recorded and stays the source.

        Args:
            identity: name and metric of the drift, None for none.
        Returns:
            Files written; the content of video.json.
        Raises:
            ShapeError: a direction of another space. DataError: frames. BenchError: other settings' results are here,
                the disk is full, or no frame could be edited. What was there before stays.
        """
        self.direction.check(self.method.generator.n_latent, self.method.generator.style_dim)
        self._check_size()
        self._begin()
        failures: dict[str, str] = {}
        todo = [i for i in self.clip.ids if not all(self._done(kind, i) for kind in KINDS)]
        on_done(len(self.clip.ids) - len(todo))
        for start in range(0, len(todo), batch):
            ids = todo[start : start + batch]
            x = np.stack([self.crop(i) for i in ids])
            for i, pictures in self._computed(ids, to_tensor(x).to(self.method.device), failures).items():
                for kind, picture in zip(KINDS, pictures, strict=True):
                    write_png(self.path(kind, i), picture)
            on_done(len(ids))
        if len(failures) == len(self.clip.ids):
            raise BenchError("no frame could be edited", got=next(iter(failures.values())))
        measured = self._measured(failures, identity)
        write_csv(self.out / MEASURES, ["frame", "task", "metric", "value"], measured)
        films = self._films(failures)
        record = {"settings": dict(self.settings), "frames": len(self.clip.ids), "failures": failures}
        record |= {"fps": self.clip.fps, "complete": True, "means": _means(measured)}
        write_json(self.out / RECORD, record)
        return [*films, self.out / MEASURES, self.out / RECORD], record

    def _check_size(self) -> None:
        height, width = self.clip.size
        if self.squares is None and height != width:
            raise DataError(
                f"frames of {self.clip.name!r} are not square, so they are not aligned",
                got=f"{width}x{height}",
                expected="aligned square frames",
                fix="pass --align mtcnn or --landmarks FILE",
            )

    def _begin(self) -> None:
        """Refuse a folder of other settings; otherwise say whose frames will lie here."""
        if (self.out / RECORD).is_file():
            held = read_json(self.out / RECORD).get("settings", {})
            differing = sorted(k for k in {*self.settings, *held} if held.get(k) != self.settings.get(k))
            if differing:
                raise BenchError(
                    f"{self.out} holds a film made with other settings",
                    got=f"other values of: {', '.join(differing)}",
                    fix="pass --out FOLDER, or move it away",
                )
        else:
            for kind in KINDS:
                make_folder(self.path(kind, "x").parent)
            write_json(self.out / RECORD, {"settings": dict(self.settings), "complete": False})

    def _done(self, kind: str, frame: str) -> bool:
        try:
            return read_rgb(self.path(kind, frame), self.method.generator.resolution) is not None
        except DataError:
            return False

    def crop(self, frame: str) -> np.ndarray:
        """The aligned picture (R, R, 3) uint8 that a method sees of a frame."""
        picture = self.clip.read(frame)
        side = self.method.generator.resolution
        if self.squares is None:
            return resize_pil(picture[None], side, "pil_lanczos")[0]
        return cut(picture, self.squares[self.clip.ids.index(frame)], side)

    def _computed(
        self, ids: Sequence[str], x: Tensor, failures: dict[str, str]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """frame -> (inversion, edit), of those that could be edited; ``failures`` gains the reasons of the others."""
        import torch

        def compute(part: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray] | None]:
            here = slice(ids.index(part[0]), ids.index(part[-1]) + 1)
            self.method.context.image_seeds = [image_seed(self.seed, self.clip.name, i) for i in part]
            with torch.no_grad():
                inversion = self.method.embed(x[here])
                both = [
                    self.method.render(inversion.w_plus, inversion),
                    self.method.render(self.direction.apply(inversion.w_plus, self.degree), inversion),
                ]
            finite = torch.stack([r.flatten(1).isfinite().all(1) for r in both]).all(0).tolist()
            inverted, edited = (to_uint8(torch.nan_to_num(r)) for r in both)
            return {i: (inverted[n], edited[n]) if finite[n] else None for n, i in enumerate(part)}

        parts, failed = map_images(ids, compute)
        found = {i: pictures for part in parts for i, pictures in part.items()}
        failed |= {i: NOT_FINITE for i, pictures in found.items() if pictures is None}
        failures |= {i: failed[i] for i in ids if i in failed}
        return {i: pictures for i, pictures in found.items() if pictures is not None}

    def _films(self, failures: Mapping[str, str]) -> list[Path]:
        write_mp4(self.out / SIDE_BY_SIDE, self._boards(failures), self.clip.fps)
        write_mp4(self.out / EDITED, self._pasted(failures), self.clip.fps)
        return [self.out / SIDE_BY_SIDE, self.out / EDITED]

    def _boards(self, failures: Mapping[str, str]) -> Iterator[np.ndarray]:
        names = ["Source", "Inversion", f"{self.direction.name} {self.degree:+g}"]
        for i in self.clip.ids:
            made = [None if i in failures else read_rgb(self.path(kind, i)) for kind in KINDS]
            yield board([[self.crop(i), *made]], names)

    def _pasted(self, failures: Mapping[str, str]) -> Iterator[np.ndarray]:
        """Whole frames with the edit in them; a frame that failed stays as it was."""
        for n, i in enumerate(self.clip.ids):
            if self.squares is None:
                yield self.crop(i) if i in failures else read_rgb(self.path("edit", i))
                continue
            frame = self.clip.read(i)
            yield frame if i in failures else paste(frame, self.squares[n], read_rgb(self.path("edit", i)))

    def _measured(
        self, failures: Mapping[str, str], identity: tuple[str, PairMetric] | None
    ) -> list[tuple[str, str, str, float]]:
        """(frame, task, metric, value): fidelity, flicker by estimated motion, drift; holds two frames at a time."""
        rows: list[tuple[str, str, str, float]] = []
        first: dict[str, np.ndarray] = {}
        before, errors_before = np.zeros(0), {}
        for n, i in enumerate(self.clip.ids):
            frames = {"source": self.crop(i)}
            if i not in failures:
                frames |= {kind: read_rgb(self.path(kind, i)) for kind in KINDS}
            errors = _errors(frames)
            if "inversion" in errors:
                rows.append((i, "inversion", "mae", float(np.abs(errors["inversion"]).mean())))
            if n:
                motion = estimated_motions(np.stack([before, frames["source"]]))[0]
                both = [task for task in errors if task in errors_before]
                changes = {task: flicker(errors_before[task], errors[task], motion) for task in both}
                rows += [(i, task, "flicker_estimated", v) for task, v in changes.items() if np.isfinite(v)]
            if identity and n:
                kept = [task for task in frames if task in first]
                rows += [(i, task, "drift", _drift(identity, first[task], frames[task])) for task in kept]
            first = first or frames
            before, errors_before = frames["source"], errors
        return rows


def _errors(frames: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the inversion, and what the edit moves; nothing of a frame that failed."""
    if "edit" not in frames:
        return {}
    return {
        "inversion": difference(frames["inversion"], frames["source"]),
        "edit": difference(frames["edit"], frames["inversion"]),
    }


def _drift(identity: tuple[str, PairMetric], first: np.ndarray, frame: np.ndarray) -> float:
    return 1.0 - score_batch(identity[1], identity[0], first[None], frame[None])[0]


def _means(rows: Sequence[tuple[str, str, str, float]]) -> dict[str, float]:
    """``task:metric`` -> mean over frames, six digits."""
    found: dict[str, list[float]] = {}
    for _, task, metric, value in rows:
        found.setdefault(f"{task}:{metric}", []).append(value)
    return {name: round(float(np.mean(values)), 6) for name, values in found.items()}
