"""tables/editing.md and .tex: edits at matched strength, how the strengths were matched, and what needs no target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.edit_results import Edits, per_image
from bench.images import atomic_write
from bench.report.edited import edit_head, edits_of
from bench.report.layout import Cell, Table, decimals, interval, number, to_latex, to_markdown
from bench.report.material import Material
from bench.statistics import statistics

AGAINST_TARGET = ("mae_face", "mae_rest", "ssim_face", "ssim_rest")  # behind the profile's metrics
BESIDE = ("identity", "attribute_error", "leakage", "background", "background_drift")


def methods_of(material: Material, dataset: str) -> dict[str, Edits]:
    """Edits of the rows of Table 1, in its order; variants have a table of their own."""
    found = edits_of(material, dataset)
    return {label: found[label] for label in material.labels(dataset) if label in found}


def write_editing(material: Material, folder: Path) -> list[Path]:
    """editing.md and .tex where edits were scored; otherwise nothing."""
    tables = [t for dataset in material.datasets if (e := methods_of(material, dataset)) for t in _tables(material, e)]
    if not tables:
        return []
    atomic_write(folder / "editing.md", "# Editing\n\n" + "\n".join(to_markdown(t) for t in tables))
    atomic_write(folder / "editing.tex", "% needs: booktabs, graphicx\n" + "\n".join(to_latex(t) for t in tables))
    return [folder / "editing.md", folder / "editing.tex"]


def _tables(material: Material, edits: Mapping[str, Edits]) -> list[Table]:
    tables = [_strengths(material, edits), _measures(material, edits), _apart(material, edits), _free(material, edits)]
    for n, table in enumerate(tables):
        table.label = f"tab:editing-{n}"
    return tables


def measures_of(edits: Mapping[str, Edits]) -> list[str]:
    """Measures at matched strength that any row has: the profile's metrics, then the suite's own."""
    some = next(iter(edits.values()))
    wanted = [*some.record["settings"]["metrics"], *AGAINST_TARGET, *BESIDE]
    have = {m for one in edits.values() for m in one.rows.loc[one.rows["task"] == "edit", "metric"]}
    return [m for m in wanted if m in have]


def _strengths(material: Material, edits: Mapping[str, Edits]) -> Table:
    """Edit x method -> degree, or why there is none."""
    some = next(iter(edits.values()))
    settings = some.record["settings"]
    rows = []
    for name, one in some.matched.items():
        left = len(some.record["no_room"][name])
        told = [edits[label].matched[name].told() for label in edits]
        texts = [name, f"{one.change:+g}", f"{one.judged:+.3g}", str(one.n), str(left), *told]
        rows.append([Cell(text) for text in texts])
    calibration = settings["calibration"]
    caption = (
        "Policy: for each method and edit, the degree along the direction at which the judge sees, on average over "
        f"calibration pictures (of `{calibration['dataset']}`, none of which is scored), the change that it sees "
        "between them and their exact targets; linear between "
        f"{', '.join(f'{d:g}' for d in settings['degrees'])} standard deviations of sampled codes. What is not reached "
        "at the last degree is not scored. The judge labelled no direction."
    )
    heads = ["Edit", "Change", "Seen by the judge", "Calibration pictures", "No room", *_titles(material, edits)]
    notes = [
        "Change: of the factor, in its unit (0 to 1; years; radians). Seen: the mark to reach, smaller where pictures "
        "hide the factor. No room: scored pictures whose factor cannot change by so much; they are left out of it."
    ]
    for label, edited in edits.items():
        failed = {**edited.record["failures"], **edited.record["calibration_failures"]}
        if failed:
            named = "; ".join(f"{i}: {why}" for i, why in list(failed.items())[:3])
            notes.append(f"`{label}` failed on {len(failed)} pictures: {named}.")
    return Table("Strengths", caption, heads, [("", rows)], notes)


def _measures(material: Material, edits: Mapping[str, Edits]) -> Table:
    """Method x measure over all edits, then for each edit."""
    measures, count = measures_of(edits), 0
    groups = []
    names = ["", *next(iter(edits.values())).matched]
    for name in names:
        columns = []
        for measure in measures:
            table = per_image({label: _only(one, name) for label, one in edits.items()}, measure)
            count = max(count, len(table))
            columns.append(_column(material, table, list(edits), edit_head(material, measure)))
        rows = [[Cell(t), *(c[k] for c in columns)] for k, t in enumerate(_titles(material, edits))]
        groups.append((name or "all edits", rows))
    caption = (
        "Edits at matched strength. Distances are to the exact target render; in the face and outside it by part "
        f"labels. Means with 95 % bootstrap intervals (BCa, {material.config.bootstrap:,} resamples of pictures) over "
        f"{count} pictures; a picture's value is the mean over the edits that all methods reach on it. Identity kept "
        "is to the source; attribute error is the judge's distance from the target; leakage is the mean change of the "
        "other attributes beyond the target's, both in standard deviations of the attribute; background is all but "
        "the head, to the source and to the method's own inversion."
    )
    return Table("Edits", caption, ["Method", *[edit_head(material, m) for m in measures]], groups)


def _only(one: Edits, name: str) -> Edits:
    """The rows of one edit, or all for ""."""
    if not name:
        return one
    edit = {e["name"]: e["direction"] for e in one.record["edits"]}[name]
    rows = one.rows[(one.rows["direction"] == edit) & (one.rows["change"] == one.matched[name].change)]
    return Edits(one.label, rows, one.record, one.folder)


def _column(material: Material, table, labels: list[str], head: str) -> list[Cell]:
    if not len(table):
        return [Cell("–") for _ in labels]
    found = statistics([table[label].to_numpy() for label in labels], material.config.bootstrap, material.config.seed)
    places = decimals(one.mean for one in found)
    best = (max if head.endswith("↑") else min)(one.mean for one in found)
    return [
        Cell(number(one.mean, places), interval(one.ci_low, one.ci_high, places), len(found) > 1 and one.mean == best)
        for one in found
    ]


def _apart(material: Material, edits: Mapping[str, Edits]) -> Table:
    """Paired differences to the profile's reference."""
    reference = next(iter(edits.values())).record["settings"]["reference"]
    measures = measures_of(edits)
    rows = []
    for label in [name for name in edits if name != reference and reference in edits]:
        cells = [Cell(material.method(label).title)]
        for measure in measures:
            both = per_image({k: edits[k] for k in (label, reference)}, measure)
            if not len(both):
                cells.append(Cell("–"))
                continue
            difference = (both[label] - both[reference]).to_numpy()
            found = statistics([difference], material.config.bootstrap, material.config.seed)[0]
            places = decimals([found.mean]) + 1
            cells.append(Cell(f"{found.mean:+.{places}f}", interval(found.ci_low, found.ci_high, places)))
        rows.append(cells)
    caption = (
        f"Method − `{reference}`, picture by picture over the edits both reach, with 95 % bootstrap intervals of the "
        "paired differences."
    )
    return Table("Paired differences", caption, ["Method", *[edit_head(material, m) for m in measures]], [("", rows)])


