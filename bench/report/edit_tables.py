"""tables/editing.md and .tex: edits at matched strength, how the strengths were matched, and what needs no target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.analysis.statistics import statistics
from bench.edits.results import Edits, per_image
from bench.edits.set_metrics import set_values
from bench.report.edit_scores import edit_head, edits_of
from bench.report.layout import Cell, Table, decimals, interval, number
from bench.report.pages import write_pages
from bench.report.report_data import ReportData
from bench.scoring.set_metrics import SetValue

AGAINST_TARGET = ("mae_face", "mae_rest", "ssim_face", "ssim_rest")  # behind the profile's metrics
BESIDE = ("identity", "attribute_error", "leakage", "background", "background_drift")


def methods_of(report: ReportData, dataset: str) -> dict[str, Edits]:
    """Return the scored edits of the rows of Table 1, in its order; variants have a table of their own."""
    found = edits_of(report, dataset)
    return {label: found[label] for label in report.labels(dataset) if label in found}


def write_edit_tables(report: ReportData, folder: Path) -> list[Path]:
    """Write editing.md and .tex where edits were scored; otherwise nothing."""
    tables = [t for dataset in report.datasets if (e := methods_of(report, dataset)) for t in _tables(report, e)]
    if not tables:
        return []
    return write_pages(folder, "editing", "Editing", tables)


def fixed(edits: Mapping[str, Edits]) -> bool:
    """Return whether degrees were given: then neither attributes nor targets are known."""
    return next(iter(edits.values())).record["settings"].get("policy") == "fixed"


def _tables(report: ReportData, edits: Mapping[str, Edits]) -> list[Table]:
    strengths = _given if fixed(edits) else _strengths
    tables = [strengths(report, edits), _measures(report, edits), _apart(report, edits), _free(report, edits)]
    for n, table in enumerate(tables):
        table.label = f"tab:editing-{n}"
    return tables


def measures_of(edits: Mapping[str, Edits]) -> list[str]:
    """Return the measures that any row has: the profile's metrics, then the suite's own."""
    some = next(iter(edits.values()))
    wanted = [*some.record["settings"]["metrics"], *AGAINST_TARGET, *BESIDE]
    have = {m for one in edits.values() for m in one.rows.loc[one.rows["task"] == "edit", "metric"]}
    return [m for m in wanted if m in have]


def _strengths(report: ReportData, edits: Mapping[str, Edits]) -> Table:
    """Edit x method -> degree and what it reaches on scored pictures, or why there is none."""
    some = next(iter(edits.values()))
    settings = some.record["settings"]
    rows = []
    for name, one in some.matched.items():
        left = sum(len(some.record.get(key, {}).get(name, [])) for key in ("no_room", "unseen"))
        due = _mean(next((e for e in edits.values() if e.matched[name].degree is not None), some), name, "change_due")
        texts = [name, f"{one.change:+g}", f"{one.judged:+.3g}", str(one.n), str(left), due]
        rows.append([*map(Cell, texts), *(_strength(one, name) for one in edits.values())])
    calibration = settings["calibration"]
    caption = (
        "Each method's edit strength is set on calibration images so that the mean predicted attribute change equals "
        "that of the ground-truth edits. The strength is the degree along the direction; it is interpolated linearly "
        f"between {', '.join(f'{d:g}' for d in settings['degrees'])} standard deviations of sampled latents. Calibration "
        f"images are of `{calibration['dataset']}`, and none of them is scored. An edit that does not reach this change "
        "at the last degree is not scored. The attribute predictor labelled no direction."
    )
    heads = ["Edit", "Change", "Predicted change", "Calibration images", "Left out", "Predicted in scored targets"]
    heads += _titles(report, edits)
    notes = [
        "Change: of the renderer's factor, in its unit (0 to 1; years; radians). Predicted change: of the ground-truth "
        "edits of the calibration images, as the attribute predictor sees it; smaller than the change where images hide "
        "the factor. Left out: scored images whose factor cannot change by so much, or whose target equals the source; "
        "no measure covers them. Methods: the degree, and the predicted change that it reaches on the scored images, "
        "from inversion to edit; at equal strength it is about the same for every method."
    ]
    return Table("Strengths", caption, heads, [("", rows)], notes + _failures(edits))


def _given(report: ReportData, edits: Mapping[str, Edits]) -> Table:
    """Edit -> the degree that every method is moved by."""
    some = next(iter(edits.values()))
    direction = {e["name"]: e["direction"] for e in some.record["edits"]}
    rows = [[Cell(direction[name]), Cell(f"{one.change:+g}")] for name, one in some.matched.items()]
    caption = (
        "Every method is moved by the same given degree; no attribute was predicted. Equal degrees are not equal edits: "
        "a method whose latents respond less to a direction changes less, and preserves more for that reason alone."
    )
    return Table("Strengths", caption, ["Direction", "Degree"], [("", rows)], _failures(edits))


def _failures(edits: Mapping[str, Edits]) -> list[str]:
    notes = []
    for label, edited in edits.items():
        failed = {**edited.record["failures"], **edited.record["calibration_failures"]}
        if failed:
            named = "; ".join(f"{i}: {why}" for i, why in list(failed.items())[:3])
            notes.append(f"`{label}` failed on {len(failed)} pictures: {named}.")
    return notes


def _strength(one: Edits, name: str) -> Cell:
    matched = one.matched[name]
    return Cell(matched.told(), f"reached {_mean(one, name, 'change')}" if matched.degree is not None else "")


def _mean(one: Edits, name: str, measure: str) -> str:
    """Mean of a measure over the scored pictures of one edit."""
    rows = _only(one, name).rows
    values = rows.loc[(rows["task"] == "edit") & (rows["metric"] == measure), "value"]
    return f"{values.mean():+.3g}" if len(values) else "–"


def _measures(report: ReportData, edits: Mapping[str, Edits]) -> Table:
    """Method x measure over all edits, then for each edit."""
    measures, groups = measures_of(edits), []
    for name in ["", *next(iter(edits.values())).matched]:
        here = {label: _only(one, name) for label, one in edits.items()}
        tables = [per_image(here, measure) for measure in measures]
        heads = [edit_head(report, measure) for measure in measures]
        columns = [_column(report, t, list(edits), head) for t, head in zip(tables, heads, strict=True)]
        rows = [[Cell(t), *(c[k] for c in columns)] for k, t in enumerate(_titles(report, edits))]
        groups.append((f"{name or 'all edits'}, {counted([len(t) for t in tables if len(t)])}", rows))
    over = (
        f"Means with 95 % bootstrap intervals (BCa, {report.config.bootstrap:,} resamples of pictures) over the "
        "pictures counted in each heading; a picture's value is the mean over the edits that all methods reach on it"
    )
    caption = (
        "Edits at matched strength. Distances are to the exact target render; in the face and outside it by part "
        f"labels. {over}, and pictures without a target of an edit are in none of its numbers. Identity kept "
        "is to the source; attribute error is the distance of predicted attributes from the target's; leakage is the "
        "mean change of the other attributes beyond the target's, both in standard deviations of the attribute; "
        "background is all but the head, to the source and to the method's own inversion."
    )
    if fixed(edits):
        caption = (
            f"Edits at fixed degrees, the same for every method; there are no targets. {over}. Identity kept is to the "
            "source; background (where there are masks) is to the source and to the method's own inversion."
        )
    return Table("Edits", caption, ["Method", *[edit_head(report, m) for m in measures]], groups)


def _only(one: Edits, name: str) -> Edits:
    """The rows of one edit, or all for ""."""
    if not name:
        return one
    edit = {e["name"]: e["direction"] for e in one.record["edits"]}[name]
    rows = one.rows[(one.rows["direction"] == edit) & (one.rows["change"] == one.matched[name].change)]
    return replace(one, rows=rows)


def counted(counts: Sequence[int], what: str = "pictures") -> str:
    """Write a count: ``12 pictures``; ``10 to 12 pictures`` where measures have different ones; ``no pictures``."""
    low, high = (min(counts), max(counts)) if counts else (0, 0)
    if not high:
        return f"no {what}"
    what = what.removesuffix("s") if high == 1 else what
    return f"{high} {what}" if low == high else f"{low} to {high} {what}"


def _column(report: ReportData, table, labels: list[str], head: str) -> list[Cell]:
    if not len(table):
        return [Cell("–") for _ in labels]
    found = statistics([table[label].to_numpy() for label in labels], report.config.bootstrap, report.config.seed)
    places = decimals(one.mean for one in found)
    best = (max if head.endswith("↑") else min)(one.mean for one in found)
    return [
        Cell(number(one.mean, places), interval(one.ci_low, one.ci_high, places), len(found) > 1 and one.mean == best)
        for one in found
    ]


def _apart(report: ReportData, edits: Mapping[str, Edits]) -> Table:
    """Paired differences to the profile's reference."""
    reference = next(iter(edits.values())).record["settings"]["reference"]
    measures = measures_of(edits)
    rows = []
    for label in [name for name in edits if name != reference and reference in edits]:
        cells = [Cell(report.method(label).title)]
        for measure in measures:
            both = per_image({k: edits[k] for k in (label, reference)}, measure)
            if not len(both):
                cells.append(Cell("–"))
                continue
            difference = (both[label] - both[reference]).to_numpy()
            found = statistics([difference], report.config.bootstrap, report.config.seed)[0]
            places = decimals([found.mean]) + 1
            cells.append(Cell(f"{found.mean:+.{places}f}", interval(found.ci_low, found.ci_high, places)))
        rows.append(cells)
    caption = (
        f"Method − `{reference}`, picture by picture over the edits both reach, with 95 % bootstrap intervals of the "
        "paired differences."
    )
    return Table("Paired differences", caption, ["Method", *[edit_head(report, m) for m in measures]], [("", rows)])


