"""One training loop for every method: draw, sum the weighted losses, step, and be able to go on after any step.

Nothing here is random between steps: pictures, mirroring and every random number of a step follow from the seed and
from how many pictures were drawn before. A checkpoint therefore holds tensors and that one number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.api import TrainableMethod
from bench.errors import BenchError
from bench.seeds import seed_for
from bench.training.data import Sampler
from bench.training.finite import NORM, gradient_norm, refuse
from bench.training.optimizers import make_optimizer, restore_optimizer
from bench.training.precision import LossScale, autocast
from bench.training.preset import OptimizerSettings, Preset
from bench.training.recompute import recompute_layers
from bench.training.world import World


class TrainingImages(Protocol):
    """Training pictures by row number."""

    ids: list[str]
    images: np.ndarray  # (N, R, R, 3) uint8

    def batch(self, rows: np.ndarray, flip: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Rows as (B, 3, R, R) float32 in [-1, 1], mirrored where ``flip``; and labels, which nobody needs here."""
        ...


def check_shares(preset: Preset, processes: int) -> None:
    """Raise BenchError unless every process gets equally many passes."""
    micro = preset.micro_batch or preset.batch // processes
    if not micro or preset.batch % (micro * processes):
        raise BenchError(
            f"a batch of {preset.batch} cannot be shared out",
            got=f"{processes} processes, {micro or 'no'} pictures a pass",
            expected="equally many passes for each process",
            fix="change the number of processes, or `micro_batch` in the preset",
        )


