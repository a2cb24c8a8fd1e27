"""Every path under results/ and reports/. What lies inside one run's folder is the business of bench/store/run.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.files import read_json, write_json
from bench.names import RunName, label, parse_label, parse_run_id, run_id
from bench.store.run import Run

__all__ = ["Run", "RunStore", "read_json", "write_json"]


@dataclass(frozen=True)
class RunStore:
    """Paths of a project's results.

    Args:
        root: the project folder.
        main_scope: the profile params.yaml names; its summary is ``results/summary.csv``, any other scope's lies in
            ``results/<scope>/``.
    """

    root: Path
    main_scope: str

    @property
    def results(self) -> Path:
        """Folder of all results."""
        return Path(self.root) / "results"

    @property
    def code_dir(self) -> Path:
        """Hashes of code, what stages of the pipeline depend on; see bench/planning/code_hashes.py."""
        return self.results / "code"

    def run(self, scope: str, method: str, dataset: str, variant: str = "") -> Run:
        """The handle of one run, whether it exists yet or not."""
        run_id(method, dataset, variant)
        return Run(self.results / "runs" / scope / label(method, variant) / dataset, RunName(method, variant, dataset))

    def runs(self, scope: str) -> list[Run]:
        """All complete runs of a scope, sorted by folder."""
        found = sorted((self.results / "runs" / scope).glob("*/*/run.json"))
        return [self.run(scope, parse_label(p.parts[-3])[0], p.parts[-2], parse_label(p.parts[-3])[1]) for p in found]

    def record_path(self, scope: str, run_id: str) -> Path:
        """File of a finished run's record."""
        return self.results / "records" / scope / f"{run_id}.json"

    def scores_path(self, scope: str, label: str) -> Path:
        """Tidy rows of one method or variant on all datasets of a scope."""
        return self.results / "scores" / scope / f"{label}.parquet"

    def scores(self, scope: str) -> list[Path]:
        """Files of scores of a scope, sorted."""
        return sorted((self.results / "scores" / scope).glob("*.parquet"))

    def sets_dir(self, scope: str, label: str, dataset: str) -> Path:
        """Features and values of set metrics of one run; see bench/scoring/set_metrics.py."""
        return self.results / "sets" / scope / label / dataset

    def timing_dir(self, scope: str) -> Path:
        """Folder of a scope's timings."""
        return self.results / "timing" / scope

    def timing_path(self, scope: str, machine: str, run_id: str) -> Path:
        """A folder per row, then per machine: the pipeline times each method by itself, every machine keeps its own."""
        return self.timing_dir(scope) / parse_run_id(run_id).label / machine / f"{run_id}.json"

    def prepared_path(self, profile: str) -> Path:
        """What ``bench prepare --profile`` leaves for the pipeline: manifest hashes of the verified datasets."""
        return self.results / "prepared" / f"{profile}.json"

    def summary_path(self, scope: str) -> Path:
        """File of a scope's summary."""
        return self._summary_dir(scope) / "summary.csv"

    def metrics_path(self, scope: str) -> Path:
        """File of a scope's metrics, for ``dvc metrics``."""
        return self._summary_dir(scope) / "metrics.json"

    def reports_dir(self, scope: str) -> Path:
        """reports/ for the pipeline, reports/<scope>/ for anything else."""
        reports = Path(self.root) / "reports"
        return reports if scope == self.main_scope else reports / scope

    def _summary_dir(self, scope: str) -> Path:
        return self.results if scope == self.main_scope else self.results / scope
