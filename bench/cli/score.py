"""``bench score``: compare reconstructions with their sources, image by image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import common
from bench.cli.common import open_project, progress, say, show, verb
from bench.errors import DataError


@verb(
    "Compute every metric for every picture of a run; tidy rows go to results/scores/.",
    "bench score --method latent_avg",
    "bench score --method latent_avg --metric mae --metric ssim_gauss",
    "bench score --scope local",
)
def command(
    method: common.Methods = None,
    dataset: common.Datasets = None,
    variant: Annotated[str | None, typer.Option("--variant", "--ablation", help="The variant that was run.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Metric id; may be repeated. Default: the profile's.")
    ] = None,
    scope: common.Scope = None,
    device: common.Device = None,
    engine: common.Engine = None,
    workers: common.Workers = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    modules = ("bench.scoring.pair_metrics", *common.SCORING)
    project = open_project(root, profile, *modules, scope=scope, device=device, engine=engine, workers=workers)
    config, store, where = project.config, project.store, project.scope
    from bench import registry
    from bench.scoring.score_run import score_run

    for name in method or []:
        registry.methods(config.root).entry(name)
    runs = [
        run
        for run in store.runs(where)
        if (not method or run.name.method in method)
        and (not dataset or run.name.dataset in dataset)
        and (variant is None or run.name.variant == variant)
    ]
    wanted = {
        (m, d) for m in method or [] for d in dataset or (config.settings.datasets if where == config.profile else [])
    }
    for m, d in sorted(wanted - {(r.name.method, r.name.dataset) for r in runs}):
        store.run(where, m, d, variant or "").read()  # raises: absent or half written, with the command that mends it
    if not runs:
        raise DataError(
            f"there are no complete runs in scope {where!r}" + (f" of {', '.join(method)}" if method else ""),
            fix="run `bench run` first, or pass --scope; `bench ls` shows names",
        )
    written: list[Path] = []  # one file for all datasets of a method
    for run in runs:
        with progress(f"score {run.name}", len(run.read()["ids"])) as advance:
            result = score_run(
                config,
                store,
                where,
                run.name.method,
                run.name.variant,
                run.name.dataset,
                metric,
                project.device,
                project.execution(advance),
            )
        for name, command in result.missing.items():
            say(f"metric {name} was left out: {command}")
        if result.stale:
            say(
                f"{run.name}: dropped earlier rows of {', '.join(result.stale)}: they belong to another state of the "
                "run; score these metrics again"
            )
        if result.path not in written:
            written.append(result.path)
            show([result.path], config.root)
