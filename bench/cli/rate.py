"""``bench rate``: bits against distortion and edit error, for methods and picture codecs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bench import registry
from bench.cli import common
from bench.cli.common import Project, open_project, progress, say, show, verb
from bench.config.project import LOCAL, Config
from bench.config.sections import RateSettings
from bench.errors import BenchError, UnknownName

if TYPE_CHECKING:
    import pandas as pd

    Found = tuple[list[pd.DataFrame], dict[str, dict[str, str]]]  # rows and failures, by dataset


@verb(
    "Quantise what a method keeps of a picture, count the bits, render, edit and score: rate against "
    "distortion and edit error. Steps, pictures and metrics are those of the profile (key `rate`).",
    "bench rate --method latent_avg",
    "bench rate --method hfgi --ablation no_ada --limit 8",
    "bench rate --codec jpeg",
)
def command(
    method: common.OneMethod = None,
    ablation: common.Ablation = None,
    codec: Annotated[str | None, typer.Option("--codec", help="jpeg or webp, in place of a method.")] = None,
    limit: common.Limit = None,
    device: common.Device = None,
    engine: common.Engine = None,
    workers: common.Workers = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    if (method is None) == (codec is None) or (codec and ablation):
        raise BenchError(
            "bench rate measures one method or one codec",
            got="both" if method and codec else "an ablation of a codec" if codec else "neither",
            fix="pass --method NAME [--ablation NAME], or --codec NAME",
        )
    modules = ("bench.rate.sweep", *common.SCORING)
    project = open_project(root, profile, *modules, device=device, engine=engine, workers=workers, limit=limit)
    config = project.config
    from bench.store.rate import rate_path, write_rows

    name = _name(config, method, ablation, codec)
    asked = config.settings.rate or RateSettings()
    asked = asked.model_copy(update={"images": limit or asked.images})
    found: Found = ([], {})
    if config.settings.rate is None and limit is None:  # a stage of the pipeline whose profile has no rates
        say(f"profile {config.profile!r} asks for no rates")
    elif codec:
        found = _codec(config, codec, asked)
    else:
        found = _method(project, str(method), ablation, asked, device)
    scope = config.profile if limit is None else LOCAL  # another number of pictures than the profile's
    path = rate_path(project.store, scope, name)
    write_rows(path, *found)
    show([path], config.root)


def _name(config: Config, method: str | None, ablation: str | None, codec: str | None) -> str:
    """The file's name, of things that exist."""
    from bench.names import label
    from bench.store.rate import CODEC, CODEC_TITLES

    if codec:
        if codec not in CODEC_TITLES:
            raise UnknownName.of("codec", codec, CODEC_TITLES)
        return CODEC + codec
    registry.methods(config.root).entry(str(method))
    if ablation:
        config.ablation(ablation, method)
    return label(str(method), ablation or "")


def _method(project: Project, method: str, ablation: str | None, asked: RateSettings, device: str | None) -> Found:
    from bench.inversion.plan import Overrides, plan_run
    from bench.rate.edits import moves_of
    from bench.rate.sweep import check_metrics, measure_plan

    config = project.config
    check_metrics(config.root, asked.metrics)
    tables, failures = [], {}
    for dataset in config.settings.datasets:
        plan = plan_run(config, method, dataset, Overrides(ablation=ablation, device=device))
        moves, told = moves_of(config, project.store, plan, project.execution())
        for line in told:
            say(f"{plan.run_id}: {line}")
        with progress(f"rate {plan.run_id}", min(asked.images, len(plan.ids))) as advance:
            table, failures[dataset] = measure_plan(config, plan, asked, moves, project.execution(advance))
        for image_id, why in failures[dataset].items():
            say(f"{plan.run_id}: picture {image_id} failed: {why}")
        tables.append(table)
    return tables, failures


def _codec(config: Config, codec: str, asked: RateSettings) -> Found:
    from bench.rate.codecs import measure_codec

    return [measure_codec(config, asked, codec, dataset) for dataset in config.settings.datasets], {}
