"""All that the author of a method or a metric reads.

A method turns pictures into codes (:meth:`Method.embed`) and codes into pictures (:meth:`Method.render`).
Inversion and editing are the same call with a different ``w_plus``. The harness supplies pictures, devices,
seeds, storage and scoring; a method never touches a file except through :class:`Context`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError, DataError, ShapeError, UnknownName, WeightsError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.generator import SharedGenerator

__all__ = [
    "BenchError",
    "Context",
    "DataError",
    "DatasetInfo",
    "Inversion",
    "Method",
    "PairMetric",
    "RunMetric",
    "ShapeError",
    "TrainableMethod",
    "UnknownName",
    "WeightsError",
]


@dataclass(frozen=True)
class DatasetInfo:
    """What a method may know about the data: never the pictures of other images, never the ground truth."""

    id: str
    domain: str
    resolution: int
    count: int


@dataclass
class Inversion:
    """What a method keeps of a batch of pictures.

    Args:
        w_plus: (B, L, D) float32 latent codes, L = 2 log2(R) - 2.
        memory: name -> (B, ...) tensors of whatever else is needed to render again (HFGI: the distortion map).
    """

    w_plus: Tensor
    memory: dict[str, Tensor] = field(default_factory=dict)

    def rate(self) -> int:
        """Floats kept per image: the code and everything in memory."""
        kept = [self.w_plus, *self.memory.values()]
        return int(sum(t[0].numel() for t in kept))

    def __getitem__(self, index: slice) -> Inversion:
        """A sub-batch."""
        return Inversion(self.w_plus[index], {k: v[index] for k, v in self.memory.items()})


@dataclass
class Context:
    """What the harness hands to a method.

    ``generator`` is the one frozen StyleGAN2 of the domain, shared by all methods. ``load_weights(weights_id)``
    returns a verified state dict from ``weights/manifest.yaml``. ``image_seeds`` holds one derived seed per image of
    the batch now in work, so that a method that needs random numbers is independent of batch split and worker count.
    """

    domain: str
    generator: SharedGenerator
    device: torch.device
    load_weights: Callable[[str], Mapping[str, Tensor]]
    precision: str = "fp32"
    image_seeds: list[int] = field(default_factory=list)
    progress: Callable[[float], None] = lambda fraction: None


class Method:
    """One inversion method. The file's stem is its id: ``methods/e4e.py`` is ``e4e``.

    Class attributes (data, so that the harness can list them without running anything):
        title: name in tables.
        source: paper and, where the weights need it, upstream commit.
        weights: domain -> id, or list of ids, in ``weights/manifest.yaml`` or ``weights/published.yaml`` (empty: needs
            none but the generator). A run needs and records all of them.
        options: every option with its default; ``ablations.yaml`` and ``--set key=value`` override them. One whose name
            ends in ``_weights`` holds the id of further weights, "" for none; a run needs and records those too. One
            called ``untrained`` (default False) replaces all weights by seeded start values: ``bench check`` then
            needs no files.
        quick: overrides of ``options`` with which four pictures take seconds; ``bench check`` uses them.
        control: True for ceilings and floors, which tables set apart.
        cost: "fast", or "slow" for methods that optimise per image (profiles give those a subset).
    """

    title: ClassVar[str] = ""
    source: ClassVar[str] = ""
    weights: ClassVar[Mapping[str, Any]] = {}
    options: ClassVar[Mapping[str, Any]] = {}
    quick: ClassVar[Mapping[str, Any]] = {}
    control: ClassVar[bool] = False
    cost: ClassVar[str] = "fast"

    def __init__(self, context: Context, **options: Any):
        unknown = sorted(set(options) - set(self.options))
        if unknown:
            method_id = type(self).__module__.rsplit(".", 1)[-1]
            raise UnknownName.of(f"option of method {method_id!r}", unknown[0], self.options)
        self.context = context
        self.generator = context.generator
        self.device = context.device
        self.opt: dict[str, Any] = {**self.options, **options}
        self.setup()

    def setup(self) -> None:
        """Build networks and load weights; outside every clock."""

    @classmethod
    def skip(cls, dataset: DatasetInfo) -> str | None:
        """None, or the reason (shown to the user) why this method cannot run on ``dataset``."""
        if cls.weights and dataset.domain not in cls.weights:
            return f"weights cover domains {sorted(cls.weights)}, dataset domain is {dataset.domain!r}"
        return None

    def embed(self, x: Tensor) -> Inversion:
        """Invert. x: (B, 3, R, R) float32 in [-1, 1], R the dataset's resolution. Images are independent."""
        raise NotImplementedError(f"{type(self).__qualname__}.embed")

    def render(self, w_plus: Tensor, inversion: Inversion) -> Tensor:
        """The one path to pixels: (B, L, D) codes -> (B, 3, R, R), unclamped.

        With ``inversion.w_plus`` this is the reconstruction, with edited codes it is the edit.
        """
        return self.generator.synthesize(w_plus)


