"""``bench explain``: what a metric is, and what each choice in it moves."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli import common
from bench.cli.common import open_project, verb


@verb(
    "Definition and signature of a metric, what other groups compute under its name, and one run scored again "
    "with one factor changed at a time.",
    "bench explain ssim_gauss",
    "bench explain mae --method latent_avg --limit 32",
    "bench explain fid --no-rescore",
)
def command(
    metric: Annotated[str, typer.Argument(help="Metric id; `bench ls metrics` lists them.")],
    method: Annotated[
        str | None, typer.Option("--method", help="Run to score again. Default: the first method that is no control.")
    ] = None,
    dataset: common.OneDataset = None,
    variant: Annotated[str, typer.Option("--variant", "--ablation", help="The variant that was run.")] = "",
    limit: Annotated[int, typer.Option("--limit", help="Only the first so many images.")] = 64,
    rescore: Annotated[bool, typer.Option("--rescore/--no-rescore", help="Score a run again.")] = True,
    scope: common.Scope = None,
    device: common.Device = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    project = open_project(root, profile, scope=scope, device=device, limit=limit)
    config = project.config
    from bench import registry
    from bench.analysis import explain

    registry.metrics(config.root).entry(metric)
    print("\n".join(explain.describe(config.root, metric)))
    pairs = registry.metrics(config.root).load(metric)
    from bench.api import PairMetric

    if not rescore or not issubclass(pairs, PairMetric):
        return
    known = registry.methods(config.root)
    chosen = method or next(
        (m for m in config.methods if not known.entry(m).attributes.get("control")), config.methods[0]
    )
    known.entry(chosen)
    run = project.store.run(project.scope, chosen, dataset or config.settings.datasets[0], variant)
    moved = explain.rescore(config.root, run, metric, limit, config.seed, project.device)
    images = moved[1].change.n if len(moved) > 1 and moved[1].change else limit
    print(f"\nRun `{run.name}`, {images} images, one factor changed at a time:\n")
    print("\n".join(explain.as_markdown(moved)))
