"""``bench time``: seconds per image on this machine."""

from __future__ import annotations

from bench.cli import common
from bench.cli.common import open_project, say, show, verb


@verb(
    "Time methods on this machine: warm-up, embed and render apart, batch 1 and larger, memory. "
    "Never part of another stage; results name the machine.",
    "bench time",
    "bench time --method latent_avg --device cpu",
)
def command(
    method: common.Methods = None,
    dataset: common.Datasets = None,
    ablation: common.Ablation = None,
    device: common.Device = None,
    precision: common.Precision = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    project = open_project(root, profile, device=device, precision=precision)
    config, store = project.config, project.store
    from bench import registry
    from bench.data.manifest import load_manifest
    from bench.inversion.timing import time_run

    known = registry.methods(config.root)
    for name in method or config.methods:
        cls = known.load(name)
        for dataset_id in dataset or config.settings.datasets:
            reason = cls.skip(load_manifest(config.root, dataset_id).info)
            if reason is not None and not (method and dataset):
                say(f"{name} skips {dataset_id}: {reason}")
                continue
            say(f"timing {name} on {dataset_id}")
            show([time_run(name, dataset_id, config, store, device, precision, ablation)], config.root)
