"""Training curves through DVCLive: one tsv per quantity, readable by `dvc plots` and by pandas.

Where TensorBoard is installed, curves and pictures go into its event files too.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class CurveLog:
    """Means of everything recorded since the last line.

    Args:
        folder: where DVCLive writes ``plots/metrics/**.tsv`` and ``metrics.json``; event files go into
            ``tensorboard`` beside it.
        step: images drawn so far. Lines beyond it, left by a killed run, are removed: each step stands once in the
            resumed curve.
        again: the line of ``step`` itself is removed too, since it will be written again.
    """

    def __init__(self, folder: Path, step: int, resumed: bool = False):
        from dvclive import Live

        if step:
            self._truncate(folder, step - resumed)
        self._live = Live(
            str(folder), resume=step > 0, save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False
        )
        self._sums: dict[str, list[float]] = {}
        self._events = _events(folder.with_name("tensorboard"), step + 1 - resumed if step else None)

    @staticmethod
    def _truncate(folder: Path, last: int) -> None:
        for table in folder.rglob("*.tsv"):
            head, *lines = table.read_text().splitlines()
            column = head.split("\t").index("step")
            lines_before = [line for line in lines if int(line.split("\t")[column]) <= last]
            table.write_text("\n".join([head, *lines_before]) + "\n")
        summary = folder / "metrics.json"
        if summary.is_file():
            summary.write_text(json.dumps({**json.loads(summary.read_text()), "step": last}))

    def add(self, values: dict[str, float]) -> None:
        """Record one step."""
        for name, value in values.items():
            entry = self._sums.setdefault(name, [0.0, 0])
            entry[0] += value
            entry[1] += 1

    def write(self, step: int) -> dict[str, float]:
        """Write the means under ``step`` and start anew; returns them."""
        means = {name: total / count for name, (total, count) in sorted(self._sums.items())}
        self._sums.clear()
        self._live.step = step
        for name, value in means.items():
            self._live.log_metric(name, value)
            if self._events is not None:
                self._events.add_scalar(name, value, step)
        self._live.make_summary()
        if self._events is not None:
            self._events.flush()
        return means

    def write_figure(self, name: str, sheet: np.ndarray, step: int) -> None:
        """Show a sheet (H, W, 3) uint8 in TensorBoard, where there is one."""
        if self._events is not None:
            self._events.add_image(name, sheet, step, dataformats="HWC")
            self._events.flush()

    def state(self) -> dict[str, list[float]]:
        """Sums not yet written, for the checkpoint."""
        return {name: list(entry) for name, entry in self._sums.items()}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Undo :meth:`state`."""
        self._sums = {name: list(entry) for name, entry in state.items()}


def _events(folder: Path, purge: int | None) -> SummaryWriter | None:
    """Event files, where TensorBoard is installed (extra ``tensorboard``); it hides what it had from ``purge`` on."""
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=purge)
