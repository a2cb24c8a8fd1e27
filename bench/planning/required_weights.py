"""Which weights a profile needs, and for what. Read from class attributes: nothing is imported or loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench import registry
from bench.config.project import Config
from bench.data.manifest import load_manifest
from bench.names import parse_label
from bench.weights.listing import declared
from bench.weights.manifest import chosen_ids, read_manifest


def domains_of(config: Config) -> list[str]:
    """Domains of the profile's datasets, each once."""
    return list(dict.fromkeys(load_manifest(config.root, d, allow_empty=True).domain for d in config.settings.datasets))


def metric_weights(config: Config, metrics: Iterable[str]) -> dict[str, list[str]]:
    """metric id -> ids of the weights it needs, for those that need any."""
    entries = registry.metrics(config.root).entries()
    needed = {name: list(entries[name].attributes.get("weights", ())) for name in metrics if name in entries}
    return {name: ids for name, ids in needed.items() if ids}


def profile_needs(config: Config) -> dict[str, list[str]]:
    """Weights id -> what needs it; see :func:`weights_needed`."""
    rows = {}
    for label in config.labels:
        method, variant = parse_label(label)
        rows[label] = config.options_for(method, variant or None)
    return weights_needed(config, domains_of(config), rows, config.settings.metrics)


def weights_needed(
    config: Config, domains: Iterable[str], methods: Mapping[str, Mapping[str, Any]], metrics: Iterable[str]
) -> dict[str, list[str]]:
    """Weights id -> what needs it (``generator of faces``, method and metric ids): generators, methods, metrics.

    Args:
        methods: id, or id.variant -> overrides of its options, some of which may name weights. Unknown ids need
            nothing.
    Raises:
        WeightsError: a method's ``weights`` attribute is no mapping to ids.
    """
    needs: dict[str, list[str]] = {}
    domains, known = list(domains), read_manifest(config.root).all_domains()
    for domain in domains:
        if domain in known:
            needs.setdefault(known[domain].generator, []).append(f"generator of {domain}")
    entries = registry.methods(config.root).entries()
    for label, overrides in methods.items():
        method = parse_label(label)[0]
        attributes = entries[method].attributes if method in entries else {}
        here = attributes.get("domain_options", {})
        options = {d: {**attributes.get("options", {}), **here.get(d, {}), **overrides} for d in domains}
        chosen = [i for domain in domains for i in chosen_ids(options[domain], domain)]
        own = [i for domain in domains for i in declared(attributes.get("weights", {}), domain)]
        for weights_id in dict.fromkeys([*own, *chosen]):
            needs.setdefault(weights_id, []).append(label)
    for metric, ids in metric_weights(config, metrics).items():
        for weights_id in ids:
            needs.setdefault(weights_id, []).append(metric)
    return needs