def _free(report: ReportData, edits: Mapping[str, Edits]) -> Table:
    """What needs no exact target: each column over the edits and pictures that all methods have."""
    some = next(iter(edits.values())).record["settings"]
    cycles, labels = some["cycles"], list(edits)
    last = {label: replace(one, rows=one.rows[one.rows["degree"] == cycles]) for label, one in edits.items()}
    wanted = [(edits, "round_trip", "code", "Round trip, codes ↓")]
    wanted += [(edits, "round_trip", "image", "Round trip, picture ↓")]
    wanted += [(last, "cycle", "mae", f"MAE after {cycles} inversions ↓")]
    wanted += [(last, "cycle", "drift", "Drift since the first ↓"), (last, "cycle", "identity", "Identity then ↑")]
    tables = [per_image(of, measure, task) for of, task, measure, _ in wanted]
    heads = [head for *_, head in wanted]
    columns = [_column(report, t, labels, head) for t, head in zip(tables, heads, strict=True)]
    sets, count = _sets(report, edits)
    for name, values in sets.items():
        heads.append(f"{report.metric(name).title} of edits ↓")
        columns.append(_of_sets(values, labels))
    heads.append("Largest step of a sweep ↓")
    steps = jump(edits)
    columns.append([Cell(*steps[label]) for label in labels])
    rows = [[Cell(t), *(c[k] for c in columns)] for k, t in enumerate(_titles(report, edits))]
    caption = (
        "Round trip (after e4e's latent editing consistency): invert, edit, invert the edit, edit back; distance of "
        "the codes (mean over rows of the Euclidean one) and of the pictures from where it began, over "
        f"{counted([len(t) for t in tables[:2] if len(t)])} and the edits that all methods reach on them. Inversions of "
        f"inversions, {cycles} in a row, of {counted([len(t) for t in tables[2:] if len(t)])}. Means with 95 % "
        f"bootstrap intervals. Distance of the set of edits that all methods reach ({counted([count], 'edits')}) from "
        "that of their targets (sources where there are no targets), with jackknife intervals. Sweep: "
        f"{some['frames']} frames from one end of a direction to the other, over "
        f"{counted([len(_swept(edits))], 'sweeps')}; the largest mean absolute difference of two neighbouring frames, "
        "behind it that of a typical pair (median)."
    )
    return Table("Without a target", caption, ["Method", *heads], [("", rows)])


