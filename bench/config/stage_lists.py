"""Lists of params.yaml beside its methods and variants: whose edits, clips and rates are measured.

They name some of those, and of what they name a profile has the part that it has methods and variants for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench import registry
from bench.errors import BenchError, UnknownName

if TYPE_CHECKING:
    from bench.config.project import Config

OF_METHODS, OF_VARIANTS = ("edits", "video", "rate"), ("edit_ablations", "rate_ablations")
OF_OTHERS = ("rate_codecs",)
KEYS = (*OF_METHODS, *OF_VARIANTS, *OF_OTHERS)
# The section of a profile that says how; a profile without it has nothing of the list.
SECTIONS = {"edit_ablations": "edits", "rate_ablations": "rate", "rate_codecs": "rate"}


def checked(config: Config, methods: Sequence[str], variants: Sequence[str]) -> dict[str, list[str]]:
    """List -> what the profile has of it; its own methods of edits, where it names them.

    Args:
        config: ``asked_lists`` is what params.yaml says. methods, variants: those of params.yaml.
    Raises:
        UnknownName: there is no such method. BenchError: it is none of the table's.
    """
    lists = {}
    for key in OF_METHODS:
        _check(config, config.requested_lists[key], f"`{key}` of params.yaml", methods)
        lists[key] = [name for name in config.requested_lists[key] if name in config.methods]
    for key in OF_VARIANTS:
        for name in config.requested_lists[key]:
            if name not in variants:
                raise BenchError(
                    f"variant {name!r} stands under `{key}` of params.yaml alone",
                    expected=f"one of: {', '.join(variants) or '(none)'}",
                    fix=f"add `{name}: {config.ablations[name].method}` to `ablations`, or take it out of `{key}`",
                )
        lists[key] = [name for name in config.requested_lists[key] if name in config.listed_ablations]
    edits = config.settings.edits
    if edits and edits.methods:
        _check(config, edits.methods, f"`edits: methods` of profiles/{config.profile}.yaml", config.methods)
        lists["edits"] = list(edits.methods)
    lists |= {key: list(config.requested_lists[key]) for key in OF_OTHERS}
    return {key: names if getattr(config.settings, SECTIONS.get(key, key)) else [] for key, names in lists.items()}


def _check(config: Config, requested: Sequence[str], where: str, methods: Sequence[str]) -> None:
    for name in requested:
        if name in methods:
            continue
        if name not in (known := registry.methods(config.root).entries()):
            raise UnknownName.of(f"method under {where}:", name, known)
        raise BenchError(
            f"method {name!r} stands under {where}, but is none of the table's",
            expected=f"one of: {', '.join(methods) or '(none)'}",
            fix="add it to `methods`, or take it out of that list",
        )


def settings(lists: Mapping[str, Sequence[str]], requested: Mapping[str, Sequence[str]]) -> list[str]:
    """What DVC must be told (``key=value``, ``~key.name``) for params.yaml to have the lists of a profile."""
    plain = (*OF_METHODS, *OF_OTHERS)
    arguments = [
        f"{key}=[{','.join(lists[key])}]" for key in plain if lists and list(lists[key]) != list(requested[key])
    ]
    return arguments + [f"~{key}.{n}" for key in OF_VARIANTS if lists for n in requested[key] if n not in lists[key]]
