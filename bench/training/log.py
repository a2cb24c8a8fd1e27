"""Training curves through DVCLive: one tsv per quantity, readable by `dvc plots` and by pandas."""

from __future__ import annotations

import json
from pathlib import Path


class CurveLog:
    """Means of everything recorded since the last line.

    Args:
        folder: where DVCLive writes ``plots/metrics/**.tsv`` and ``metrics.json``.
        step: images drawn so far. Lines beyond it, left by a killed run, are removed: each step stands once in the
            resumed curve.
        again: the line of ``step`` itself is removed too, since it will be written again.
    """

    def __init__(self, folder: Path, step: int, again: bool = False):
        from dvclive import Live

        if step:
            self._truncate(folder, step - again)
        self._live = Live(
            str(folder), resume=step > 0, save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False
        )
        self._sums: dict[str, list[float]] = {}

    @staticmethod
    def _truncate(folder: Path, last: int) -> None:
        for table in folder.rglob("*.tsv"):
            head, *lines = table.read_text().splitlines()
            column = head.split("\t").index("step")
            kept = [line for line in lines if int(line.split("\t")[column]) <= last]
            table.write_text("\n".join([head, *kept]) + "\n")
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
        self._live.make_summary()
        return means

    def state(self) -> dict[str, list[float]]:
        """Sums not yet written, for the checkpoint."""
        return {name: list(entry) for name, entry in self._sums.items()}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Undo :meth:`state`."""
        self._sums = {name: list(entry) for name, entry in state.items()}
