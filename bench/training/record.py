"""What a method's training leaves behind while it runs: checkpoints, curves, grids, lines on the terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.files import write_png
from bench.training import checkpoint
from bench.training.data import PackedImages
from bench.training.log import CurveLog
from bench.training.loop import Loop
from bench.training.spent import KEY, Spent
from bench.training.validation import validate


class Record:
    """Only the leading process writes.

    A checkpoint is written before anything else of its step, so that nothing that fails while a training is looked at
    (a full disk, a network that cannot invert) costs a step. What was to be looked at there is looked at on resume.

    Args:
        loop: the training, restored from ``saved``. held_out: held-out pictures. folder: of the run.
        saved: the checkpoint, or None for a start.
    """

    def __init__(self, loop: Loop, held_out: PackedImages, folder: Path, saved: Mapping[str, Any] | None):
        self.loop, self.held_out, self.folder = loop, held_out, folder
        self.clock, self.since = time.monotonic(), loop.position
        self.spent = Spent(saved)
        self.log: CurveLog | None = None
        if not loop.world.leads:
            return
        resumed = saved is not None and saved.get("unseen", False)
        self.log = CurveLog(folder / "curves", loop.position, resumed)
        if saved is not None:
            self.log.restore(saved["log"])
        if resumed:
            self._look(False)

    def add(self, report: dict[str, float], last: bool) -> None:
        """Record a step; save, look and write when it is time, and after the last."""
        if self.log is None:
            return
        self.log.add(report)
        if last or self._due(self.loop.preset.checkpoint_every):
            loop = self.loop
            state = {"preset": loop.preset.identity(), "pass": loop.micro, "loop": loop.state()}
            state |= {"log": self.log.state(), "unseen": True, KEY: self.spent.state()}
            checkpoint.save(self.folder / "checkpoint.pt", state)
        self._look(last)

    def _look(self, last: bool) -> None:
        preset, log = self.loop.preset, self.log
        assert log is not None  # of the leading process
        if last or self._due(preset.validate_every):
            log.add(validate(self.loop, self.held_out, self._show))
        if last or self._due(preset.log_every):
            self._print(log.write(self.loop.position))

    def _show(self, sheet: np.ndarray) -> None:
        grids = self.folder / "grids"
        grids.mkdir(parents=True, exist_ok=True)
        write_png(grids / f"{self.loop.position:08d}.png", sheet)
        assert self.log is not None
        self.log.write_figure("held_out", sheet, self.loop.position)

    def _due(self, every: int) -> bool:
        """Whether a multiple of ``every`` was reached by the last batch."""
        return self.loop.position // every != (self.loop.position - self.loop.preset.batch) // every

    def _print(self, means: dict[str, float]) -> None:
        position = self.loop.position
        rate = (position - self.since) / max(time.monotonic() - self.clock, 1e-9)
        values = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        print(f"{self.loop.preset.method} {position:>8} pictures  {rate:.1f} pictures/s  {values}", flush=True)
        self.clock, self.since = time.monotonic(), position


def drive(loop: Loop, record: Record, stop_after: int | None) -> None:
    """Make steps until the preset's last picture, or ``stop_after`` pictures in all, of which some are to be drawn."""
    end = min(loop.preset.images, stop_after or loop.preset.images)
    for report in loop.steps():
        last = loop.position >= end
        record.add(report, last)
        if last:
            return
