"""What a metric is, what others compute under its name, and what each choice in it moves on real results.

One factor is changed at a time, everything else stays: range, size, resampler, window or network, colour, JPEG, and
truncation instead of rounding. So differences between published tables can be looked up instead of guessed.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import api, registry
from bench.analysis.protocol import protocols
from bench.analysis.statistics import Statistics, statistics
from bench.data.dataset import PreparedDataset
from bench.device import resolve_device
from bench.errors import BenchError
from bench.files import load_yaml, read_rgb
from bench.scoring.build import build, lacking, signature
from bench.scoring.pair_metrics import Views, score_views
from bench.seeds import seed_for
from bench.store.paths import Run

if TYPE_CHECKING:
    from torch import Tensor

BATCH, RESAMPLES = 8, 1000
JPEG_QUALITY = 75
LUMA = (0.2125, 0.7154, 0.0721)  # scikit-image's rgb2gray
RESAMPLERS = ("pil_bilinear", "bilinear_aa", "bilinear", "area", "pil_bicubic")
Change = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Choice:
    """One factor set otherwise.

    Args:
        factor, choice: for the table. metric: to score with. source, reconstruction: changes of the 8-bit pictures.
    """

    factor: str
    choice: str
    metric: Any
    source: Change | None = None
    reconstruction: Change | None = None


@dataclass(frozen=True)
class Moved:
    """Mean under a choice, and the paired change from the metric as defined. ``error``: why it cannot be computed."""

    factor: str
    choice: str
    mean: float
    change: Statistics | None
    error: str = ""


@lru_cache(maxsize=1)
def definitions() -> Mapping[str, Mapping[str, Any]]:
    """metric -> others, beside, windows, ranges; see bench/analysis/definitions.yaml."""
    return load_yaml(Path(__file__).parent / "definitions.yaml")


def describe(root: Path, metric_id: str) -> list[str]:
    """Definition, signature, presets it stands in, and what others compute instead; lines of Markdown.

    Raises:
        UnknownName: no such metric.
    """
    cls = registry.metrics(root).load(metric_id)
    need = lacking(root, cls)
    try:
        signed = signature(root, metric_id, cls)
    except BenchError:
        signed = cls.signature(metric_id)
    text = " ".join((cls.__doc__ or "").split())
    lines = [f"# {metric_id}: {cls.title}", "", text, ""]
    better = "higher" if cls.higher_is_better else "lower"
    lines += [f"- Signature: `{signed}`", f"- {better} is better; identical pictures give {cls.ideal:g}"]
    lines += [f"- Source: {cls.source}"] + ([f"- Needs here: `{need}`"] if need else [])
    for preset in protocols(root).values():
        for column in preset.columns:
            if column.metric == metric_id:
                differs = f"; not as published: {column.differs}" if column.differs else ""
                lines.append(f"- Column {column.name!r} of protocol `{preset.id}`: {column.note}{differs}")
    others = definitions().get(metric_id, {}).get("others", [])
    return lines + ["", "What other groups compute:", "", *[f"- {text}" for text in others or ["nothing is known"]]]


def rescore(root: Path, run: Run, metric_id: str, limit: int, seed: int, device: str = "auto") -> list[Moved]:
    """Score a run as defined and with one factor changed at a time.

    Args:
        limit: the first so many images. seed: of the simulated truncation and the intervals.
    Returns:
        The metric as defined first, then every choice with its paired change.
    Raises:
        BenchError: the metric looks at no pairs, or lacks weights.
    """
    cls = registry.metrics(root).load(metric_id)
    if not issubclass(cls, api.PairMetric):
        raise BenchError(
            f"{metric_id} has no value per picture, so no factor of it can be changed picture by picture",
            fix=f"`bench explain {metric_id} --no-rescore` shows what it is",
        )
    if need := lacking(root, cls):
        raise BenchError(f"metric {metric_id} cannot be computed here", fix=f"run `{need}`, or pass --no-rescore")
    record = run.read()
    dataset = PreparedDataset.open(root, record["dataset"])
    ids = [i for i in record["ids"] if i not in record["failures"]][:limit]
    metric = build(root, cls, resolve_device(device))
    made = [
        Choice("as defined", metric_id, metric),
        *choices(root, metric, metric_id, dataset.manifest.resolution, seed),
    ]
    return _measure(made, run, dataset, ids, seed)


def choices(root: Path, metric: Any, metric_id: str, side: int, seed: int) -> list[Choice]:
    """Every factor that makes sense for a metric. ``side``: of the stored pictures."""
    known = definitions().get(metric_id, {})
    made = [
        Choice("range", f"[{low:g}, {high:g}]", _altered(metric, value_range=(float(low), float(high))))
        for low, high in known.get("ranges", [])
    ]
    size = metric.size or side
    if metric.size and metric.size != side:
        made.append(Choice("size", f"stored ({side} px)", _altered(metric, size=None)))
    made += [Choice("size", f"{s} px, pil_bilinear", _altered(metric, size=s, resize="pil_bilinear")) for s in
             (side // 2, 256) if s != size]  # fmt: skip
    if size != side:
        made += [Choice("resampler", how, _altered(metric, resize=how)) for how in RESAMPLERS if how != metric.resize]
    made += _relatives(root, metric, known)
    gray = _gray
    made.append(Choice("colour", "gray (both)", metric, gray, gray))
    made.append(Choice("storage", f"JPEG {JPEG_QUALITY} of the reconstruction", metric, None, _jpeg))
    made.append(Choice("rounding", "truncated (simulated)", metric, None, _truncator(seed)))
    return made


def _relatives(root: Path, metric: Any, known: Mapping[str, Any]) -> list[Choice]:
    """Other windows, networks and definitions, at the size and by the resampler of the metric itself."""
    made = []
    for side in known.get("windows", []):
        made.append(
            Choice("window", f"uniform {side} px", _altered(_Window(side), size=metric.size, resize=metric.resize))
        )
    for word, other in known.get("beside", {}).items():
        cls = registry.metrics(root).load(other)
        if need := lacking(root, cls):
            made.append(Choice(f"instead: {word}", f"{other} (needs: {need})", None))
        else:
            made.append(Choice(f"instead: {word}", other, build(root, cls, metric.device)))
    return made


def _altered(metric: Any, **attributes: Any) -> Any:
    other = copy.copy(metric)
    for name, value in attributes.items():
        setattr(other, name, value)
    return other


class _Window(api.PairMetric):
    """SSIM with a uniform window."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        from bench.measures.ssim import in_steps, ssim, uniform

        return in_steps(lambda a, b: ssim(a, b, uniform(self.side), sample=True), *self.pair(x, x_hat))