def _free(material: Material, edits: Mapping[str, Edits]) -> Table:
    """What needs no exact target."""
    rows = []
    heads = ["Method", "Round trip, codes ↓", "Round trip, picture ↓"]
    sets = [value.metric for value in next(iter(edits.values())).sets]
    some = next(iter(edits.values())).record["settings"]
    cycles = some["cycles"]
    for label, one in edits.items():
        cells = [Cell(material.method(label).title)]
        for measure in ("code", "image"):
            cells += _column(material, per_image({label: one}, measure, "round_trip"), [label], "")
        last = one.rows[(one.rows["task"] == "cycle") & (one.rows["degree"] == cycles)]
        for measure in ("mae", "drift", "identity"):
            values = last.loc[last["metric"] == measure, "value"]
            cells.append(Cell(number(float(values.mean()), 4) if len(values) else "–"))
        values = {v.metric: v for v in one.sets}
        for name in sets:
            found = values.get(name)
            cells.append(Cell(number(found.value, 1), interval(found.ci_low, found.ci_high, 1)) if found else Cell("–"))
        cells.append(Cell(*jump(one)))
        rows.append(cells)
    heads += [f"MAE after {cycles} inversions ↓", "Drift since the first ↓", "Identity then ↑"]
    heads += [f"{material.metric(name).title} of edits ↓" for name in sets] + ["Largest step of a sweep ↓"]
    caption = (
        "Round trip (after e4e's latent editing consistency): invert, edit, invert the edit, edit back; distance of "
        "the codes (mean over rows of the Euclidean one) and of the pictures from where it began. Inversions of "
        f"inversions, {cycles} in a row. Distance of the sets of all edits and all targets (sources where there are "
        f"no targets). Sweep: {some['frames']} frames from one end of a direction to the other; the largest mean "
        "absolute difference of two neighbouring frames, behind it that of a typical pair (median)."
    )
    return Table("Without a target", caption, heads, [("", rows)])


def jump(one: Edits) -> tuple[str, str]:
    """(largest step between frames of the sweeps, ``median ...``)."""
    steps = one.rows.loc[one.rows["task"] == "sweep", "value"].to_numpy()
    return (number(float(steps.max()), 4), f"median {np.median(steps):.4f}") if len(steps) else ("–", "")


def _titles(material: Material, edits: Mapping[str, Edits]) -> list[str]:
    return [material.method(label).title for label in edits]
