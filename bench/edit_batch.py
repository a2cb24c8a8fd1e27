"""All measures of edits of a batch of pictures: against exact targets, against sources, and after inverting again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.edit_measures import (
    Regions,
    code_distance,
    distance,
    inside,
    leakage,
    mean_over,
    of_labels,
    of_mask,
    picture_rows,
)
from bench.edit_targets import Targets, Wanted
from bench.edit_work import EditJob, Editor, Part, editor_of, isolated
from bench.engine import Shard
from bench.pairs import Views, score_batch
from bench.prepare import read_labels

if TYPE_CHECKING:
    from bench.api import Inversion

NATIVE = ("mae", "ssim_gauss")  # have maps, so their values inside a region need no composed picture


def score_shard(shard: Shard, job: EditJob) -> Part:
    """All measures of a shard's pictures."""
    editor = editor_of(job)

    def score(ids: Sequence[str]) -> Part:
        sources = editor.dataset.stack(ids)
        return Scoring(editor, ids, sources, editor.embed(ids, sources)).run()

    return isolated(shard.ids, score)


class Scoring:
    """Measures of one batch of pictures."""

    def __init__(self, editor: Editor, ids: Sequence[str], sources: np.ndarray, inversion: Inversion):
        self.editor, self.ids, self.sources, self.inversion = editor, list(ids), sources, inversion
        self.job, self.done = editor.job, Part()
        self.start = editor.render(inversion.w_plus, inversion)
        self.seen_source, self.seen_start = editor.look(sources), editor.look(self.start)
        self.regions = [self._regions(i) for i in self.ids]

    def _regions(self, image_id: str) -> Regions:
        if self.job.masks is not None:
            return of_mask(self.job.masks, image_id, self.sources.shape[1])
        return of_labels(read_labels(self.editor.dataset.paths.label(image_id)))

    def add(self, task: str, wanted: Wanted | None, degree: float, metric: str, values: Mapping[str, float]) -> None:
        head = {"task": task, "direction": wanted.direction if wanted else "", "degree": float(degree)}
        head |= {"change": wanted.change if wanted else 0.0, "metric": metric}
        self.done.rows += [{**head, "image_id": i, "value": float(v)} for i, v in values.items()]

    def run(self) -> Part:
        for wanted in self.job.edits:
            targets = self.editor.targets(self.ids, wanted)
            regions = {
                i: region | of_labels(targets.labels[i]) if i in targets.labels and self.job.masks is None else region
                for i, region in zip(self.ids, self.regions, strict=True)
            }
            self._curve(wanted, regions)
            if wanted.name in self.job.degrees:
                self._edit(wanted, self.job.degrees[wanted.name], targets, regions)
        again = [i for i in self.ids if i in self.job.again]
        if again:
            self._cycle(again)
        return self.done

    def _identity(self, pictures: np.ndarray, others: np.ndarray) -> list[float]:
        name = self.job.settings.identity
        return score_batch(self.editor.metrics[name], name, others, pictures) if name else [float("nan")] * len(others)

    def _curve(self, wanted: Wanted, regions: Mapping[str, Regions]) -> None:
        """Attribute, identity and background from the inversion to the last degree."""
        for degree in (0.0, *self.job.settings.degrees):
            signed = degree if wanted.change > 0 else -degree
            edited = self.editor.edit(self.inversion, wanted, signed) if degree else self.start
            self._common("curve", wanted, signed, edited, self.editor.look(edited), regions)

    def _common(self, task: str, wanted: Wanted, degree: float, edited: np.ndarray, seen: list, regions) -> None:
        """What needs no exact target: attribute change, identity, background."""
        name, rest = wanted.attribute, [regions[i].rest for i in self.ids]
        change = [after[name] - before[name] for before, after in zip(self.seen_start, seen, strict=True)]
        self.add(task, wanted, degree, "change", dict(zip(self.ids, change, strict=True)))
        if self.job.settings.identity:
            kept = self._identity(edited, self.sources)
            self.add(task, wanted, degree, "identity", dict(zip(self.ids, kept, strict=True)))
        for metric, others in (("background", self.sources), ("background_drift", self.start)):
            far = [mean_over(distance(a, b), where) for a, b, where in zip(edited, others, rest, strict=True)]
            self.add(task, wanted, degree, metric, dict(zip(self.ids, far, strict=True)))

    def _edit(self, wanted: Wanted, degree: float, targets: Targets, regions: Mapping[str, Regions]) -> None:
        """Everything at the matched strength."""
        edited = self.editor.edit(self.inversion, wanted, degree)
        seen = self.editor.look(edited)
        self._common("edit", wanted, degree, edited, seen, regions)
        has = {i: n for n, i in enumerate(self.ids) if i in targets.images}
        meant = np.stack([targets.images[i] for i in has]) if has else edited[:0]
        seen_meant = dict(zip(has, self.editor.look(meant) if has else [], strict=True))
        self._leakage(wanted, degree, seen, seen_meant)
        if has:
            name, unit = wanted.attribute, self.job.spread[wanted.attribute]
            error = {i: abs(seen[n][name] - seen_meant[i][name]) / unit for i, n in has.items()}
            self.add("edit", wanted, degree, "attribute_error", error)
            self._against_targets(
                wanted, degree, edited[list(has.values())], meant, [regions[i] for i in has], list(has)
            )
        rendered = self.editor.dataset.manifest.render is not None
        compared = zip(has, meant, strict=True) if rendered else zip(self.ids, self.sources, strict=True)
        self._features(wanted, edited, dict(compared))
        self._round_trip(wanted, degree, edited)
        self._keep(wanted, edited, targets)

    def _leakage(self, wanted: Wanted, degree: float, seen: list, seen_meant: Mapping[str, Mapping]) -> None:
        found = {}
        for n, i in enumerate(self.ids):
            moved = {a: seen[n][a] - self.seen_start[n][a] for a in seen[n]}
            due = {a: seen_meant[i][a] - self.seen_source[n][a] for a in moved} if i in seen_meant else {}
            found[i] = leakage(moved, due, self.job.spread, wanted.attribute)
        self.add(
            "edit", wanted, degree, "leakage", {i: float(np.mean(np.abs(list(v.values())))) for i, v in found.items()}
        )
        for attribute in next(iter(found.values())):
            self.add("edit", wanted, degree, f"leakage.{attribute}", {i: v[attribute] for i, v in found.items()})

    def _against_targets(self, wanted, degree, edited, meant, regions: Sequence[Regions], has: Sequence[str]) -> None:
        """Every metric of the edit against its exact target, whole and in the face and outside it."""
        rows = [picture_rows(a, b, where) for a, b, where in zip(edited, meant, regions, strict=True)]
        for metric in rows[0]:
            self.add("edit", wanted, degree, metric, {i: row[metric] for i, row in zip(has, rows, strict=True)})
        in_face = np.stack([inside(w, a, b) for a, b, w in zip(edited, meant, regions, strict=True)])
        outside = np.stack([inside(w, b, a) for a, b, w in zip(edited, meant, regions, strict=True)])
        for name, metric in self.editor.metrics.items():
            parts = [("", edited)] if name in NATIVE else [("", edited), ("_face", in_face), ("_rest", outside)]
            for suffix, pictures in parts:
                values = score_batch(metric, name, meant, pictures)
                self.add("edit", wanted, degree, name + suffix, dict(zip(has, values, strict=True)))

    def _features(self, wanted: Wanted, edited: np.ndarray, compared: Mapping[str, np.ndarray]) -> None:
        rows = [n for n, i in enumerate(self.ids) if i in compared]
        for extractor, (metric, network) in self.editor.sets.items():
            pair = [edited[rows], np.stack(list(compared.values()))] if rows else []
            found = [network(Views(p).eight_bit(metric.size, metric.resize)).cpu().numpy() for p in pair]
            here = self.done.features.setdefault(extractor, [])
            for k, (i, _) in enumerate(compared.items()):
                here.append((wanted.name, i, found[0][k], found[1][k]))

    def _round_trip(self, wanted: Wanted, degree: float, edited: np.ndarray) -> None:
        """Invert the edit, edit back: how far from the first codes and the first inversion (Tov et al. 2021, LEC)."""
        rows = [n for n, i in enumerate(self.ids) if i in self.job.again]
        if not rows:
            return
        ids = [self.ids[n] for n in rows]
        second = self.editor.embed(ids, edited[rows])
        back = self.editor.directions[wanted.name].apply(second.w_plus, -degree)
        pictures = self.editor.render(back, second)
        first = self.inversion.w_plus[rows].float().cpu().numpy()
        codes = [code_distance(a, b) for a, b in zip(first, back.float().cpu().numpy(), strict=True)]
        far = [float(distance(a, b).mean()) for a, b in zip(self.start[rows], pictures, strict=True)]
        self.add("round_trip", wanted, degree, "code", dict(zip(ids, codes, strict=True)))
        self.add("round_trip", wanted, degree, "image", dict(zip(ids, far, strict=True)))

    def _cycle(self, again: Sequence[str]) -> None:
        """Inversions of inversions: distance to the source and to the first, identity."""
        rows = [self.ids.index(i) for i in again]
        sources, first = self.sources[rows], self.start[rows]
        pictures = first
        for k in range(1, self.job.settings.cycles + 1):
            if k > 1:
                inversion = self.editor.embed(again, pictures)
                pictures = self.editor.render(inversion.w_plus, inversion)
            for metric, others in (("mae", sources), ("drift", first)):
                far = [float(distance(a, b).mean()) for a, b in zip(pictures, others, strict=True)]
                self.add("cycle", None, k, metric, dict(zip(again, far, strict=True)))
            if self.job.settings.identity:
                kept = self._identity(pictures, sources)
                self.add("cycle", None, k, "identity", dict(zip(again, kept, strict=True)))

    def _keep(self, wanted: Wanted, edited: np.ndarray, targets: Targets) -> None:
        """Pictures for the figures, and sweeps from one end of the direction to the other."""
        limit, frames = self.job.settings.degrees[-1], self.job.settings.frames
        for n, i in enumerate(self.ids):
            if self.job.shown.get(i) != wanted.name:
                continue
            kept = {"source": self.sources[n], "inversion": self.start[n], "edit": edited[n]}
            kept |= {"target": targets.images[i]} if i in targets.images else {}
            degrees = np.linspace(-limit, limit, frames).tolist()
            strip = [self.editor.edit(self.inversion[n : n + 1], wanted, degree)[0] for degree in degrees]
            kept["sweep"] = np.concatenate(strip, 1)
            self.done.pictures |= {(kind, i): picture for kind, picture in kept.items()}
            for degree, a, b in zip(degrees[1:], strip, strip[1:], strict=False):
                self.add("sweep", wanted, degree, "step", {i: float(distance(a, b).mean())})