def _measure(made: Sequence[Choice], run: Run, dataset: PreparedDataset, ids: Sequence[str], seed: int) -> list[Moved]:
    values: dict[int, list[float]] = {n: [] for n in range(len(made))}
    errors: dict[int, str] = {n: "not here" for n, choice in enumerate(made) if choice.metric is None}
    for start in range(0, len(ids), BATCH):
        part = ids[start : start + BATCH]
        x = dataset.stack(part)
        x_hat = np.stack([read_rgb(run.image(i), dataset.manifest.resolution) for i in part])
        for n, choice in enumerate(made):
            if n in errors:
                continue
            views = [
                Views(change(p) if change else p) for p, change in ((x, choice.source), (x_hat, choice.reconstruction))
            ]
            try:
                values[n] += score_views(choice.metric, choice.choice, *views)
            except BenchError as error:  # a window larger than the picture, a range the metric refuses
                if not n:
                    raise
                errors[n] = error.what
    base = np.asarray(values[0])
    moved = []
    for n, choice in enumerate(made):
        if n in errors:
            moved.append(Moved(choice.factor, choice.choice, float("nan"), None, errors[n]))
            continue
        now = np.asarray(values[n])
        both = np.isfinite(base) & np.isfinite(now)
        change = statistics([now[both] - base[both]], RESAMPLES, seed)[0] if n else None
        moved.append(Moved(choice.factor, choice.choice, float(now[np.isfinite(now)].mean()), change))
    return moved


def _gray(pictures: np.ndarray) -> np.ndarray:
    """(B, H, W, 3) uint8 -> the same with three equal channels."""
    return np.repeat(np.rint(pictures @ np.asarray(LUMA))[..., None], 3, axis=-1).astype(np.uint8)


def _jpeg(pictures: np.ndarray) -> np.ndarray:
    """What `Image.save("x.jpg")` of several releases leaves of a picture (4:2:0)."""
    from PIL import Image

    out = []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="JPEG", quality=JPEG_QUALITY)
        out.append(np.asarray(Image.open(buffer)))
    return np.stack(out)


def _truncator(seed: int) -> Change:
    """Stored pictures hold no fractions; rounding was up for half of the values, and truncation would not have been."""

    def truncate(pictures: np.ndarray) -> np.ndarray:
        up = np.random.default_rng(seed_for(seed, "truncate")).random(pictures.shape) < 0.5
        return np.where(up & (pictures > 0), pictures - 1, pictures).astype(np.uint8)

    return truncate


def as_markdown(moved: Sequence[Moved]) -> list[str]:
    """A table, one line per choice."""
    lines = ["| Factor | Choice | Mean | Change | 95 % interval |", "| :-- | :-- | --: | --: | :-- |"]
    for m in moved:
        if m.error:
            cells = [m.factor, m.choice, "–", "–", m.error]
        elif m.change is None:
            cells = [m.factor, m.choice, f"{m.mean:.6g}", "", ""]
        else:
            span = f"[{m.change.ci_low:+.3g}, {m.change.ci_high:+.3g}]" if m.change.n > 1 else ""
            cells = [m.factor, m.choice, f"{m.mean:.6g}", f"{m.change.mean:+.4g}", span]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines
