"""The contract of methods, attribute predictors and landmark detectors; authors import it from :mod:`bench.api`.

A method turns images into latents (:meth:`Method.embed`) and latents into images (:meth:`Method.render`).
Inversion and editing are the same call with a different ``w_plus``. The harness supplies images, devices,
seeds, storage and scoring; a method never touches a file except through :class:`Context`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bench.errors import UnknownName, WeightsError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.generator import SharedGenerator


def _no_file(weights_id: str, part: str) -> Path:
    raise WeightsError(f"the file of weights {weights_id!r} was not handed over", fix="let the harness build it")


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
        steps: (B, S, L, D) codes after each step of a method that comes to its own in S steps, the last equal to
            ``w_plus``; S is the same for all pictures. A trace to draw curves from: nothing needs it to render, and the
            rate does not count it. For methods without memory, whose pictures the shared generator makes from codes.
    """

    w_plus: Tensor
    memory: dict[str, Tensor] = field(default_factory=dict)
    steps: Tensor | None = None

    def rate(self) -> int:
        """Floats kept per image: the code and everything in memory."""
        tensors = [self.w_plus, *self.memory.values()]
        return int(sum(t[0].numel() for t in tensors))

    def __getitem__(self, index: slice) -> Inversion:
        """A sub-batch."""
        steps = None if self.steps is None else self.steps[index]
        return Inversion(self.w_plus[index], {k: v[index] for k, v in self.memory.items()}, steps)


@dataclass
class Context:
    """What the harness hands to a method.

    ``generator`` is the one frozen StyleGAN2 of the domain, shared by all methods. ``load_weights(weights_id)``
    returns a verified state dict from ``weights/manifest.yaml``, ``weights_file(weights_id, part)`` the path of a
    verified file that another library reads (ONNX). ``image_seeds`` holds one derived seed per image of the batch now
    in work, so that a method that needs random numbers is independent of batch split and worker count.
    ``landmark_sources()`` gives the project's sources by name, see :mod:`bench.predictors.landmarks`.
    """

    domain: str
    generator: SharedGenerator
    device: torch.device
    load_weights: Callable[[str], Mapping[str, Tensor]]
    precision: str = "fp32"
    image_seeds: list[int] = field(default_factory=list)
    progress: Callable[[float], None] = lambda fraction: None
    weights_file: Callable[[str, str], Path] = _no_file
    landmark_sources: Callable[[], Mapping[str, Any]] = dict


class Judge:
    """Reads attributes off pictures. The file's stem is its id: ``judges/smile.py`` is the judge ``smile``.

    Class attributes:
        domains: those it was made for; without a name the first judge of a domain is taken.
        weights: ids of the weights it loads; results record their hashes.
    """

    domains: ClassVar[Sequence[str]] = ()
    weights: ClassVar[Sequence[str]] = ()

    def __init__(self, root: Path, device: torch.device):
        self.root, self.device = root, device

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, R, R) in [-1, 1] -> attribute -> (B,). Pictures are independent."""
        raise NotImplementedError(f"{type(self).__qualname__}.__call__")


class Landmarks:
    """Finds the 68 points of a face (300-W order). ``landmarks/mine.py`` is the source ``mine``.

    Class attributes:
        domains: those it was made for.
    """

    domains: ClassVar[Sequence[str]] = ()

    def __init__(self, context: Context, weights_id: str):
        self.context, self.weights_id = context, weights_id

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, R, R) in [-1, 1] -> (B, 68, 2), (column, row); (0, 0) is the centre of the first pixel."""
        raise NotImplementedError(f"{type(self).__qualname__}.__call__")