def _sets(report: ReportData, edits: Mapping[str, Edits]) -> tuple[dict[str, dict[str, SetValue]], int]:
    """metric -> label -> value over the edits that all have; and how many these are.

    Values as stored are over all that a method reaches: where that is more, they are computed anew from features.
    """
    features = {label: one.features for label, one in edits.items()}
    common = set.intersection(*(set(held.keys) for held in features.values()))
    found: dict[str, dict[str, SetValue]] = {}
    for label, one in edits.items():
        if set(features[label].keys) == common:
            values = one.sets
        else:
            names, ids = one.record["settings"]["sets"], one.record["ids"]
            held = features[label].only(common)
            values = set_values(report.config.root, names, held, ids, report.config.seed)
        for value in values:
            found.setdefault(value.metric, {})[label] = value
    return found, len(common)


def _of_sets(values: Mapping[str, SetValue], labels: Sequence[str]) -> list[Cell]:
    places = decimals(one.value for one in values.values())
    best = min(one.value for one in values.values())
    cells = {
        label: Cell(
            number(one.value, places),
            interval(one.ci_low, one.ci_high, places),
            len(values) > 1 and one.value == best,
        )
        for label, one in values.items()
    }
    return [cells.get(label, Cell("–")) for label in labels]


def _swept(edits: Mapping[str, Edits]) -> list[tuple[str, str, float]]:
    """(image id, direction, change) of the sweeps that all have."""
    names = ["image_id", "direction", "change"]
    rows = [one.rows.loc[one.rows["task"] == "sweep", names] for one in edits.values()]
    return sorted(set.intersection(*(set(held.itertuples(index=False, name=None)) for held in rows)))


def jump(edits: Mapping[str, Edits]) -> dict[str, tuple[str, str]]:
    """Return label -> (largest step between neighbouring frames of the sweeps that all methods have, ``median ...``)."""
    common, found = set(_swept(edits)), {}
    for label, one in edits.items():
        rows = one.rows[one.rows["task"] == "sweep"]
        keys = zip(rows["image_id"], rows["direction"], rows["change"], strict=True)
        steps = rows["value"].to_numpy()[[key in common for key in keys]]
        found[label] = (number(float(steps.max()), 4), f"median {np.median(steps):.4f}") if len(steps) else ("–", "")
    return found


def _titles(report: ReportData, edits: Mapping[str, Edits]) -> list[str]:
    return [report.method(label).title for label in edits]
