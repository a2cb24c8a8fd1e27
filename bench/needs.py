"""Which weights a profile needs, and for what. Read from class attributes: nothing is imported or loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench import registry
from bench.config import Config
from bench.manifest import load_manifest
from bench.published.listing import declared
from bench.weights import OPTION_SUFFIX, read_manifest


def domains_of(config: Config) -> list[str]:
    """Domains of the profile's datasets, each once."""
    return list(dict.fromkeys(load_manifest(config.root, d, allow_empty=True).domain for d in config.settings.datasets))


def metric_weights(config: Config, metrics: Iterable[str]) -> dict[str, list[str]]:
    """metric id -> ids of the weights it needs, for those that need any."""
    entries = registry.metrics(config.root).entries()
    found = {name: list(entries[name].attributes.get("weights", ())) for name in metrics if name in entries}
    return {name: ids for name, ids in found.items() if ids}


def profile_needs(config: Config) -> dict[str, list[str]]:
    """Weights id -> what needs it; see :func:`weights_needed`."""
    methods = {m: config.options_for(m) for m in config.methods}
    return weights_needed(config, domains_of(config), methods, config.settings.metrics)


def weights_needed(
    config: Config, domains: Iterable[str], methods: Mapping[str, Mapping[str, Any]], metrics: Iterable[str]
) -> dict[str, list[str]]:
    """Weights id -> what needs it (``generator of faces``, method and metric ids): generators, methods, metrics.

    Args:
        methods: id -> overrides of its options, some of which may name weights. Unknown ids need nothing.
    Raises:
        WeightsError: a method's ``weights`` attribute is no mapping to ids.
    """
    needs: dict[str, list[str]] = {}
    domains, known = list(domains), read_manifest(config.root).all_domains()
    for domain in domains:
        if domain in known:
            needs.setdefault(known[domain].generator, []).append(f"generator of {domain}")
    entries = registry.methods(config.root).entries()
    for method, overrides in methods.items():
        attributes = entries[method].attributes if method in entries else {}
        options = {**attributes.get("options", {}), **overrides}
        chosen = [str(v) for name, v in options.items() if name.endswith(OPTION_SUFFIX) and v]
        own = [i for domain in domains for i in declared(attributes.get("weights", {}), domain)]
        for weights_id in dict.fromkeys([*own, *chosen]):
            needs.setdefault(weights_id, []).append(method)
    for metric, ids in metric_weights(config, metrics).items():
        for weights_id in ids:
            needs.setdefault(weights_id, []).append(metric)
    return needs
