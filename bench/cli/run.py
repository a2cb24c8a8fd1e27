"""``bench run``: invert a dataset with a method."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from bench import registry
from bench.cli import common
from bench.cli.common import Project, open_project, progress, say, show, verb
from bench.config.project import LOCAL, Config, parse_settings
from bench.data.manifest import load_manifest
from bench.errors import BenchError
from bench.store.paths import write_json


@verb(
    "Invert a dataset with a method: a picture and a code for every image. A killed run resumes, "
    "with --overwrite too, if settings, data, weights, code and library versions are still the same. "
    "With settings other than the profile's, results go to scope 'local' and never replace the pipeline's.",
    "bench run --method latent_avg",
    "bench run --method optimize_w_plus --limit 4 --set steps=20",
    "bench run --method copy_input --dataset annyfaces_1500 --dry-run",
    "bench run --method latent_avg --fresh",
)
def command(
    method: common.OneMethod = None,
    dataset: common.Datasets = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Option of the method, key=value; may be repeated.")
    ] = None,
    ablation: common.Ablation = None,
    variant: Annotated[str | None, typer.Option("--variant", help="A name for a run with own --set values.")] = None,
    limit: common.Limit = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace results of other settings, code or versions; equal ones are kept or resumed."
        ),
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute everything again, whatever is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved plan as JSON and stop.")] = False,
    device: common.Device = None,
    batch_size: common.BatchSize = None,
    precision: common.Precision = None,
    engine: common.Engine = None,
    workers: common.Workers = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    project = open_project(
        root,
        profile,
        "bench.inversion.runner",
        device=device,
        precision=precision,
        engine=engine,
        workers=workers,
        batch_size=batch_size,
        limit=limit,
    )
    config = project.config
    if method is None and ablation is None:
        raise BenchError("no method given", fix="pass --method ID; `bench ls methods` shows all")
    if ablation and variant:
        raise BenchError("--ablation and --variant exclude each other", fix="an ablation is a variant: drop --variant")
    method = method or config.ablation(str(ablation)).method
    from bench.inversion.plan import Overrides, plan_run

    asked = Overrides(parse_settings(settings or []), ablation, variant, limit, precision, batch_size, device)
    plans = [plan_run(config, method, name, asked) for name in _datasets(config, method, dataset)]
    for plan in plans:
        if dry_run:
            print(
                json.dumps(
                    {
                        **plan.record(),
                        "scope": plan.scope,
                        "device": plan.device,
                        "batch_size": plan.batch_size,
                        "engine": project.engine,
                        "folder": str(plan.run.folder),
                    },
                    indent=1,
                )
            )
            continue
        _carry_out(project, plan, overwrite, fresh)


def _datasets(config: Config, method: str, asked: list[str] | None) -> list[str]:
    """The named datasets, or those of the profile that the method can run on; none at all is an error."""
    if asked:
        return asked
    cls = registry.methods(config.root).load(method)
    reasons = {name: cls.skip(load_manifest(config.root, name).info) for name in config.settings.datasets}
    able = [name for name, reason in reasons.items() if reason is None]
    for name, reason in reasons.items():
        if reason is not None and able:
            say(f"{method} skips {name}: {reason}")
    return able or config.settings.datasets  # all declined: planning the first raises the reason


def _carry_out(project: Project, plan: Any, overwrite: bool, fresh: bool) -> None:
    from bench.inversion.runner import run
    from bench.store import provenance

    started, begin = provenance.now(), time.perf_counter()
    begun = False

    with progress(plan.run_id, len(plan.ids)) as advance:

        def on_plan(todo: int, total: int) -> None:
            nonlocal begun
            begun = True
            if todo < total:
                say(f"{plan.run_id}: resuming, {total - todo} of {total} images are done")
            advance(total - todo)

        result = run(
            plan,
            project.execution(advance),
            overwrite,
            fresh,
            on_plan=on_plan,
        )
    if not begun:
        say(f"{plan.run_id}: complete already, nothing to do (--fresh computes it again)")
        return show([plan.run.folder], project.root)
    _report(project, plan, result, started, time.perf_counter() - begin)


def _report(project: Project, plan: Any, result: Mapping[str, Any], started: str, seconds: float) -> None:
    """Keep when and where the run was made; tell what came out and what to do next."""
    from bench.store import provenance

    facts = {
        "run_id": plan.run_id,
        "device": plan.device,
        "batch_size": plan.batch_size,
        "config_hash": plan.config_hash,
    }
    record = provenance.record(project.root, "run", started, seconds, **facts)
    write_json(project.store.record_path(plan.scope, plan.run_id), record)
    failed = len(result["failures"])
    say(
        f"{plan.run_id}: {result['n']} images in {seconds:.1f} s"
        + (f", {failed} failed (see run.json)" if failed else "")
    )
    show([plan.run.folder], project.root)
    if plan.scope == LOCAL:
        variant = f" --variant {plan.variant}" if plan.variant else ""
        which = f"--method {plan.method} --dataset {plan.dataset}{variant}"
        say(f"next: bench score --scope local {which} && bench aggregate --scope local")
