"""``bench check``: the contract of a method or metric, tried on four toy pictures in seconds.

The same checks run in tests/contract over everything the registry finds. A check returns nothing when it holds and
raises :class:`bench.toy.Broken` with the reason when it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import api, registry, weights
from bench.errors import BenchError, UnknownName
from bench.metric_checks import MetricChecks
from bench.published.listing import declared
from bench.runner import check_shapes, image_seed, load_method
from bench.toy import COUNT, TOY_SIDE, Broken, NotChecked, Outcome, toy_images

if TYPE_CHECKING:
    from torch import Tensor

    from bench.generator import SharedGenerator

# Largest difference of a picture in [-1, 1] between computing images together and apart. Feed-forward networks differ
# by the order of float32 additions alone; an optimisation feeds such differences back at every step.
TOLERANCE = {"fast": 1e-4, "slow": 5e-3}


class MethodChecks:
    """The contract of one method.

    Methods without weights, and those with the option ``untrained``, run on a tiny seeded generator, so the outcome is
    the same whatever has been fetched. Others need the networks their weights were made for: they run in the first
    domain whose weights are here. For each domain whose weights are here, one clause more: they load, and invert.
    """

    def __init__(self, root: Path, name: str):
        self.root, self.name = Path(root), name
        self.cls = registry.methods(root).load(name)

    def checks(self) -> dict[str, Callable[[], None]]:
        return {
            "documented": self.documented,
            "options are listed and checked": self.options,
            "skip gives a reason or None": self.skip,
            "shapes and types": self.shapes,
            "finite": self.finite,
            "deterministic": self.deterministic,
            "independent of batch split": self.batch_split,
            "independent of order": self.order,
            "degree 0 is the reconstruction": self.degree_zero,
            "input is left alone": self.input_kept,
            **{f"weights of domain {d} fit": partial(self.weights_fit, d) for d in self.lacking if not self.lacking[d]},
        }

    @cached_property
    def lacking(self) -> dict[str, list[str]]:
        """Domain -> what its weights lack here, the generator included; empty lists where all is here."""
        manifest = weights.read_manifest(self.root)
        domains = manifest.all_domains()
        found: dict[str, list[str]] = {}
        for domain in self.cls.weights:
            generator = [domains[domain].generator] if domain in domains else []
            ids = [*generator, *declared(self.cls.weights, domain)]
            found[domain] = [] if generator else [f"no generator is listed for domain {domain!r}"]
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
        return (["untrained networks on a toy generator stand in for its weights"] if self.untrained else []) + lines

    @cached_property
    def quick(self) -> dict[str, Any]:
        """Options that make the check fast."""
        return dict(self.cls.quick)

    @cached_property
    def method(self) -> api.Method:
        if not self.cls.weights:
            return self.cls(self._context(self.generator), **self.quick)
        if self.untrained:
            return self.cls(self._context(self.generator), **{**self.quick, "untrained": True})
        domain = next((d for d, lack in self.lacking.items() if not lack), None)
        if domain is None:
            absent = "; ".join(f"{d}: {', '.join(lack)}" for d, lack in self.lacking.items())
            raise NotChecked(f"needs weights ({absent}) and has no option `untrained`")
        return load_method(self.root, self.name, domain, self.quick)

    @cached_property
    def generator(self) -> SharedGenerator:
        from bench.generator import SharedGenerator

        return SharedGenerator.toy(TOY_SIDE)

    def _context(self, generator: SharedGenerator) -> api.Context:
        def refuse(weights_id: str) -> Mapping[str, Tensor]:
            raise BenchError(f"method {self.name!r} loads {weights_id!r}, which its `weights` do not list")

        return api.Context(domain=generator.domain, generator=generator, device=generator.device, load_weights=refuse)

    @cached_property
    def x(self) -> Tensor:
        from bench.images import to_tensor

        return to_tensor(toy_images(self.method.generator.resolution))

    def invert(self, rows: list[int], global_seed: int = 0) -> tuple[api.Inversion, Tensor]:
        """embed and render the given toy pictures, as the runner does."""
        import torch

        torch.manual_seed(global_seed)
        self.method.context.image_seeds = [image_seed(0, "toy", str(row)) for row in rows]
        with torch.no_grad():
            inversion = self.method.embed(self.x[rows].clone())
            return inversion, self.method.render(inversion.w_plus, inversion)

    @cached_property
    def together(self) -> tuple[api.Inversion, Tensor]:
        return self.invert(list(range(COUNT)))

    def documented(self) -> None:
        missing = [a for a in ("title", "source") if not getattr(self.cls, a)]
        missing += [] if self.cls.__doc__ else ["docstring"]
        if missing:
            raise Broken(f"no {', '.join(missing)}")
        if self.cls.cost not in TOLERANCE:
            raise Broken(f"cost is {self.cls.cost!r}, expected one of {sorted(TOLERANCE)}")

    def options(self) -> None:
        unknown = sorted(set(self.quick) - set(self.cls.options))
        if unknown:
            raise Broken(f"`quick` names {unknown}, which are no options")
        try:
            self.cls(self._context(self.generator), no_such_option=1)
        except UnknownName:
            return
        raise Broken("an unknown option is accepted")

    def skip(self) -> None:
        answer = self.cls.skip(api.DatasetInfo("toy", "no_such_domain", TOY_SIDE, COUNT))
        if answer is not None and not (isinstance(answer, str) and answer.strip()):
            raise Broken(f"skip() returned {answer!r}")

    def shapes(self) -> None:
        inversion, x_hat = self.together
        if not isinstance(inversion, api.Inversion):
            raise Broken(f"embed returned {type(inversion).__name__}, expected Inversion")
        check_shapes(self.method, self.x, inversion, x_hat)
        if str(inversion.w_plus.dtype) != "torch.float32":
            raise Broken(f"w_plus is {inversion.w_plus.dtype}, expected torch.float32")
        if inversion.w_plus.requires_grad or x_hat.requires_grad:
            raise Broken("results carry a graph: detach them")

    def finite(self) -> None:
        inversion, x_hat = self.together
        for what, values in {"x_hat": x_hat, "w_plus": inversion.w_plus, **inversion.memory}.items():
            if not values.isfinite().all():
                raise Broken(f"{what} has values that are not finite")

    def deterministic(self) -> None:
        """Two runs agree bit for bit although the global random state differs: seeds come from image_seeds alone."""
        again = self.invert(list(range(COUNT)), global_seed=1)
        if not (again[1] == self.together[1]).all() or not (again[0].w_plus == self.together[0].w_plus).all():
            raise Broken(
                f"a second run differs by {self._gap(again[1], self.together[1]):.2g}: use context.image_seeds"
            )

    def batch_split(self) -> None:
        import torch

        apart = torch.cat([self.invert([row])[1] for row in range(COUNT)])
        self._close(apart, self.together[1], "images computed one by one differ")

    def order(self) -> None:
        backwards = self.invert(list(range(COUNT))[::-1])[1]
        self._close(backwards.flip(0), self.together[1], "images in another order differ")

    def degree_zero(self) -> None:
        """An edit by degree 0 gives the reconstruction: nothing is hidden outside w_plus and memory."""
        import torch

        inversion, x_hat = self.together
        direction = torch.ones_like(inversion.w_plus)
        with torch.no_grad():
            edited = self.method.render(inversion.w_plus + 0.0 * direction, inversion)
        self._close(edited, x_hat, "render with the same codes differs")

    def input_kept(self) -> None:
        import torch

        x = self.x.clone()
        self.method.context.image_seeds = [image_seed(0, "toy", str(row)) for row in range(COUNT)]
        with torch.no_grad():
            inversion = self.method.embed(x)
            codes = inversion.w_plus.clone()
            self.method.render(inversion.w_plus, inversion)
        if not (x == self.x).all():
            raise Broken("embed changes its input in place")
        if not (codes == inversion.w_plus).all():
            raise Broken("render changes the codes in place")

    def weights_fit(self, domain: str) -> None:
        """The real weights load with default options and invert one picture of the domain's size."""
        import torch

        from bench.images import to_tensor

        method = load_method(self.root, self.name, domain)
        x = to_tensor(toy_images(method.generator.resolution, count=1))
        method.context.image_seeds = [image_seed(0, "toy", "0")]
        with torch.no_grad():
            inversion = method.embed(x)
            x_hat = method.render(inversion.w_plus, inversion)
        check_shapes(method, x, inversion, x_hat)
        if not x_hat.isfinite().all():
            raise Broken("x_hat has values that are not finite")

    def _close(self, a: Tensor, b: Tensor, what: str) -> None:
        gap, allowed = self._gap(a, b), TOLERANCE.get(self.cls.cost, 0.0)
        if not gap <= allowed:
            raise Broken(f"{what} by {gap:.2g}, allowed {allowed:g}")

    @staticmethod
    def _gap(a: Tensor, b: Tensor) -> float:
        return float((a - b).abs().max())


def checks_of(root: Path, name: str) -> list[MethodChecks | MetricChecks]:
    """The checks for everything called ``name``: a method, a metric, or one of each.

    Raises:
        UnknownName: neither. BenchError: it cannot be imported.
    """
    methods, metrics = registry.methods(root), registry.metrics(root)
    if name not in methods.names() and name not in metrics.names():
        raise UnknownName.of("method or metric", name, [*methods.names(), *metrics.names()])
    found: list[MethodChecks | MetricChecks] = []
    if name in methods.names():
        found.append(MethodChecks(root, name))
    if name in metrics.names():
        found.append(MetricChecks(root, name))
    return found


def run_checks(subject: MethodChecks | MetricChecks) -> list[Outcome]:
    """Every check of a subject; an exception of the plug-in fails its check and the rest go on."""
    outcomes = []
    for name, check in subject.checks().items():
        try:
            check()
        except Broken as broken:
            outcomes.append(Outcome(name, False, str(broken)))
        except NotChecked as reason:
            outcomes.append(Outcome(name, False, str(reason), checked=False))
        except Exception as error:  # a plug-in may raise anything
            outcomes.append(Outcome(name, False, f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]))
        else:
            outcomes.append(Outcome(name, True))
    return outcomes
