"""The folder of one run, and the rules that keep it whole.

A run is written in shards. A shard is a folder that appears under its final name in one rename, so it is either
complete or absent. When all shards are there they are joined, ``run.json`` is written last and the shards go. A run
killed at any moment is therefore absent, resumable or complete, and nothing else.

Results of two configurations never meet: work goes on from what is there only under an equal configuration hash (over
settings, data, weights and code) and equal versions of the libraries that can move a number.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, DataError, duplicates, name_some
from bench.files import only_writer, read_json, write_error, write_json
from bench.names import Identity, RunName
from bench.store.latents import join_codes, read_codes

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Run:
    """One run's folder. ``state()`` says absent, partial, complete or foreign (no known layout)."""

    folder: Path
    name: RunName

    @property
    def scope(self) -> str:
        """Scope of the run: a profile, or ``local``."""
        return self.folder.parent.parent.name

    @property
    def images(self) -> Path:
        """Folder of the reconstructions."""
        return self.folder / "images"

    @property
    def codes(self) -> Path:
        """File of the latents: image ids and (N, L, D) ``w_plus``."""
        return self.folder / "w_plus.safetensors"

    @property
    def steps(self) -> Path:
        """Codes after each step, of a method that keeps them; other runs have no such file."""
        return self.folder / "steps.safetensors"

    @property
    def json(self) -> Path:
        """Written last."""
        return self.folder / "run.json"

    @property
    def shards(self) -> Path:
        """Folder of the shards of an unfinished run."""
        return self.folder / "shards"

    @property
    def plan(self) -> Path:
        """Settings of a run in progress."""
        return self.shards / "plan.json"

    def image(self, image_id: str) -> Path:
        """File of one reconstruction."""
        return self.images / f"{image_id}.png"

    def shard(self, index: int) -> Path:
        """Folder of one shard."""
        return self.shards / f"{index:05d}"

    @property
    def command(self) -> str:
        """What makes the run, for messages; own settings (``--set``, ``--limit``) are not in it."""
        command = f"bench run --method {self.name.method} --dataset {self.name.dataset}"
        option = "--variant" if self.scope == "local" else "--ablation"
        return f"{command} {option} {self.name.variant}" if self.name.variant else command

    def state(self) -> str:
        """Return ``complete``, ``partial``, ``foreign`` (files of something else) or ``absent``."""
        if self.json.is_file():
            return "complete"
        if self.plan.is_file():
            return "partial"
        shards = list(self.shards.glob("[!.]*")) if self.shards.is_dir() else []
        others = [p for p in self.folder.glob("*") if p != self.shards] if self.folder.is_dir() else []
        return "foreign" if shards or others else "absent"  # a plan that could not be written leaves empty folders

    def read(self) -> dict[str, Any]:
        """run.json of a complete run.

        Raises:
            DataError: the run is absent or half written; the message says which command completes it.
        """
        state = self.state()
        if state != "complete":
            raise DataError(
                f"run {self.name} has no complete results in {self.folder}",
                got=f"state {state!r}",
                expected="run.json",
                fix=f"run `{self.command}`" + (" again; it resumes" * (state == "partial")),
            )
        return read_json(self.json)

    def read_codes(self) -> tuple[list[str], np.ndarray]:
        """(ids, w_plus (N, L, D) float32) of a complete run."""
        return read_codes(self.codes)

    def read_steps(self) -> tuple[list[str], np.ndarray] | None:
        """(ids, codes after each step (N, S, L, D) float32) of a complete run; None where its method keeps none."""
        return read_codes(self.steps, "steps") if self.steps.is_file() else None

    def begin(
        self,
        config_hash: str,
        config: Mapping[str, Any],
        overwrite: bool = False,
        fresh: bool = False,
        versions: Mapping[str, str] | None = None,
    ) -> bool:
        """Open the run for writing; False when it is complete with these very settings and there is nothing to do.

        Args:
            overwrite: replace what differs; equal work is kept: a complete run is left alone, a partial one resumes.
            fresh: compute everything again, whatever is here.
            versions: of the libraries in use; None compares the configuration alone.
        Raises:
            BenchError: the folder holds other results than these settings give, and ``overwrite`` is not given.
        """
        if fresh:
            self.discard()
        asked = Identity(config_hash, config, versions)
        state = self.state()
        if state != "absent":
            try:  # other versions spoil a run in progress; a complete one says itself which it was made with
                self._check_held(state, asked if overwrite or state == "partial" else asked._replace(versions=None))
            except BenchError:
                if not overwrite:
                    raise
                self.discard()
                state = "absent"
        if state == "complete":
            self._remove(self.shards)  # left by a kill after run.json was written
            return False
        if state == "absent":
            write_json(self.plan, asked.record())
        for leftover in self.shards.glob(".*.tmp"):
            self._remove(leftover)
        return True

    def _check_held(self, state: str, asked: Identity) -> None:
        """Raise unless what is here is whole and of the same identity."""
        if state == "foreign":
            raise BenchError(
                f"{self.folder} holds files that are no run",
                got=name_some(sorted(os.listdir(self.folder)), 4),
                expected="an empty folder",
                fix="move them away, or pass --overwrite",
            )
        held = read_json(self.json if state == "complete" else self.plan)
        if difference := asked.difference(held):
            raise BenchError(
                f"run {self.name} exists with other settings in {self.folder}",
                got=difference,
                expected="the same settings",
                fix="pass --overwrite to replace it, or --variant NAME to keep both",
            )
        if state == "complete":
            self.check_complete(held["ids"], held["failures"])

    def discard(self) -> None:
        """Delete the run: renamed first, so that a kill half-way leaves nothing that looks like a run."""
        old = self.folder.with_name(f".{self.folder.name}.{os.getpid()}.old")
        try:
            if self.folder.exists():
                os.replace(self.folder, old)
        except OSError as error:
            raise write_error(self.folder, error) from None
        for leftover in self.folder.parent.glob(f".{self.folder.name}.*.old"):
            self._remove(leftover)

    def _remove(self, folder: Path) -> None:
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise write_error(folder, error) from None

    def has_shard(self, index: int, ids: Sequence[str]) -> bool:
        """True when shard ``index`` is committed for exactly these ids."""
        path = self.shard(index) / "shard.json"
        return path.is_file() and read_json(path)["ids"] == list(ids)

    def commit_shard(self, index: int, ids: Sequence[str], fill: Callable[[Path], dict[str, Any]]) -> None:
        """Let ``fill(folder)`` write a shard and return its record, then publish it in one rename.

        If another process has published the same shard meanwhile, ours is dropped: shards are idempotent.
        """
        target = self.shard(index)
        working = self.shards / f".{index:05d}.{os.getpid()}.tmp"
        try:
            self._remove(working)
            working.mkdir(parents=True)
            record = fill(working)
            write_json(working / "shard.json", {**record, "ids": list(ids)})
            if target.exists() and not self.has_shard(index, ids):
                self._remove(target)
            if not target.exists():
                os.replace(working, target)
        except OSError as error:
            raise write_error(target, error) from None
        finally:
            shutil.rmtree(working, ignore_errors=True)

    def finish(self, shard_ids: Sequence[Sequence[str]], record: Mapping[str, Any]) -> dict[str, Any]:
        """Join all shards into the final layout, check completeness, write run.json, drop the shards.

        Args:
            shard_ids: ids of every shard, in order.
            record: what run.json says besides ids, failures, n and rate.
        Returns:
            The content of run.json.
        """
        parts = [self._read_shard(i, ids) for i, ids in enumerate(shard_ids)]
        failures = {k: v for part in parts for k, v in part["failures"].items()}
        rates = sorted({part["rate_floats"] for part in parts if part["rate_floats"] is not None})
        ids = [i for chunk in shard_ids for i in chunk]
        self._remove(self.images)  # of an earlier attempt at joining: these very shards make it anew
        try:
            self.images.mkdir(parents=True)
            for index, chunk in enumerate(shard_ids):
                for image_id in chunk:
                    if image_id not in failures:
                        _link(self.shard(index) / "images" / f"{image_id}.png", self.image(image_id))
            self._join_codes([self.shard(i) for i in range(len(shard_ids))])
        except OSError as error:
            raise write_error(self.folder, error) from None
        content = {
            **record,
            "ids": ids,
            "n": len(ids) - len(failures),
            "failures": failures,
            "rate_floats": rates[0] if len(rates) == 1 else (rates or None),
        }
        self.check_complete(ids, failures)
        write_json(self.json, content)
        self._remove(self.shards)
        return content

    def _join_codes(self, shards: Sequence[Path]) -> None:
        kept = join_codes([shard / self.codes.name for shard in shards], self.codes)
        traces = [path for shard in shards if (path := shard / self.steps.name).is_file()]
        traced = join_codes(traces, self.steps, "steps") if traces else kept
        if traced != kept:
            raise DataError(
                f"run {self.name} has the steps of some images only",
                got=f"{len(traced)} of {len(kept)}",
                expected="steps of every image, or of none",
                fix="correct `embed` of the method",
            )

    def _read_shard(self, index: int, ids: Sequence[str]) -> dict[str, Any]:
        if not self.has_shard(index, ids):
            raise DataError(
                f"shard {index} of run {self.name} is missing",
                expected=str(self.shard(index)),
                fix="run the same `bench run` command again; it resumes",
            )
        return read_json(self.shard(index) / "shard.json")

    def check_complete(self, ids: Sequence[str], failures: Mapping[str, str]) -> None:
        """Exactly the expected ids, once each: all have a picture or a recorded failure, and nothing else is there."""
        have = {p.stem for p in self.images.glob("*.png")} | set(failures)
        missing, extra = [i for i in ids if i not in have], sorted(have - set(ids))
        if missing or extra or duplicates(ids):
            got = [f"missing {name_some(missing)}"] * bool(missing) + [f"unexpected {name_some(extra)}"] * bool(extra)
            got += [f"twice {name_some(duplicates(ids))}"] * bool(duplicates(ids))
            raise DataError(
                f"run {self.name} does not hold exactly its {len(ids)} images",
                got="; ".join(got),
                expected="every selected id once",
                fix=f"compute it anew: `{self.command} --fresh`",
            )

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run against a second writer; the system lets go of it even after kill -9."""
        return only_writer(self.folder.parent / f".{self.folder.name}.lock", f"run {self.name}")


def _link(source: Path, target: Path) -> None:
    """A second name for a finished file where the file system can, else a copy; repeatable after a kill."""
    if target.exists():
        target.unlink()
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