class Method:
    """One inversion method. The file's stem is its id: ``methods/e4e.py`` is ``e4e``.

    Class attributes (data, so that the harness can list them without running anything):
        title: name in tables.
        source: paper and, where the weights need it, upstream commit.
        weights: domain -> id, or list of ids, in ``weights/manifest.yaml`` or ``weights/published.yaml`` (empty: needs
            none but the generator). A run needs and records all of them.
        options: every option with its default; ``ablations.yaml`` and ``--set key=value`` override them. One whose name
            ends in ``_weights`` holds the id of further weights ("" for none) or a mapping domain -> id; a run needs
            and records those too. One called ``untrained`` (default False) replaces all weights by seeded start values:
            ``bench check`` then needs no files.
        domain_options: domain -> options whose defaults differ there; everything else overrides them.
        unpublished: domain -> why there are no weights for it, where that is known.
        lowest: option -> the smallest number it may be, for those that have one.
        quick: overrides of ``options`` with which four pictures take seconds; ``bench check`` uses them.
        control: True for ceilings and floors, which tables set apart.
        expects: where a control must land, a key of ``bench.analysis.controls.EXPECTATIONS``.
        shown: "own" picture, or "another" one of the run for the control that must score as chance does.
        cost: "fast", or "slow" for methods that optimise per image (profiles give those a subset).
    """

    title: ClassVar[str] = ""
    source: ClassVar[str] = ""
    weights: ClassVar[Mapping[str, Any]] = {}
    options: ClassVar[Mapping[str, Any]] = {}
    domain_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    unpublished: ClassVar[Mapping[str, str]] = {}
    lowest: ClassVar[Mapping[str, float]] = {}
    quick: ClassVar[Mapping[str, Any]] = {}
    control: ClassVar[bool] = False
    expects: ClassVar[str] = ""
    shown: ClassVar[str] = "own"
    cost: ClassVar[str] = "fast"

    def __init__(self, context: Context, **options: Any):
        unknown = sorted(set(options) - set(self.options))
        if unknown:
            method_id = type(self).__module__.rsplit(".", 1)[-1]
            raise UnknownName.of(f"option of method {method_id!r}", unknown[0], self.options)
        self._place(context, options)
        self.setup()

    def _place(self, context: Context, options: Mapping[str, Any]) -> None:
        self.context = context
        self.generator = context.generator
        self.device = context.device
        self.opt: dict[str, Any] = {**self.options, **self.domain_options.get(context.domain, {}), **options}

    def setup(self) -> None:
        """Build networks and load weights; outside every clock."""

    @classmethod
    def skip(cls, dataset: DatasetInfo) -> str | None:
        """None, or the reason (shown to the user) why this method cannot run on ``dataset``."""
        if cls.weights and dataset.domain not in cls.weights:
            why = f": {cls.unpublished[dataset.domain]}" if dataset.domain in cls.unpublished else ""
            able = ", ".join(sorted(cls.weights))
            return f"no weights for domain {dataset.domain!r}{why}; there are some for: {able}"
        return None

    def embed(self, x: Tensor) -> Inversion:
        """Invert. x: (B, 3, R, R) float32 in [-1, 1], R the dataset's resolution. Images are independent."""
        raise NotImplementedError(f"{type(self).__qualname__}.embed")

    def render(self, w_plus: Tensor, inversion: Inversion) -> Tensor:
        """The one path to pixels: (B, L, D) codes -> (B, 3, R, R), unclamped.

        With ``inversion.w_plus`` this is the reconstruction, with edited codes it is the edit.
        """
        return self.generator.synthesize(w_plus)

    def latent_maps(self, inversion: Inversion) -> Inversion | None:
        """The same inversion with the feature maps that its picture is made from in memory; None where there are none.

        ``render`` takes it too and gives the same picture for the same codes; an edit leaves the maps as they are.
        """
        return None


class TrainableMethod(Method):
    """A method with networks of its own. The training loop asks for these and for nothing else.

    Class attributes:
        training: options of a training with their defaults; a preset's ``options`` override them.
    """

    training: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def to_train(cls, context: Context) -> Self:
        """A method without :meth:`setup`, which would ask for trained weights; ``start_training`` comes next."""
        method = cls.__new__(cls)
        method._place(context, {})
        return method

    def start_training(self, options: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """Build the networks to train; called once, with torch's random numbers seeded.

        Args:
            options: ``training``, overridden. weights: loss -> its weight; a loss of weight 0 need not be computed.
        """
        raise NotImplementedError(f"{type(self).__qualname__}.start_training")

    def trainable(self) -> torch.nn.Module:
        """The module whose parameters are optimised. Everything else stays frozen, in evaluation mode."""
        raise NotImplementedError(f"{type(self).__qualname__}.trainable")

    def discriminators(self) -> Mapping[str, torch.nn.Module]:
        """Networks trained against the method, by name; each has an optimiser of its own."""
        return {}

    def training_losses(self, x: Tensor, rng: torch.Generator, images_seen: int) -> Iterator[dict[str, Tensor]]:
        """Named scalar losses of each inner step; most methods have one. Gradients of all steps are added up.

        Args:
            x: (B, 3, R, R) in [-1, 1]. ``context.image_seeds`` holds one seed for each of its pictures.
            rng: for what no single picture owns. images_seen: pictures the training has drawn before this batch.
        """
        yield self.training_loss(x, rng)

    def training_latents(self, x: Tensor) -> Iterator[Tensor]:
        """(B, L, D) codes of each inner step, differentiable; nothing is rendered for a loss."""
        yield self.embed(x).w_plus

    def training_loss(self, x: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """Named scalar losses for a batch (B, 3, R, R) in [-1, 1]; the loop sums what its preset weights."""
        raise NotImplementedError(f"{type(self).__qualname__}.training_loss")

    def discriminator_loss(self, name: str, x: Tensor, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        """Named scalar losses of a discriminator, after ``training_losses`` of the same batch."""
        raise NotImplementedError(f"{type(self).__qualname__}.discriminator_loss")

    def trained(self, net: torch.nn.Module) -> dict[str, Tensor]:
        """Tensors of the weights to export, in the published layout; ``net`` is ``trainable()`` or its average."""
        raise NotImplementedError(f"{type(self).__qualname__}.trained")
