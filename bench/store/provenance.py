"""Where results come from: versions, code, machine, git revision. Deterministic facts and accidents are kept apart.

``run.json`` holds what fixes the numbers; the record under results/records/ holds when and where they were made.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.names import canonical_json
from bench.store.imports import Sources, package_root

PACKAGES = (
    "hfgi-bench",
    "torch",
    "numpy",
    "pillow",
    "scipy",
    "safetensors",
    "efficientnet_lite_pytorch",
    "anny",
    "numba",
)
RUNNER = "bench/inversion/runner.py"  # where the code of a run begins


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can move a number; packages that are absent are left out."""
    packages = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return packages


def code_sha256(extra: Iterable[Path] = ()) -> str:
    """Hash the code that makes a run: the runner, the ``extra`` files (a method's own), and all that these import.

    Raises:
        BenchError: a file is not there or cannot be read as Python.
    """
    sources = _package_sources()
    starts = [
        path.relative_to(sources.root) if path.is_relative_to(sources.root) else path for path in map(Path, extra)
    ]
    files = sources.closure([RUNNER, *(path.as_posix() for path in starts)])
    digest = hashlib.sha256()
    for file in sorted(files):
        name = Path(file).name if Path(file).is_absolute() else file
        digest.update(name.encode() + b"\0" + (sources.root / file).read_bytes() + b"\0")
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _package_sources() -> Sources:
    """The imports of the installed package, read once: its files do not change while it runs."""
    return Sources(package_root())


def git_revision(root: Path) -> dict[str, Any]:
    """{"revision": full hash or None, "dirty": tracked files differ from it}."""

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    revision = git("rev-parse", "HEAD")
    changes = git("status", "--porcelain", "--untracked-files=no") if revision else None
    return {"revision": revision, "dirty": bool(changes)}


def machine() -> dict[str, Any]:
    """What the machine is, without its name or its owner's."""
    import psutil

    facts: dict[str, Any] = {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        facts["cuda"] = torch.version.cuda
    return facts


def machine_id() -> str:
    """A short name for folders of timings: processor, cores and, where there is one, the accelerator."""
    facts = machine()
    words = [facts["cpu"], f"{facts['cores']}c", *facts.get("gpus", [])[:1]]
    return re.sub(r"[^a-z0-9]+", "_", " ".join(words).lower()).strip("_")


def cpu_name() -> str:
    """The processor's marketing name, without frequency and trade marks."""
    name = ""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        pass
    name = name or platform.processor() or platform.machine()
    return re.sub(r"\s+", " ", re.sub(r"\(r\)|\(tm\)|cpu|@.*", "", name, flags=re.IGNORECASE)).strip()


def now() -> str:
    """UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def record(root: Path, verb: str, started: str, seconds: float, **facts: Any) -> dict[str, Any]:
    """What is kept beside a result about its making; ``facts`` are added as they are."""
    return {
        "verb": verb,
        "started": started,
        "seconds": round(seconds, 3),
        "git": git_revision(root),
        "machine": machine(),
        "versions": versions(),
        **facts,
    }


def ids_sha256(ids: Iterable[str]) -> str:
    """One hash for an ordered list of ids."""
    return hashlib.sha256(canonical_json(list(ids)).encode()).hexdigest()
