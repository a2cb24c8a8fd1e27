"""A method under check: built without files where it can be, run on the toy pictures as the runner does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import api, registry
from bench.contract.toy import COUNT, TOY_SIDE, Broken, NotChecked, toy_images
from bench.device import accelerators
from bench.errors import BenchError, UnknownName
from bench.inversion.runner import image_seed, load_method
from bench.predictors import landmarks
from bench.weights import manifest as weights
from bench.weights.listing import declared

if TYPE_CHECKING:
    from torch import Tensor

    from bench.generator import SharedGenerator


class Subject:
    """A method, or a variant of it.

    Args:
        given: options of the variant, over those that make the check fast.
    """

    def __init__(self, root: Path, name: str, given: Mapping[str, Any] | None = None):
        self.root, self.name, self.given = Path(root), name, dict(given or {})
        self.cls = registry.methods(root).load(name)

    @property
    def accelerators(self) -> list[str]:
        """Kinds of accelerator this machine has."""
        return accelerators()

    @cached_property
    def lacking(self) -> dict[str, list[str]]:
        """Domain -> what its weights lack here, the generator included; empty lists where all is here."""
        manifest = weights.read_manifest(self.root)
        domains = manifest.all_domains()
        found: dict[str, list[str]] = {}
        for domain in self.cls.weights:
            generator = [domains[domain].generator] if domain in domains else []
            options = {**self.cls.options, **self.cls.domain_options.get(domain, {}), **self.given}
            ids = [*generator, *declared(self.cls.weights, domain), *weights.chosen_ids(options, domain)]
            found[domain] = [] if generator else [f"no generator is listed for domain {domain!r}"]
            found[domain] += landmarks.unfit(landmarks.chosen(options, domain), domain, self._sources())
            found[domain] += [f"{i} {state}" for i in ids if (state := self._state(i)) not in ("committed", "present")]
        return found

    def _state(self, weights_id: str) -> str:
        try:
            return weights.status(self.root, weights_id)
        except UnknownName:
            return "unknown"

    @property
    def untrained(self) -> bool:
        """Whether the clauses run on untrained networks although the method has weights."""
        return bool(self.cls.weights) and "untrained" in self.cls.options

    def notes(self) -> list[str]:
        """What the clauses do not show."""
        lines = [f"weights of domain {d} were not tried: {', '.join(lack)}" for d, lack in self.lacking.items() if lack]
        if not self.accelerators:
            lines.append("no accelerator here: that results are the same on one was not tried")
        return (["untrained networks on a toy generator stand in for its weights"] if self.untrained else []) + lines

    @cached_property
    def quick(self) -> dict[str, Any]:
        """Options that make the check fast, under those of the variant; a slow method's stay: few steps are checked."""
        slow = self.cls.cost == "slow"
        return {**self.given, **self.cls.quick} if slow else {**self.cls.quick, **self.given}

    @cached_property
    def method(self) -> api.Method:
        """The method under test: with weights where some are here, otherwise untrained on the toy generator."""
        if self.untrained or not self.cls.weights:
            return self.on_toy(self.generator)
        domain = next((d for d, lack in self.lacking.items() if not lack), None)
        if domain is None:
            absent = "; ".join(f"{d}: {', '.join(lack)}" for d, lack in self.lacking.items())
            raise NotChecked(f"needs weights ({absent}) and has no option `untrained`")
        return load_method(self.root, self.name, domain, self.quick)

    def on_toy(self, generator: SharedGenerator) -> api.Method:
        """The method without files. A variant may need what is not here; that is no fault of the method."""
        options = {**self.quick, **({"untrained": True} if self.untrained else {})}
        try:
            return self.cls(self._context(generator), **options)
        except BenchError as error:
            if self.given:
                raise NotChecked(str(error)) from None
            raise

    @cached_property
    def generator(self) -> SharedGenerator:
        """A small untrained generator."""
        from bench.generator import SharedGenerator

        return SharedGenerator.toy(TOY_SIDE)

    def _context(self, generator: SharedGenerator) -> api.Context:
        def refuse(weights_id: str) -> Mapping[str, Tensor]:
            raise BenchError(f"method {self.name!r} loads {weights_id!r}, which its `weights` do not list")

        return api.Context(
            domain=generator.domain,
            generator=generator,
            device=generator.device,
            load_weights=refuse,
            landmark_sources=self._sources,
        )

    def _sources(self) -> dict[str, landmarks.Source]:
        return landmarks.plugged(registry.landmarks(self.root))

    @cached_property
    def x(self) -> Tensor:
        """The toy images as (B, 3, R, R) in [-1, 1]."""
        from bench.images import to_tensor

        return to_tensor(toy_images(self.method.generator.resolution))

    def invert(
        self, rows: list[int], global_seed: int = 0, method: api.Method | None = None
    ) -> tuple[api.Inversion, Tensor]:
        """embed and render the given toy pictures, as the runner does."""
        import torch

        method = method or self.method
        torch.manual_seed(global_seed)
        method.context.image_seeds = [image_seed(0, "toy", str(row)) for row in rows]
        with torch.no_grad():
            inversion = method.embed(self.x[rows].to(method.device, copy=True))
            if not isinstance(inversion, api.Inversion):
                raise Broken(f"embed returned {type(inversion).__name__}, expected Inversion")
            return inversion, method.render(inversion.w_plus, inversion)

    @cached_property
    def together(self) -> tuple[api.Inversion, Tensor]:
        """Inversion and reconstruction of all toy images as one batch."""
        return self.invert(list(range(COUNT)))
