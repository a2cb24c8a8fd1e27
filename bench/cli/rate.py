"""``bench rate``: bits against distortion, for methods and picture codecs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import common
from bench.cli.common import examples, open_project, progress, say, show
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.config import Config
    from bench.store import RunStore


def register(app: typer.Typer) -> None:
    app.command(
        "rate",
        help="Quantise what a method keeps of a picture, count the bits, render and score: rate against distortion. "
        "Steps, pictures and metrics are those of the profile (key `rate`).",
        epilog=examples(
            "bench rate --method latent_avg",
            "bench rate --method hfgi --ablation no_ada --limit 8",
            "bench rate --codec jpeg",
        ),
    )(command)


def command(
    method: Annotated[str | None, typer.Option("--method", help="Method id; `bench ls methods` shows all.")] = None,
    ablation: Annotated[str | None, typer.Option("--ablation", help="A named variant from ablations.yaml.")] = None,
    codec: Annotated[str | None, typer.Option("--codec", help="jpeg or webp, in place of a method.")] = None,
    limit: common.Limit = None,
    device: common.Device = None,
    engine: common.Engine = None,
    workers: common.Workers = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    common.check_options(device=device, engine=engine, workers=workers, limit=limit)
    if (method is None) == (codec is None) or (codec and ablation):
        raise BenchError(
            "bench rate measures one method or one codec",
            got="both" if method and codec else "an ablation of a codec" if codec else "neither",
            fix="pass --method NAME [--ablation NAME], or --codec NAME",
        )
    config, store = open_project(root, profile)
    path = (
        _codec(config, store, str(codec), limit)
        if codec
        else _method(config, store, str(method), ablation, limit, device, engine, workers)
    )
    show([path], config.root)


def _method(
    config: Config,
    store: RunStore,
    method: str,
    ablation: str | None,
    limit: int | None,
    device: str | None,
    engine: str | None,
    workers: int | None,
) -> Path:
    import pandas as pd

    from bench.plan import Overrides, plan_run
    from bench.rate import measure_plan
    from bench.rate_results import rate_path, write_rows
    from bench.runid import label

    asked = Overrides(ablation=ablation, device=device)
    plans = [plan_run(config, method, dataset, asked) for dataset in config.settings.datasets]
    images = limit or config.settings.rate.images
    tables, failures = [], {}
    for plan in plans:
        with progress(f"rate {plan.run_id}", min(images, len(plan.ids))) as advance:
            table, failures[plan.dataset] = measure_plan(
                config,
                plan,
                images,
                engine or config.settings.engine,
                workers or config.settings.workers,
                engine_asked=engine is not None,
                on_tick=advance,
            )
        for image_id, why in failures[plan.dataset].items():
            say(f"{plan.run_id}: picture {image_id} failed: {why}")
        tables.append(table)
    path = rate_path(store, config, label(method, ablation or ""), limit)
    write_rows(path, pd.concat(tables, ignore_index=True), failures)
    return path


def _codec(config: Config, store: RunStore, codec: str, limit: int | None) -> Path:
    import pandas as pd

    from bench.manifest import load_manifest
    from bench.rate_codecs import codec_named, measure_codec
    from bench.rate_results import CODEC, rate_path, write_rows

    codec_named(codec)
    images = limit or config.settings.rate.images
    tables = [
        measure_codec(config, codec, dataset, load_manifest(config.root, dataset).select(images))
        for dataset in config.settings.datasets
    ]
    path = rate_path(store, config, CODEC + codec, limit)
    write_rows(path, pd.concat(tables, ignore_index=True), {})
    return path
