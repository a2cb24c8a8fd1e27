"""``bench check``: the contract of a method or metric, tried on four toy pictures in seconds.

The same checks run in tests/contract over everything the registry finds. A check returns nothing when it holds and
raises :class:`bench.contract.toy.Broken` with the reason when it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import api, registry
from bench.contract.check_metric import MetricChecks
from bench.contract.subject import Subject
from bench.contract.toy import COUNT, TOY_SIDE, Broken, NotChecked, Outcome, toy_images
from bench.errors import UnknownName, typed_message_of
from bench.inversion.runner import check_shapes, image_seed, load_method

if TYPE_CHECKING:
    from torch import Tensor


# Largest difference of a picture in [-1, 1] between computing images together and apart. Feed-forward networks differ
# by the order of float32 additions alone; an optimisation feeds such differences back at every step.
TOLERANCE = {"fast": 1e-4, "slow": 5e-3}
DEVICE_TOLERANCE = (
    2e-2  # between a CPU and an accelerator: a picture may be rounded to 8 bits on the way, 2/255 a level
)
FARTHEST = 16.0  # of a picture meant for [-1, 1]: far beyond any untrained network here, far below 8-bit values


class MethodChecks(Subject):
    """The contract of one method.

    Methods without weights, and those with the option ``untrained``, run on a tiny seeded generator, so the outcome is
    the same whatever has been fetched. Others need the networks their weights were made for: they run in the first
    domain whose weights are here. For each domain whose weights are here, one clause more: they load, and invert.
    """

    def checks(self) -> dict[str, Callable[[], None]]:
        """Title -> check, in the order in which they run."""
        return {
            "documented": self.documented,
            "options are listed and checked": self.options,
            "skip gives a reason or None": self.skip,
            "shapes and types": self.shapes,
            "finite": self.finite,
            "steps lead to the result": self.steps,
            "range of pictures": self.range,
            "deterministic": self.deterministic,
            "independent of batch split": self.batch_split,
            "independent of order": self.order,
            "degree 0 is the reconstruction": self.degree_zero,
            "input is left alone": self.input_kept,
            **{f"the same on {where}": partial(self.same_on, where) for where in self.accelerators},
            **{f"weights of domain {d} fit": partial(self.weights_fit, d) for d in self.lacking if not self.lacking[d]},
        }

    def documented(self) -> None:
        """Check that title, source, docstring and cost are given."""
        missing = [a for a in ("title", "source") if not getattr(self.cls, a)]
        missing += [] if self.cls.__doc__ else ["docstring"]
        if missing:
            raise Broken(f"no {', '.join(missing)}")
        if self.cls.cost not in TOLERANCE:
            raise Broken(f"cost is {self.cls.cost!r}, expected one of {sorted(TOLERANCE)}")

    def options(self) -> None:
        """Check that an unknown option is refused and ``quick`` names options only."""
        unknown = sorted(set(self.quick) - set(self.cls.options))
        if unknown:
            raise Broken(f"`quick` names {unknown}, which are no options")
        try:
            self.cls(self._context(self.generator), no_such_option=1)
        except UnknownName:
            return
        raise Broken("an unknown option is accepted")

    def skip(self) -> None:
        """Check that ``skip()`` returns None or a reason."""
        answer = self.cls.skip(api.DatasetInfo("toy", "no_such_domain", TOY_SIDE, COUNT))
        if answer is not None and not (isinstance(answer, str) and answer.strip()):
            raise Broken(f"skip() returned {answer!r}")

    def shapes(self) -> None:
        """Check shapes and types of ``w_plus``, ``steps``, memory and reconstruction."""
        inversion, x_hat = self.together
        check_shapes(self.method, self.x, inversion, x_hat)
        if str(inversion.w_plus.dtype) != "torch.float32":
            raise Broken(f"w_plus is {inversion.w_plus.dtype}, expected torch.float32")
        if inversion.steps is not None and str(inversion.steps.dtype) != "torch.float32":
            raise Broken(f"steps are {inversion.steps.dtype}, expected torch.float32")
        if any(t.requires_grad for t in (inversion.w_plus, x_hat, *_trace(inversion).values())):
            raise Broken("results carry a graph: detach them")

    def finite(self) -> None:
        """Check that reconstruction, ``w_plus``, steps and memory are finite."""
        inversion, x_hat = self.together
        kept = {"w_plus": inversion.w_plus, **_trace(inversion), **inversion.memory}
        for what, values in {"x_hat": x_hat, **kept}.items():
            if not values.isfinite().all():
                raise Broken(f"{what} has values that are not finite")

    def steps(self) -> None:
        """A trace ends where the method does, and the shared generator draws from it what the method renders."""
        inversion, x_hat = self.together
        if inversion.steps is None:
            return
        if inversion.memory:
            raise Broken(f"steps beside memory ({', '.join(inversion.memory)}): codes alone do not make its pictures")
        last = inversion.steps[:, -1]
        if not (last == inversion.w_plus).all():
            raise Broken(f"the last step differs from w_plus by {self._gap(last, inversion.w_plus):.2g}")
        drawn = self.method.generator.synthesize(inversion.w_plus)
        self._close(drawn, x_hat, "render and the shared generator, which draws steps, differ")

    def range(self) -> None:
        """Pictures are unclamped but meant for [-1, 1]."""
        farthest = float(self.together[1].abs().max())
        if farthest > FARTHEST:
            raise Broken(f"x_hat reaches {farthest:.3g}; pictures are float32 in [-1, 1], not 8-bit")

    def deterministic(self) -> None:
        """Two runs agree bit for bit although the global random state differs: seeds come from image_seeds alone."""
        again = self.invert(list(range(COUNT)), global_seed=1)
        if not (again[1] == self.together[1]).all() or not (again[0].w_plus == self.together[0].w_plus).all():
            raise Broken(
                f"a second run differs by {self._gap(again[1], self.together[1]):.2g}: use context.image_seeds"
            )

    def batch_split(self) -> None:
        """Check that images inverted one by one give what a batch gives."""
        import torch

        apart = [self.invert([row]) for row in range(COUNT)]
        self._close(torch.cat([x_hat for _, x_hat in apart]), self.together[1], "images computed one by one differ")
        traces = [inversion.steps for inversion, _ in apart]
        together = self.together[0].steps
        counts = {None if one is None else one.shape[1] for one in (together, *traces)}
        if len(counts) > 1:
            raise Broken(f"numbers of steps differ: {', '.join(sorted(map(str, counts)))}")
        if together is not None:
            self._close(torch.cat(traces), together, "steps of images computed one by one differ")

    def order(self) -> None:
        """Check that the order of the images in a batch has no effect."""
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
        """Neither the picture nor what was kept of it is written to: the next edit needs them as they were."""
        import torch

        x = self.x.clone()
        self.method.context.image_seeds = [image_seed(0, "toy", str(row)) for row in range(COUNT)]
        with torch.no_grad():
            inversion = self.method.embed(x)
            held = {"codes": inversion.w_plus, **_trace(inversion), **inversion.memory}
            before = {what: kept.clone() for what, kept in held.items()}
            self.method.render(inversion.w_plus, inversion)
        if not (x == self.x).all():
            raise Broken("its input is changed in place")
        after = {"codes": inversion.w_plus, **_trace(inversion), **inversion.memory}
        changed = [what for what, kept in before.items() if what not in after or not (kept == after[what]).all()]
        if changed or len(after) != len(before):
            raise Broken(f"render changes {', '.join(changed) or 'memory'} in place")

    def same_on(self, where: str) -> None:
        """Built on an accelerator it computes there, and gives what it gives on the CPU."""
        if not self.untrained and self.cls.weights:
            raise NotChecked("needs weights and has no option `untrained`")
        from bench.device import full_precision
        from bench.generator import SharedGenerator

        full_precision()
        toy = SharedGenerator.toy(TOY_SIDE)
        moved = self.on_toy(SharedGenerator(toy.net, toy.latent_avg, toy.domain, where))
        inversion, x_hat = self.invert(list(range(COUNT)), method=moved)
        elsewhere = [str(t.device) for t in (x_hat, *inversion.memory.values()) if t.device.type != where]
        if elsewhere:
            raise Broken(f"results are on {elsewhere[0]}")
        gap = self._gap(x_hat.cpu(), self.together[1])
        if not gap <= DEVICE_TOLERANCE:
            raise Broken(f"pictures differ by {gap:.2g}, allowed {DEVICE_TOLERANCE:g}")

    def weights_fit(self, domain: str) -> None:
        """The real weights load with default options and invert one picture of the domain's size."""
        import torch

        from bench.images import to_tensor

        method = load_method(self.root, self.name, domain, self.given)
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


def _trace(inversion: api.Inversion) -> dict[str, Tensor]:
    return {} if inversion.steps is None else {"steps": inversion.steps}


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
            outcomes.append(Outcome(name, False, typed_message_of(error, 200)))
        else:
            outcomes.append(Outcome(name, True))
    return outcomes
