"""Rate: the floats a method keeps of one picture to render it again (code, maps, tuned weights)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench import api


class Metric(api.RunMetric):
    """``rate_floats`` of the run record. Lower is cheaper; it is a price beside the distortion, not a quality."""

    title, unit = "Rate", "floats"
    higher_is_better, ideal = False, 0.0
    source = "count of the tensors in Inversion (w_plus and memory) per image, before any coding"
    details = "floats per image"

    def from_run(self, run: Mapping[str, Any]) -> float:
        """Floats per image, as recorded by the runner."""
        value = run.get("rate_floats")
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
            raise api.DataError(
                f"run {run.get('run_id', '?')} records no rate",
                got=f"rate_floats = {value!r}",
                expected="floats kept per image",
                fix="run the method again with this version",
            )
        return float(value)
