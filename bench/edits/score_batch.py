"""All measures of edits of a batch of pictures: against exact targets, against sources, and after inverting again.

Where exact targets exist, an edit is measured on pictures that have one, and on no others, whatever the measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bench.data.prepare import read_labels
from bench.edits.editor import EditJob, Editor, Part, editor_of, isolated
from bench.edits.measures import (
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
from bench.edits.targets import Wanted, parts_of
from bench.engine import Shard
from bench.scoring.pair_metrics import Views, score_batch, score_views

if TYPE_CHECKING:
    from bench.api import Inversion

NATIVE = ("mae", "ssim_gauss")  # have maps, so their values inside a region need no composed picture


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures worked on together, and what does not depend on the edit.

    Args:
        sources, start: (B, R, R, 3) uint8 pictures and their inversions. seen_source, seen_start: what the judge reads.
        regions: where the face and the background are, None where nobody says. kept: identity of source and inversion.
        meant, seen_meant: exact targets and what the judge reads off them; None and [] where there are none.
    """

    ids: tuple[str, ...]
    sources: np.ndarray
    inversion: Inversion
    start: np.ndarray
    seen_source: list[dict[str, float]]
    seen_start: list[dict[str, float]]
    regions: list[Regions | None]
    kept: list[float]
    meant: np.ndarray | None = None
    seen_meant: list[dict[str, float]] | None = None

    def only(self, ids: Sequence[str]) -> Batch:
        """The pictures of some of the ids, in their order; without targets."""
        rows = [self.ids.index(i) for i in ids]
        lists = {
            name: [getattr(self, name)[n] for n in rows] for name in ("seen_source", "seen_start", "regions", "kept")
        }
        return Batch(tuple(ids), self.sources[rows], self.inversion[rows], self.start[rows], **lists)


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
        self.editor, self.job, self.done = editor, editor.job, Part()
        start = editor.render(inversion.w_plus, inversion)
        seen = editor.look(sources), editor.look(start)
        regions = [self._regions(i, sources.shape[1]) for i in ids]
        self.batch = Batch(tuple(ids), sources, inversion, start, *seen, regions, self._identity(start, sources))

    def _regions(self, image_id: str, side: int) -> Regions | None:
        if self.job.masks is not None:
            return of_mask(self.job.masks, image_id, side)
        if self.editor.dataset.manifest.render is None:
            return None
        return of_labels(read_labels(self.editor.dataset.paths.label(image_id)), parts_of(self.editor.dataset))

    def add(self, task: str, wanted: Wanted | None, degree: float, metric: str, ids, values) -> None:
        """Add one row an image: task, edit, degree, metric, value."""
        head = {"task": task, "direction": wanted.direction if wanted else "", "degree": float(degree)}
        head |= {"change": wanted.change if wanted else 0.0, "metric": metric}
        self.done.rows += [{**head, "image_id": i, "value": float(v)} for i, v in zip(ids, values, strict=True)]

    def run(self) -> Part:
        """Score all edits of the batch, then its cycles of inversion."""
        for wanted in self.job.edits:
            batch = self._of(wanted)
            if not batch.ids:
                continue
            if wanted.attribute and not self.job.brief:
                self._curve(wanted, batch)
            if wanted.name in self.job.degrees:
                self._edit(wanted, self.job.degrees[wanted.name], batch)
        again = [i for i in self.batch.ids if i in self.job.again]
        if again:
            self._cycle(self.batch.only(again))
        return self.done

    def _of(self, wanted: Wanted) -> Batch:
        """The pictures of one edit: those that have an exact target, with it, or all where no target can be."""
        targets = self.editor.targets(self.batch.ids, wanted)
        if targets is None:
            return self.batch
        batch = self.batch.only([i for i in self.batch.ids if i in targets.images])
        if not batch.ids:
            return batch
        meant = np.stack([targets.images[i] for i in batch.ids])
        regions = batch.regions
        if self.job.masks is None:
            parts = parts_of(self.editor.dataset)
            regions = [one | of_labels(targets.labels[i], parts) for i, one in zip(batch.ids, regions, strict=True)]
        return replace(batch, regions=regions, meant=meant, seen_meant=self.editor.look(meant))

    def _identity(self, pictures: np.ndarray, others: np.ndarray) -> list[float]:
        name = self.job.settings.identity
        return score_batch(self.editor.metrics[name], name, others, pictures) if name else [float("nan")] * len(others)

    def _curve(self, wanted: Wanted, batch: Batch) -> None:
        """Attribute, identity and background from the inversion to the last degree."""
        self._common("curve", wanted, 0.0, batch.start, batch.seen_start, batch, batch.kept)
        for degree in self.job.settings.degrees:
            signed = degree if wanted.change > 0 else -degree
            edited = self.editor.edit(batch.inversion, wanted, signed)
            kept = self._identity(edited, batch.sources)
            self._common("curve", wanted, signed, edited, self.editor.look(edited), batch, kept)

    def _common(self, task: str, wanted: Wanted, degree: float, edited: np.ndarray, seen, batch: Batch, kept) -> None:
        """What needs no exact target: attribute change, identity, background."""
        name = wanted.attribute
        if name:
            change = [after[name] - before[name] for before, after in zip(batch.seen_start, seen, strict=True)]
            self.add(task, wanted, degree, "change", batch.ids, change)
        if self.job.settings.identity:
            self.add(task, wanted, degree, "identity", batch.ids, kept)
        if None in batch.regions:
            return
        for metric, others in (("background", batch.sources), ("background_drift", batch.start)):
            pairs = zip(edited, others, batch.regions, strict=True)
            far = [mean_over(distance(a, b), where.rest) for a, b, where in pairs]
            self.add(task, wanted, degree, metric, batch.ids, far)

    def _edit(self, wanted: Wanted, degree: float, batch: Batch) -> None:
        """Everything at the matched strength."""
        edited = self.editor.edit(batch.inversion, wanted, degree)
        seen = self.editor.look(edited)
        self._common("edit", wanted, degree, edited, seen, batch, self._identity(edited, batch.sources))
        if wanted.attribute:
            self._leakage(wanted, degree, seen, batch)
        if batch.meant is not None:
            self._attribute(wanted, degree, seen, batch)
            self._against_targets(wanted, degree, edited, batch)
        self._features(wanted, edited, batch)
        self._round_trip(wanted, degree, edited, batch)
        self._keep(wanted, edited, batch)

    def _attribute(self, wanted: Wanted, degree: float, seen: list, batch: Batch) -> None:
        """The judge's distance from the target, and the change that it sees between source and target."""
        name = wanted.attribute
        unit = self.job.spread[name]
        meant = [one[name] for one in batch.seen_meant or []]
        error = [abs(after[name] - due) / unit for after, due in zip(seen, meant, strict=True)]
        self.add("edit", wanted, degree, "attribute_error", batch.ids, error)
        due = [after - before[name] for before, after in zip(batch.seen_source, meant, strict=True)]
        self.add("edit", wanted, degree, "change_due", batch.ids, due)

    def _leakage(self, wanted: Wanted, degree: float, seen: list, batch: Batch) -> None:
        found = []
        for n, after in enumerate(seen):
            moved = {a: after[a] - batch.seen_start[n][a] for a in after}
            due = {a: batch.seen_meant[n][a] - batch.seen_source[n][a] for a in moved} if batch.seen_meant else {}
            found.append(leakage(moved, due, self.job.spread, wanted.attribute))
        mean = [float(np.mean(np.abs(list(one.values())))) for one in found]
        self.add("edit", wanted, degree, "leakage", batch.ids, mean)
        for attribute in found[0]:
            self.add("edit", wanted, degree, f"leakage.{attribute}", batch.ids, [one[attribute] for one in found])

    def _against_targets(self, wanted: Wanted, degree: float, edited: np.ndarray, batch: Batch) -> None:
        """Every metric of the edit against its exact target, whole and in the face and outside it."""
        triples = list(zip(edited, batch.meant, batch.regions, strict=True))
        rows = [picture_rows(a, b, where) for a, b, where in triples]
        for metric in rows[0]:
            self.add("edit", wanted, degree, metric, batch.ids, [row[metric] for row in rows])
        meant = Views(batch.meant)
        views = {"": Views(edited), "_face": Views(np.stack([inside(w, a, b) for a, b, w in triples]))}
        views["_rest"] = Views(np.stack([inside(w, b, a) for a, b, w in triples]))
        for name, metric in self.editor.metrics.items():
            suffixes = [""] if name in NATIVE else list(views)
            for suffix in suffixes:
                values = score_views(metric, name, meant, views[suffix])
                self.add("edit", wanted, degree, name + suffix, batch.ids, values)

    def _features(self, wanted: Wanted, edited: np.ndarray, batch: Batch) -> None:
        """Of edits and of what sets of them are compared with: targets, or sources where no target can be."""
        pair = edited, batch.sources if batch.meant is None else batch.meant
        for extractor, (metric, network) in self.editor.sets.items():
            found = [network(Views(p).eight_bit(metric.size, metric.resize)).cpu().numpy() for p in pair]
            here = self.done.features.setdefault(extractor, [])
            here += [(wanted.name, i, a, b) for i, a, b in zip(batch.ids, *found, strict=True)]

    def _round_trip(self, wanted: Wanted, degree: float, edited: np.ndarray, batch: Batch) -> None:
        """Invert the edit, edit back: how far from the first codes and the first inversion (Tov et al. 2021, LEC)."""
        rows = [n for n, i in enumerate(batch.ids) if i in self.job.again]
        if not rows:
            return
        ids = [batch.ids[n] for n in rows]
        second = self.editor.embed(ids, edited[rows])
        codes = batch.inversion.w_plus[rows]
        step = self.editor.directions[wanted.name].apply(codes, degree) - codes
        back = second.w_plus - step  # the way it went: one that set a coordinate would not know where it had been
        pictures = self.editor.render(back, second)
        pairs = zip(codes.float().cpu().numpy(), back.float().cpu().numpy(), strict=True)
        apart = [code_distance(a, b) for a, b in pairs]
        far = [float(distance(a, b).mean()) for a, b in zip(batch.start[rows], pictures, strict=True)]
        self.add("round_trip", wanted, degree, "code", ids, apart)
        self.add("round_trip", wanted, degree, "image", ids, far)

    def _cycle(self, batch: Batch) -> None:
        """Inversions of inversions: distance to the source and to the first, identity."""
        pictures = batch.start
        for k in range(1, self.job.settings.cycles + 1):
            if k > 1:
                inversion = self.editor.embed(batch.ids, pictures)
                pictures = self.editor.render(inversion.w_plus, inversion)
            for metric, others in (("mae", batch.sources), ("drift", batch.start)):
                far = [float(distance(a, b).mean()) for a, b in zip(pictures, others, strict=True)]
                self.add("cycle", None, k, metric, batch.ids, far)
            if self.job.settings.identity:
                self.add("cycle", None, k, "identity", batch.ids, self._identity(pictures, batch.sources))

    def _keep(self, wanted: Wanted, edited: np.ndarray, batch: Batch) -> None:
        """Pictures for the figures, and sweeps from one end of the direction to the other."""
        limit = self.job.settings.degrees[-1] if wanted.attribute else abs(wanted.change)
        for n, i in enumerate(batch.ids):
            if self.job.shown.get(i) != wanted.name:
                continue
            kept = {"source": batch.sources[n], "inversion": batch.start[n], "edit": edited[n]}
            if batch.meant is not None:
                kept["target"] = batch.meant[n]
            self.done.pictures |= {(kind, i): picture for kind, picture in kept.items()}
            if self.job.brief:
                continue
            degrees = np.linspace(-limit, limit, self.job.settings.frames).tolist()
            strip = [self.editor.edit(batch.inversion[n : n + 1], wanted, degree)[0] for degree in degrees]
            self.done.pictures["sweep", i] = np.concatenate(strip, 1)
            for degree, a, b in zip(degrees[1:], strip, strip[1:], strict=False):
                self.add("sweep", wanted, degree, "step", [i], [float(distance(a, b).mean())])