class TrainableMethod(Method):
    """A method with networks of its own. The training loop needs nothing else."""

    def trainable(self) -> torch.nn.Module:
        """The module whose parameters are optimised."""
        raise NotImplementedError(f"{type(self).__qualname__}.trainable")

    def training_loss(self, x: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """Named scalar losses for a batch (B, 3, R, R) in [-1, 1]; the loop sums what its preset weights."""
        raise NotImplementedError(f"{type(self).__qualname__}.training_loss")


class Metric:
    """What every metric tells about itself.

    Class attributes:
        higher_is_better, ideal: ``ideal`` is the value for identical pictures.
        title, unit: heading in tables; the unit ("dB") follows it, or is empty.
        source: definition (paper; library whose numbers it equals).
        version: bumped when the numbers move.
        details: what else fixes the numbers (window, network, ...), part of the signature.
    """

    higher_is_better: ClassVar[bool] = False
    ideal: ClassVar[float] = 0.0
    title: ClassVar[str] = ""
    unit: ClassVar[str] = ""
    source: ClassVar[str] = ""
    version: ClassVar[str] = "v1"
    details: ClassVar[str] = ""


class PairMetric(Metric):
    """A number per (source, reconstruction) pair. The file's stem is its id: ``bench/metrics/mae.py`` is ``mae``.

    Class attributes beside those of :class:`Metric`:
        size: side the pair is brought to before scoring, or None for the stored resolution.
        resize: the rule of :func:`bench.images.resize` used when a change of size is needed.
        value_range: (low, high) of the pictures handed to ``__call__``.
    """

    size: ClassVar[int | None] = None
    resize: ClassVar[str] = "bilinear_aa"
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = device

    @classmethod
    def signature(cls, metric_id: str) -> str:
        """``id|version|size|resampler|range[|details]``: all that is needed to compute the same number elsewhere."""
        low, high = cls.value_range
        size = [str(cls.size), cls.resize] if cls.size else ["native", "none"]
        parts = [metric_id, cls.version, *size, f"{low:g}..{high:g}"]
        return "|".join(parts + ([cls.details] if cls.details else []))

    @classmethod
    def missing(cls) -> str | None:
        """None, or the command that brings what this metric lacks (shown instead of a number)."""
        return None

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B, 3, H, W) source and reconstruction in ``value_range`` -> (B,) float64. Pairs are independent."""
        raise NotImplementedError(f"{type(self).__qualname__}.__call__")

    def pair(self, x: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor]:
        """Check a pair and bring it to the metric's device in float64 (float32 where a device has no float64).

        Raises:
            ShapeError: not two batches (B, 3, H, W) of one shape; nothing is broadcast.
            BenchError: values outside ``value_range``: the usual sign of a picture in the other convention.
        """
        import torch

        if x.ndim != 4 or x.shape[1] != 3 or x.shape != x_hat.shape:
            raise ShapeError(
                "a metric compares two batches of RGB pictures",
                got=f"{tuple(x.shape)} and {tuple(x_hat.shape)}",
                expected="one shape (B, 3, H, W) for both",
            )
        low, high = self.value_range
        slack = 1e-4 * (high - low)
        for name, batch in (("source", x), ("reconstruction", x_hat)):
            least, most = (float(batch.amin()), float(batch.amax())) if batch.numel() else (low, high)
            if least < low - slack or most > high + slack:  # NaN passes: its NaN score is a failure
                raise BenchError(
                    f"{name} leaves the range of metric {type(self).__module__.rsplit('.', 1)[-1]!r}",
                    got=f"{least:g} to {most:g}",
                    expected=f"{low:g} to {high:g}",
                    fix="convert with bench.images; never guess a range",
                )
        dtype = torch.float32 if torch.device(self.device).type == "mps" else torch.float64
        return x.to(self.device, dtype), x_hat.to(self.device, dtype)


class RunMetric(Metric):
    """A number per image that the run's record states, such as the rate. No picture is read.

    Scoring asks ``from_run`` once and writes the value for every id of the run that has an image, so that its rows
    have the shape of all others (n, failures and common subsets then need no special case).
    """

    @classmethod
    def signature(cls, metric_id: str) -> str:
        """``id|version|run[|details]``."""
        return "|".join([metric_id, cls.version, "run"] + ([cls.details] if cls.details else []))

    @classmethod
    def missing(cls) -> str | None:
        """None: a run record is all it needs."""
        return None

    def from_run(self, run: Mapping[str, Any]) -> float:
        """The value from the parsed ``run.json``; DataError names the key that is absent."""
        raise NotImplementedError(f"{type(self).__qualname__}.from_run")