class Loop:
    """A training between two steps.

    Args:
        preset: what to do. method: whose networks learn; its training has been started.
        data: training pictures. device: where to compute.
        teacher: pictures (B, 3, R, R) -> codes (B, D), while the preset's guide lasts.
        world: the processes that train together, all with an equal loop.

    Raises:
        BenchError: the preset has no optimiser for an opponent, the batch cannot be shared out, or the device does not
            compute in the preset's precision.
    """

    def __init__(
        self,
        preset: Preset,
        method: TrainableMethod,
        data: TrainingImages,
        device: torch.device,
        teacher: Callable[[Tensor], Tensor] | None = None,
        world: World | None = None,
    ):
        self.preset, self.method, self.data, self.device, self.teacher = preset, method, data, device, teacher
        self.world = world or World()
        check_shares(preset, self.world.size)
        self.scale = LossScale(preset.precision, device)
        if preset.recompute:
            recompute_layers(method.generator.net)
        self.net = method.trainable().to(device)
        self.discriminators = {name: net.to(device) for name, net in method.discriminators().items()}
        self.average = deepcopy(self.net).requires_grad_(False) if preset.ema_images else None
        for module in (part for net in self.discriminators.values() for part in net.modules()):
            if hasattr(module, "peers"):  # it remembers something of all passes
                module.peers = self.world
        self.optimizer = make_optimizer(self.net, preset.optimizer)
        self.optimizers = {name: make_optimizer(net, self._settings(name)) for name, net in self.discriminators.items()}
        self.sampler = Sampler(len(data.ids), preset.seed, preset.method)
        self.position = 0

    def _settings(self, name: str) -> OptimizerSettings:
        if name not in self.preset.opponents:
            raise BenchError(
                f"no optimizer for {name} of method {self.preset.method}",
                got=sorted(self.preset.opponents),
                fix=f"add `opponents: {{{name}: {{lr: 0.00002}}}}` to the preset",
            )
        return self.preset.opponents[name]

    @property
    def step_count(self) -> int:
        """Steps made so far."""
        return self.position // self.preset.batch

    def steps(self) -> Iterator[dict[str, float]]:
        """Make steps until the preset's last picture; the losses of each."""
        while self.position < self.preset.images:
            yield self.step()

    @property
    def micro(self) -> int:
        """Pictures of a pass."""
        return self.preset.micro_batch or self.preset.batch // self.world.size

    # -- one step -----------------------------------------------------------------------------------------------------

    def step(self) -> dict[str, float]:
        """One update of every network.

        The batch is cut into passes of ``micro_batch`` pictures, shared out among the processes: what a step does
        depends on the passes alone, not on who makes them. Batch norms see one pass each; their running statistics
        become the mean of what every pass alone would have made of them.

        Returns:
            losses, unweighted, and the norm of the gradient of each network; the same in every process. In float16
            ``skipped`` too, 1 where gradients overflowed and nothing was updated.
        Raises:
            Diverged: a loss or a gradient is not finite; parameters are those of the step before.
        """
        preset, report = self.preset, dict[str, float]()
        for optimizer in (self.optimizer, *self.optimizers.values()):
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * preset.rate(self.position)
        statistics = [b for b in self.net.buffers() if b.is_floating_point()]
        before = [b.clone() for b in statistics]
        after = [torch.zeros_like(b) for b in statistics]
        micro = self.micro
        for start in range(self.world.rank * micro, preset.batch, self.world.size * micro):
            for now, was in zip(statistics, before, strict=True):
                now.copy_(was)
            self._accumulate(self._draw(start, micro), start, micro / preset.batch, report)
            for total, now in zip(after, statistics, strict=True):
                total.add_(now, alpha=micro / preset.batch)
        self.world.sum_([*after, *self._gradients()])  # still scaled: what overflows in one process does so in all
        report, skipped = self._update(self.world.sums(report))
        for now, total, was in zip(statistics, after, before, strict=True):
            now.copy_(was if skipped else total)
        if not skipped:
            self._update_average()
        self.position += preset.batch
        return report

    def _update(self, report: dict[str, float]) -> tuple[dict[str, float], bool]:
        """Step every network by its gradients; the report with their norms, and whether nothing was updated."""
        optimizers = [o for o in (self.optimizer, *self.optimizers.values()) if _has_gradients(o)]
        self.scale.undo(optimizers)
        norms = self._norms()
        skipped = self.scale.overflown(norms)
        checked = report if skipped else report | norms
        refuse(self.preset.method, self.step_count, checked, "lower the learning rate or add `clip: 1`")
        self.scale.step(optimizers, skipped)
        return checked | ({"skipped": float(skipped)} if self.scale.used else {}), skipped

    def _gradients(self) -> list[Tensor]:
        """All gradients of this step; the same ones exist in every process."""
        nets = (self.net, *self.discriminators.values())
        return [p.grad for net in nets for p in net.parameters() if p.grad is not None]

    def _draw(self, start: int, count: int) -> Tensor:
        """Pictures ``start`` to ``start + count`` of the step's batch; tells the method their seeds."""
        preset = self.preset
        positions = range(self.position + start, self.position + start + count)
        rows = self.sampler.rows(positions.start, count)
        flips = self.sampler.flips(self.position, preset.batch)[start : start + count] & preset.flip
        self.method.context.image_seeds = [seed_for(preset.seed, preset.method, "picture", p) for p in positions]
        return self.data.batch(rows, flips)[0].to(self.device)

    def _accumulate(self, x: Tensor, start: int, share: float, report: dict[str, float]) -> None:
        """Add the gradients of one pass to those of the step."""
        method, seed = self.method, seed_for(self.preset.seed, self.preset.method, "step", self.position + start)
        torch.manual_seed(seed % 2**63)
        rng = torch.Generator().manual_seed(seed)
        self.net.train()
        for net in self.discriminators.values():
            net.requires_grad_(False)
        guided = self.preset.guide is not None and self.position < self.preset.guide.images
        losses = self._guided(x) if guided else method.training_losses(x, rng, self.position)
        while (terms := self.computed(losses)) is not None:
            self._add(terms, share, report)
        for name, net in () if guided else self.discriminators.items():
            net.train().requires_grad_(True)
            with autocast(self.preset.precision, self.device):
                terms = method.discriminator_loss(name, x, rng, self.step_count)
            self._add(terms, share, report)

    def _guided(self, x: Tensor) -> Iterator[dict[str, Tensor]]:
        """The error of the codes against the teacher's, the same code for all layers."""
        assert self.teacher is not None
        with torch.no_grad():
            target = self.teacher(x).float().unsqueeze(1)
        for w_plus in self.method.training_latents(x):
            yield {"code": F.mse_loss(w_plus.float(), target.expand_as(w_plus))}

    def computed(self, losses: Iterator[dict[str, Tensor]]) -> dict[str, Tensor] | None:
        """The next inner step's losses, None after the last. Forward passes run inside the iterator."""
        with autocast(self.preset.precision, self.device):
            return next(losses, None)

    def _add(self, terms: Mapping[str, Tensor], share: float, report: dict[str, float]) -> None:
        """Backward of the weighted sum of one inner step; unweighted values into the report."""
        absent = sorted(set(terms) - set(self.preset.weights))
        if absent:
            raise BenchError(
                f"no weight for the losses {', '.join(absent)} of method {self.preset.method}",
                got=sorted(self.preset.weights),
                fix="name them under `weights` in the preset; 0 turns a loss off",
            )
        for name, value in terms.items():
            report[name] = report.get(name, 0.0) + share * float(value.detach())
        total = torch.stack([self.preset.weights[name] * value.float() for name, value in terms.items()]).sum()
        self.scale(total * share).backward()

    def _norms(self) -> dict[str, float]:
        """Norms of the gradients: the method's, before it is clipped, and those of opponents that have one."""
        norms = {NORM: gradient_norm(self.net.parameters(), self.preset.clip)}
        for name, net in self.discriminators.items():
            if any(p.grad is not None for p in net.parameters()):
                norms[f"{name}_{NORM}"] = gradient_norm(net.parameters())
        return norms

    def _update_average(self) -> None:
        if self.average is None:
            return
        keep = 0.5 ** (self.preset.batch / min(self.preset.ema_images, max(self.position, self.preset.batch)))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.net.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
            for averaged, measured in zip(self.average.buffers(), self.net.buffers(), strict=True):
                averaged.copy_(measured)

    # -- resume -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that the next step depends on; the same in every process."""
        return {
            "position": self.position,
            "net": self.net.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "opponents": {name: net.state_dict() for name, net in self.discriminators.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scale": self.scale.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on exactly after :meth:`state`, at the preset's learning rates."""
        self.position = state["position"]
        self.net.load_state_dict(state["net"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        restore_optimizer(self.optimizer, state["optimizer"])
        self.scale.restore(state.get("scale", {}))
        for name, net in self.discriminators.items():
            net.load_state_dict(state["opponents"][name])
            restore_optimizer(self.optimizers[name], state["optimizers"][name])


def _has_gradients(optimizer: torch.optim.Optimizer) -> bool:
    return any(p.grad is not None for group in optimizer.param_groups for p in group["params"])
