"""All measures of edits of a batch of pictures: against exact targets, against sources, and after inverting again.

Where exact targets exist, an edit is measured on pictures that have one, and on no others, whatever the measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bench.data.prepare import read_labels
from bench.edits.editor import EditJob, Editor, PartialResult, editor_of, isolated
from bench.edits.measures import (
    Regions,
    distance,
    image_rows,
    inside,
    latent_distance,
    leakage,
    mean_over,
    of_labels,
    of_mask,
)
from bench.edits.targets import EditSpec, parts_of
from bench.engine import Shard
from bench.scoring.pair_metrics import Views, score_batch, score_views

if TYPE_CHECKING:
    from bench.api import Inversion

NATIVE = ("mae", "ssim_gauss")  # have maps, so their values inside a region need no composed picture


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures worked on together, and what does not depend on the edit.

    Args:
        sources, start: (B, R, R, 3) uint8 pictures and their inversions. source_attributes, inversion_attributes: what the
        judge reads.
        regions: where the face and the background are, None where nobody says. identity: identity of source and inversion.
        targets, target_attributes: exact targets and what the judge reads off them; None and [] where there are none.
    """

    ids: tuple[str, ...]
    sources: np.ndarray
    inversion: Inversion
    start: np.ndarray
    source_attributes: list[dict[str, float]]
    inversion_attributes: list[dict[str, float]]
    regions: list[Regions | None]
    identity: list[float]
    targets: np.ndarray | None = None
    target_attributes: list[dict[str, float]] | None = None

    def only(self, ids: Sequence[str]) -> Batch:
        """The pictures of some of the ids, in their order; without targets."""
        rows = [self.ids.index(i) for i in ids]
        lists = {
            name: [getattr(self, name)[n] for n in rows]
            for name in ("source_attributes", "inversion_attributes", "regions", "identity")
        }
        return Batch(tuple(ids), self.sources[rows], self.inversion[rows], self.start[rows], **lists)


def score_shard(shard: Shard, job: EditJob) -> PartialResult:
    """All measures of a shard's pictures."""
    editor = editor_of(job)

    def score(ids: Sequence[str]) -> PartialResult:
        sources = editor.dataset.stack(ids)
        return Scoring(editor, ids, sources, editor.embed(ids, sources)).run()

    return isolated(shard.ids, score)


