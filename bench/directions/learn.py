"""`bench directions`: learn a domain's directions, measure what they do, write weights with a card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.directions.files import KIND, write_set
from bench.directions.learning import Learned, Recipe, Request, read_recipe, way
from bench.directions.samples import Samples, effects, labelled
from bench.directions.strips import CAPTIONS
from bench.errors import BenchError
from bench.files import atomic_write
from bench.generator import SharedGenerator
from bench.names import check_id
from bench.predictors import attributes
from bench.seeds import seed_for
from bench.weights import manifest as weights
from bench.weights.manifest import enter

FOLDER = "directions"
MEASURED_ON = 128  # codes from another seed than those learned from
Table = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Made:
    """Args: files: written. learned: directions. table: direction -> attribute -> change; empty without labels."""

    files: list[Path]
    learned: Learned
    table: Table


def recipe_path(root: Path, domain: str) -> Path:
    """Where a domain's recipe lies."""
    return root / weights.FOLDER / FOLDER / f"{domain}.yaml"


def make(
    root: Path,
    method: str,
    domain: str,
    device: torch.device,
    samples: int | None = None,
    on_done: Callable[[float], None] = lambda n: None,
) -> Made:
    """Learn, measure, write ``weights/directions/<domain>_<method>.safetensors``, .json, .md and the manifest's entry.

    Args:
        method: one of :func:`bench.directions.learning.ways`. samples: for the recipe's number of them.
        on_done: called with numbers of labelled samples.
    Raises:
        BenchError: unknown method or domain, a recipe that cannot be, no judge where labels are needed.
    """
    module = way(method)
    recipe = read_recipe(recipe_path(root, domain))
    if samples is not None:
        recipe = recipe.model_copy(update={"samples": samples})
    generator = SharedGenerator.load(domain, device, root)
    used = weights.needed(root, domain, {})
    read = None
    if module.NEEDS_LABELS or attributes.names(root, domain):
        read, theirs = attributes.load_predictor(root, domain, device, recipe.judge)
        used |= theirs
    if module.NEEDS_LABELS and read is not None:
        stored = root / weights.FOLDER / "cache" / "samples" / _fingerprint(used, recipe)
        drawn = labelled(generator, read, recipe.samples, recipe.seed, stored, on_done)
    else:
        drawn = Samples(generator.sample_w(recipe.samples, recipe.seed)[:, 0], {})
    learned = module.learn(Request(generator, drawn, recipe))
    for one in learned.directions:
        one.check(generator.n_latent, generator.style_dim)
    measured = read is not None and module.NEEDS_LABELS
    table, errors = _table(generator, read, learned, drawn, recipe) if measured else ({}, {})
    return Made(_write(root, method, domain, recipe, learned, table, errors, used, module.TITLE), learned, table)


def _table(generator, read, learned: Learned, drawn: Samples, recipe: Recipe) -> tuple[Table, Table]:
    """Change of each direction's attribute, and of those of the others, on codes of another seed; standard errors."""
    requested_attributes = [requested.attribute for requested in recipe.labelled.values()]
    attribute_std = {name: float(np.std(drawn.labels[name])) for name in dict.fromkeys(requested_attributes)}
    latents = generator.sample_w(MEASURED_ON, seed_for(recipe.seed, "effects"))
    return effects(generator, read, learned.directions, latents, attribute_std)


def _fingerprint(used: dict[str, str], recipe: Recipe) -> str:
    text = json.dumps([sorted(used.items()), recipe.seed])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(root, method, domain, recipe, learned: Learned, table, errors, used, title) -> list[Path]:
    base = root / weights.FOLDER
    file = base / FOLDER / f"{domain}_{method}.safetensors"
    name = f"{domain}_{method}"
    check_id("weights", name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"cannot write {file.parent}", got=error.strerror) from None
    about = {"method": method, "domain": domain, "made_with": used, "unit": learned.unit}
    digest = write_set(file, learned.directions, about)
    numbers = {"measured": learned.measured, "effects": table, "unit": learned.unit, "made_with": used}
    numbers |= {"effects_standard_error": errors, "effects_codes": MEASURED_ON} if table else {}
    card = file.with_suffix(".md")
    atomic_write(file.with_suffix(".json"), json.dumps(numbers, indent=1) + "\n")
    atomic_write(card, card_text(name, title, domain, recipe, learned, table, errors))
    enter(
        root,
        {
            "id": name,
            "file": file.relative_to(base).as_posix(),
            "sha256": digest,
            "size_bytes": file.stat().st_size,
            "domain": domain,
            "kind": KIND,
            "licence": "MIT",
            "card": card.relative_to(base).as_posix(),
        },
    )
    return [file, file.with_suffix(".json"), card, weights.manifest_path(root)]


def card_text(name: str, title: str, domain: str, recipe: Recipe, learned: Learned, table: Table, errors: Table) -> str:
    """The card of a set, from what was measured."""
    method = name.removeprefix(f"{domain}_")
    quantities = list(dict.fromkeys(q for row in learned.measured.values() for q in row))
    lines = [
        f"| {one} | " + " | ".join(f"{row.get(q, '')}" for q in quantities) + " |"
        for one, row in learned.measured.items()
    ]
    return f"""# Directions: {name}

Made by `bench directions --method {method} --domain {domain}` ({title}). This file is generated.

Degree 1 is {learned.unit}. {recipe.samples:,} codes of seed {recipe.seed} were drawn.

| direction | {" | ".join(quantities)} |
|---|{"---|" * len(quantities)}
{chr(10).join(lines)}
{_quality(recipe) if table else ""}{_effects(name, table, errors) if table else ""}
Use: `bench edit --method METHOD --direction {learned.directions[0].name} --degree 1.5 --images DIR`. File: float32
safetensors, SHA-256 in `weights/manifest.yaml`; licence MIT.
"""


def _quality(recipe: Recipe) -> str:
    given = "; ".join(f"{k} given {', '.join(v.given)}" for k, v in recipe.labelled.items() if v.given)
    return f"""
accuracy: of the separating plane on held-out clear cases, mean over both ends (chance 0.5); accuracy_all: on all
held-out samples, above or below the median; rank_corr: between position along the direction and attribute there;
kept: cosine with the unconditional normal. Conditional: {given or "none"}.
Labels are those of {recipe.judge}; its own errors (see its card) bound all of these.
"""


def _effects(name: str, table: Table, errors: Table) -> str:
    columns = list(next(iter(table.values())))
    lines = [f"| {one} | " + " | ".join(f"{row[c]:+.2f}" for c in columns) + " |" for one, row in table.items()]
    images = "\n\n".join(f"![{caption}]({file.format(name)})" for file, caption in CAPTIONS.items())
    largest = max(value for row in errors.values() for value in row.values())
    return f"""
## What they do

Mean change of each attribute for one degree, in its standard deviations among samples, on {MEASURED_ON} codes of
another seed, rendered and judged; standard errors are {largest:.3f} at most. The diagonal is meant, the rest is
entanglement.

| direction | {" | ".join(columns)} |
|---|{"---|" * len(columns)}
{chr(10).join(lines)}

{images}
"""
