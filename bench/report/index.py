"""reports/index.md: everything a report holds on one page, and where it comes from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.directions.pictures import pictures_of
from bench.files import atomic_write
from bench.report.report_data import ReportData
from bench.store import provenance
from bench.store.paths import read_json

CAPTIONS = {
    "grid": "Source pictures, reconstructions and absolute differences, on images every method has.",
    "metrics": "Each metric over images: distribution, mean with 95 % bootstrap interval.",
    "sheet": "Pictures of the dataset, evenly spaced through its ids.",
}


def write_index(report: ReportData, path: Path, figures: Sequence[tuple[str, Path]], files: Sequence[Path]) -> Path:
    """Write the page.

    Args:
        figures: (kind in CAPTIONS, or a caption; file) of pictures to show. files: other files to link to.
    """
    folder = path.parent
    lines = [f"# Report: {report.scope}", ""]
    lines += [f"- [{_relative(file, folder)}]({_relative(file, folder)})" for file in files]
    for kind, file in figures:
        lines += ["", f"## {CAPTIONS.get(kind, kind)}", "", f"![{file.stem}]({_relative(file, folder)})"]
        if kind == "metrics":
            svg = _relative(file.with_suffix(".svg"), folder)
            lines += ["", f"The same as a vector graphic: [{svg}]({svg})"]
    lines += directions(report, folder)
    lines += ["", "## Runs", "", *runs_table(report), "", "## Provenance", "", *provenance_lines(report), ""]
    atomic_write(path, "\n".join(lines))
    return path


def directions(report: ReportData, folder: Path) -> list[str]:
    """Pictures of the directions of each domain, which lie beside the weights, and their cards."""
    lines: list[str] = []
    for domain in dict.fromkeys(report.manifest(dataset).domain for dataset in report.datasets):
        for caption, file in pictures_of(report.root, domain):
            name = file.stem.rpartition("_")[0]
            card = f"[{name}]({_relative(file.with_name(f'{name}.md'), folder)})"
            lines += ["", f"## {caption}: {card}", "", f"![{file.stem}]({_relative(file, folder)})"]
    return lines


def runs_table(report: ReportData) -> list[str]:
    """Each run with what fixes its numbers."""
    lines = ["| Run | Images | Failed | Options | Config hash | Weights (sha256) | Computed at |", "|" + " :-- |" * 7]
    for dataset in report.datasets:
        for label in report.rows(dataset):
            run = report.run_record(dataset, label)
            weights = ", ".join(f"`{name}` {digest[:12]}" for name, digest in sorted(run.get("weights", {}).items()))
            options = ", ".join(f"{k}={v}" for k, v in sorted(run.get("config", {}).get("options", {}).items()))
            cells = [
                f"`{label}-{dataset}`",
                f"{len(run['ids']):,}",
                str(len(run["failures"])),
                options or "–",
                f"`{run['config_hash']}`",
                weights or "–",
                _revision(_record(report, f"{label}-{dataset}").get("git", {})),
            ]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def provenance_lines(report: ReportData) -> list[str]:
    """Settings, data, code and machines behind the numbers."""
    config = report.config
    lines = [
        f"- Profile `{config.profile}`, protocol `{report.protocol}`, seed {config.seed}, "
        f"{config.bootstrap:,} bootstrap resamples."
    ]
    for dataset in report.datasets:
        manifest = report.manifest(dataset)
        lines.append(
            f"- Dataset `{dataset}`: {manifest.count:,} images, {manifest.resolution} px, licence "
            f"{manifest.licence}, manifest sha256 `{manifest.sha256[:16]}`."
        )
    lines.append(f"- This page: code at {_revision(provenance.git_revision(report.root))}.")
    records = [_record(report, f"{m}-{d}") for d in report.datasets for m in report.rows(d)]
    machines = dict.fromkeys(machine_line(r["machine"]) for r in records if "machine" in r)
    lines += [f"- Runs computed on {text}." for text in machines]
    if report.timings:
        record = next(iter(report.timings.values()))
        load = record.get("load_average")
        lines.append(
            f"- Timed on {machine_line(record['machine'])}; {record['device']}, torch threads: {record['threads']}, "
            f"{record['precision']}" + (f"; load average before: {load[0]:g}" if load else "") + "."
        )
    run = report.run_record(report.datasets[0], report.labels(report.datasets[0])[0])
    versions = ", ".join(f"{name} {number}" for name, number in sorted(run.get("versions", {}).items()))
    return lines + ([f"- Versions: {versions}."] if versions else [])


def machine_line(machine: dict[str, Any]) -> str:
    """``AMD EPYC, 2 cores, 8 GiB, Linux x86_64``."""
    gpus = ", ".join(machine.get("gpus", []))
    parts = [
        machine.get("cpu"),
        f"{machine.get('cores')} cores",
        f"{machine.get('memory_gib')} GiB",
        gpus,
        f"{machine.get('system')} {machine.get('architecture')}",
    ]
    return ", ".join(str(p) for p in parts if p)


def _record(report: ReportData, run_id: str) -> dict[str, Any]:
    """The record of a run's making; {} where it was not made here (it is kept neither by git nor by DVC)."""
    path = report.store.record_path(report.scope, run_id)
    return read_json(path) if path.is_file() else {}


def _revision(git: dict[str, Any]) -> str:
    """``abc123def456``, with `+ changes` for a tree that differed from it."""
    if not git.get("revision"):
        return "unknown revision"
    return f"`{git['revision'][:12]}`" + (" + changes" if git.get("dirty") else "")


def _relative(file: Path, folder: Path) -> str:
    return Path(os.path.relpath(file, folder)).as_posix()