class Scoring:
    """Measures of one batch of pictures."""

    def __init__(self, editor: Editor, ids: Sequence[str], sources: np.ndarray, inversion: Inversion):
        self.editor, self.job, self.done = editor, editor.job, PartialResult()
        start = editor.render(inversion.w_plus, inversion)
        attributes = editor.predict_attributes(sources), editor.predict_attributes(start)
        regions = [self._regions(i, sources.shape[1]) for i in ids]
        self.batch = Batch(tuple(ids), sources, inversion, start, *attributes, regions, self._identity(start, sources))

    def _regions(self, image_id: str, side: int) -> Regions | None:
        if self.job.masks is not None:
            return of_mask(self.job.masks, image_id, side)
        if self.editor.dataset.manifest.render is None:
            return None
        return of_labels(read_labels(self.editor.dataset.paths.label(image_id)), parts_of(self.editor.dataset))

    def add(self, task: str, edit_spec: EditSpec | None, degree: float, metric: str, ids, values) -> None:
        """Add one row an image: task, edit, degree, metric, value."""
        head = {"task": task, "direction": edit_spec.direction if edit_spec else "", "degree": float(degree)}
        head |= {"change": edit_spec.change if edit_spec else 0.0, "metric": metric}
        self.done.rows += [{**head, "image_id": i, "value": float(v)} for i, v in zip(ids, values, strict=True)]

    def run(self) -> PartialResult:
        """Score all edits of the batch, then its cycles of inversion."""
        for edit_spec in self.job.edits:
            batch = self._of(edit_spec)
            if not batch.ids:
                continue
            if edit_spec.attribute and not self.job.edit_only:
                self._curve(edit_spec, batch)
            if edit_spec.name in self.job.degrees:
                self._edit(edit_spec, self.job.degrees[edit_spec.name], batch)
        cycle_ids = [i for i in self.batch.ids if i in self.job.cycle_ids]
        if cycle_ids:
            self._cycle(self.batch.only(cycle_ids))
        return self.done

    def _of(self, edit_spec: EditSpec) -> Batch:
        """The pictures of one edit: those that have an exact target, with it, or all where no target can be."""
        targets = self.editor.targets(self.batch.ids, edit_spec)
        if targets is None:
            return self.batch
        batch = self.batch.only([i for i in self.batch.ids if i in targets.images])
        if not batch.ids:
            return batch
        target_images = np.stack([targets.images[i] for i in batch.ids])
        regions = batch.regions
        if self.job.masks is None:
            parts = parts_of(self.editor.dataset)
            regions = [one | of_labels(targets.labels[i], parts) for i, one in zip(batch.ids, regions, strict=True)]
        return replace(
            batch,
            regions=regions,
            targets=target_images,
            target_attributes=self.editor.predict_attributes(target_images),
        )

    def _identity(self, images: np.ndarray, others: np.ndarray) -> list[float]:
        name = self.job.settings.identity
        return score_batch(self.editor.metrics[name], name, others, images) if name else [float("nan")] * len(others)

    def _curve(self, edit_spec: EditSpec, batch: Batch) -> None:
        """Attribute, identity and background from the inversion to the last degree."""
        self._common("curve", edit_spec, 0.0, batch.start, batch.inversion_attributes, batch, batch.identity)
        for degree in self.job.settings.degrees:
            signed = degree if edit_spec.change > 0 else -degree
            edited = self.editor.edit(batch.inversion, edit_spec, signed)
            identity = self._identity(edited, batch.sources)
            self._common("curve", edit_spec, signed, edited, self.editor.predict_attributes(edited), batch, identity)

    def _common(
        self, task: str, edit_spec: EditSpec, degree: float, edited: np.ndarray, attributes, batch: Batch, identity
    ) -> None:
        """What needs no exact target: attribute change, identity, background."""
        name = edit_spec.attribute
        if name:
            change = [
                after[name] - before[name] for before, after in zip(batch.inversion_attributes, attributes, strict=True)
            ]
            self.add(task, edit_spec, degree, "change", batch.ids, change)
        if self.job.settings.identity:
            self.add(task, edit_spec, degree, "identity", batch.ids, identity)
        if None in batch.regions:
            return
        for metric, others in (("background", batch.sources), ("background_drift", batch.start)):
            pairs = zip(edited, others, batch.regions, strict=True)
            far = [mean_over(distance(a, b), where.rest) for a, b, where in pairs]
            self.add(task, edit_spec, degree, metric, batch.ids, far)

    def _edit(self, edit_spec: EditSpec, degree: float, batch: Batch) -> None:
        """Everything at the matched strength."""
        edited = self.editor.edit(batch.inversion, edit_spec, degree)
        attributes = self.editor.predict_attributes(edited)
        self._common("edit", edit_spec, degree, edited, attributes, batch, self._identity(edited, batch.sources))
        if edit_spec.attribute:
            self._leakage(edit_spec, degree, attributes, batch)
        if batch.targets is not None:
            self._attribute(edit_spec, degree, attributes, batch)
            self._against_targets(edit_spec, degree, edited, batch)
        self._features(edit_spec, edited, batch)
        self._round_trip(edit_spec, degree, edited, batch)
        self._keep(edit_spec, edited, batch)

    def _attribute(self, edit_spec: EditSpec, degree: float, attributes: list, batch: Batch) -> None:
        """The judge's distance from the target, and the change that it sees between source and target."""
        name = edit_spec.attribute
        unit = self.job.attribute_std[name]
        targets = [one[name] for one in batch.target_attributes or []]
        error = [abs(after[name] - due) / unit for after, due in zip(attributes, targets, strict=True)]
        self.add("edit", edit_spec, degree, "attribute_error", batch.ids, error)
        due = [after - before[name] for before, after in zip(batch.source_attributes, targets, strict=True)]
        self.add("edit", edit_spec, degree, "change_due", batch.ids, due)

    def _leakage(self, edit_spec: EditSpec, degree: float, attributes: list, batch: Batch) -> None:
        leaks = []
        for n, after in enumerate(attributes):
            predicted_change = {a: after[a] - batch.inversion_attributes[n][a] for a in after}
            due = (
                {a: batch.target_attributes[n][a] - batch.source_attributes[n][a] for a in predicted_change}
                if batch.target_attributes
                else {}
            )
            leaks.append(leakage(predicted_change, due, self.job.attribute_std, edit_spec.attribute))
        mean = [float(np.mean(np.abs(list(one.values())))) for one in leaks]
        self.add("edit", edit_spec, degree, "leakage", batch.ids, mean)
        for attribute in leaks[0]:
            self.add("edit", edit_spec, degree, f"leakage.{attribute}", batch.ids, [one[attribute] for one in leaks])

    def _against_targets(self, edit_spec: EditSpec, degree: float, edited: np.ndarray, batch: Batch) -> None:
        """Every metric of the edit against its exact target, whole and in the face and outside it."""
        triples = list(zip(edited, batch.targets, batch.regions, strict=True))
        rows = [image_rows(a, b, where) for a, b, where in triples]
        for metric in rows[0]:
            self.add("edit", edit_spec, degree, metric, batch.ids, [row[metric] for row in rows])
        targets = Views(batch.targets)
        views = {"": Views(edited), "_face": Views(np.stack([inside(w, a, b) for a, b, w in triples]))}
        views["_rest"] = Views(np.stack([inside(w, b, a) for a, b, w in triples]))
        for name, metric in self.editor.metrics.items():
            suffixes = [""] if name in NATIVE else list(views)
            for suffix in suffixes:
                values = score_views(metric, name, targets, views[suffix])
                self.add("edit", edit_spec, degree, name + suffix, batch.ids, values)

    def _features(self, edit_spec: EditSpec, edited: np.ndarray, batch: Batch) -> None:
        """Of edits and of what sets of them are compared with: targets, or sources where no target can be."""
        pair = edited, batch.sources if batch.targets is None else batch.targets
        for extractor, (metric, network) in self.editor.sets.items():
            features = [network(Views(p).eight_bit(metric.size, metric.resize)).cpu().numpy() for p in pair]
            here = self.done.features.setdefault(extractor, [])
            here += [(edit_spec.name, i, a, b) for i, a, b in zip(batch.ids, *features, strict=True)]

    def _round_trip(self, edit_spec: EditSpec, degree: float, edited: np.ndarray, batch: Batch) -> None:
        """Invert the edit, edit back: how far from the first codes and the first inversion (Tov et al. 2021, LEC)."""
        rows = [n for n, i in enumerate(batch.ids) if i in self.job.cycle_ids]
        if not rows:
            return
        ids = [batch.ids[n] for n in rows]
        second = self.editor.embed(ids, edited[rows])
        latents = batch.inversion.w_plus[rows]
        step = self.editor.directions[edit_spec.name].apply(latents, degree) - latents
        back = second.w_plus - step  # the way it went: one that set a coordinate would not know where it had been
        images = self.editor.render(back, second)
        pairs = zip(latents.float().cpu().numpy(), back.float().cpu().numpy(), strict=True)
        apart = [latent_distance(a, b) for a, b in pairs]
        far = [float(distance(a, b).mean()) for a, b in zip(batch.start[rows], images, strict=True)]
        self.add("round_trip", edit_spec, degree, "code", ids, apart)
        self.add("round_trip", edit_spec, degree, "image", ids, far)

    def _cycle(self, batch: Batch) -> None:
        """Inversions of inversions: distance to the source and to the first, identity."""
        images = batch.start
        for k in range(1, self.job.settings.cycles + 1):
            if k > 1:
                inversion = self.editor.embed(batch.ids, images)
                images = self.editor.render(inversion.w_plus, inversion)
            for metric, others in (("mae", batch.sources), ("drift", batch.start)):
                far = [float(distance(a, b).mean()) for a, b in zip(images, others, strict=True)]
                self.add("cycle", None, k, metric, batch.ids, far)
            if self.job.settings.identity:
                self.add("cycle", None, k, "identity", batch.ids, self._identity(images, batch.sources))

    def _keep(self, edit_spec: EditSpec, edited: np.ndarray, batch: Batch) -> None:
        """Pictures for the figures, and sweeps from one end of the direction to the other."""
        limit = self.job.settings.degrees[-1] if edit_spec.attribute else abs(edit_spec.change)
        for n, i in enumerate(batch.ids):
            if self.job.example_ids.get(i) != edit_spec.name:
                continue
            images = {"source": batch.sources[n], "inversion": batch.start[n], "edit": edited[n]}
            if batch.targets is not None:
                images["target"] = batch.targets[n]
            self.done.images |= {(kind, i): image for kind, image in images.items()}
            if self.job.edit_only:
                continue
            degrees = np.linspace(-limit, limit, self.job.settings.frames).tolist()
            frame_strip = [self.editor.edit(batch.inversion[n : n + 1], edit_spec, degree)[0] for degree in degrees]
            self.done.images["sweep", i] = np.concatenate(frame_strip, 1)
            for degree, a, b in zip(degrees[1:], frame_strip, frame_strip[1:], strict=False):
                self.add("sweep", edit_spec, degree, "step", [i], [float(distance(a, b).mean())])
