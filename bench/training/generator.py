"""Train the frozen generator of a small domain: auto-encoding first, adversarial afterwards, one loop.

A StyleGAN2 synthesis network learns to draw from codes that a joint encoder (thrown away at the end) gives it, while a
mapping network learns to cover those codes from z ~ N(0, I), and in the later phases discriminators judge samples and
reconstructions. Which terms act when is data (``phases`` of the configuration). Networks grow with the resolution.

Sources: Karras et al. 2020 (StyleGAN2: losses, R1, path length, mixing, EMA); Makhzani et al. 2015 (latent adversary);
Sauer et al. 2021 (projected discriminator).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import WeightsError
from bench.nets.projected_discriminator import STAGES, blurred, select
from bench.seeds import seed_for
from bench.training import checkpoint, losses
from bench.training.adversaries import Drawn, adversarial_gradient, projected_gradient
from bench.training.config import GeneratorConfig, Phase
from bench.training.data import PackedImages, Sampler
from bench.training.finite import finite_step
from bench.training.known import KnownTargets
from bench.training.networks import Networks
from bench.training.scaffold import take_over
from bench.training.world import World

if TYPE_CHECKING:
    from bench.nets.perceptual import PerceptualDistance

QUEUE = 4096  # recent codes kept for the prior and the latent critic
LATENT_BATCH, LATENT_STEPS = 256, 1


class GeneratorTraining:
    """State and one step; :mod:`bench.training.run_generator` drives it.

    Args:
        config: the run.
        train: pictures to learn from, at ``config.size``.
        part_table: (P,) loss weight per part label.
        perceptual: distance of pictures and frozen features, or None where no phase uses it; with a projected
            discriminator its stages include those of :data:`bench.nets.projected_discriminator.STAGES`.
        device: where to compute.
        known: what the training pictures are known to show, or None where no phase uses it.
        world: the processes that train together; each takes its share of a batch.
    """

    phase: Phase  # these three from the first `enter_phase` on
    nets: Networks
    data: PackedImages

    def __init__(
        self,
        config: GeneratorConfig,
        train: PackedImages,
        part_table: Tensor,
        perceptual: PerceptualDistance | None,
        device: torch.device,
        known: KnownTargets | None = None,
        world: World | None = None,
    ):
        self.world = world or World()
        self.known = known
        self.config, self.full, self.table = config, train, part_table.to(device)
        self.perceptual = None if perceptual is None else perceptual.to(device)
        self.device = device
        self.sampler = Sampler(len(train.ids), config.seed, "generator")
        self.position, self.step_count, self.path_mean = 0, 0, torch.zeros((), device=device)
        self.started = False
        self.queue = torch.zeros(0, config.style_dim, device=device)
        torch.manual_seed(seed_for(config.seed, "generator training") % 2**32)

    # -- phases -------------------------------------------------------------------------------------------------------

    def enter_phase(self) -> bool:
        """Move to the phase of the current position; False when the run is over."""
        resolved = self.config.resolve(self.position)
        if resolved is None:
            return False
        phase, self.phase_position = resolved
        if not self.started or phase is not self.phase:
            self._build(phase)
        return True

    def _build(self, phase: Phase) -> None:
        if not self.started:
            self.nets = Networks(self.config, phase.resolution).to(self.device)
        elif phase.resolution != self.nets.resolution:
            self.nets = self.nets.grown(self.config, phase.resolution).to(self.device)
        self.data = self.full.resized(phase.resolution)
        self.phase, self.started = phase, True
        nets = self.nets
        if phase.from_average:
            take_over(nets.generator, nets.average_generator.state_dict())
        mapping = list(nets.generator.style.parameters())
        drawing = [p for name, p in nets.generator.named_parameters() if not name.startswith("style.")]
        betas = (0.0 if phase.adversarial else 0.5, 0.99)
        groups = [
            {"params": drawing, "factor": 1.0},
            {"params": [*nets.encoder.parameters(), *nets.reader.parameters()], "factor": phase.encoder_lr},
            {"params": mapping, "factor": phase.mapping_lr},
        ]
        self.optimizer = torch.optim.Adam(groups, phase.lr, betas)
        judging = [{"params": list(nets.discriminator.parameters()), "factor": phase.discriminator_lr}]
        if nets.projected is not None:
            judging.append({"params": list(nets.projected.parameters()), "factor": phase.projected_lr})
        self.optimizer_d = torch.optim.Adam(judging, phase.lr, (0.0, 0.99))
        self.optimizer_c = torch.optim.Adam(nets.critic.parameters(), 1e-3, (0.0, 0.99))

    def _learning_rate(self) -> float:
        phase = self.phase
        if phase.lr_final is None:
            return phase.lr
        return phase.lr + (phase.lr_final - phase.lr) * min(1.0, self.phase_position / phase.images)

    # -- one step -----------------------------------------------------------------------------------------------------

    def _autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16) if self.config.precision == "bf16" else nullcontext()

    def step(self) -> dict[str, float]:
        """Draw one batch, update every network; returns the losses as floats.

        Raises:
            Diverged: a loss or a gradient is not finite; that network keeps its parameters.
        """
        phase, report = self.phase, dict[str, float]()
        for optimizer in (self.optimizer, self.optimizer_d):
            for group in optimizer.param_groups:
                group["lr"] = self._learning_rate() * group.get("factor", 1.0)
        share = self._share()
        rows = self.sampler.rows(self.position, phase.batch)[share]
        flips = self.sampler.flips(self.position, phase.batch)[share]
        x, labels = self.data.batch(rows, flips)
        targets = None if self.known is None else self.known.batch(rows, flips).to(self.device)
        x = x.to(self.device)
        weight = None if labels is None else losses.part_weights(labels.to(self.device), self.table)
        drawn = self._draw_once(x) if phase.projected else None
        if phase.adversarial or phase.projected:
            report |= self._discriminator_step(x, drawn)
        if phase.drawing:
            report |= self._drawing_step(x, weight, targets, drawn)
            if phase.latent:
                report |= self._latent_steps()
            if phase.path and self.step_count % phase.path_every == 0:
                report |= self._path_step()
            self.nets.average(0.5 ** (phase.batch / phase.ema_images))
        self.position += phase.batch
        self.phase_position += phase.batch
        self.step_count += 1
        return report

    def _share(self) -> slice:
        """This process's part of a batch. Several processes draw noise by position and rank: none has another's state."""
        world, count = self.world, self.phase.batch // self.world.size
        if world.size > 1:
            torch.manual_seed(seed_for(self.config.seed, "generator step", self.position, world.rank) % 2**32)
        return slice(world.rank * count, (world.rank + 1) * count)

    def _update(self, optimizer: torch.optim.Optimizer, terms: Mapping[str, float | Tensor]) -> None:
        """One step of some of the networks by all processes' mean gradient, unless a term or it is not finite."""
        if self.world.size > 1:
            gradients = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
            self.world.sum_(gradients)
            for gradient in gradients:
                gradient.div_(self.world.size)
        finite_step(optimizer, f"the generator in phase {self.phase.name}", self.step_count, terms, "lower `lr`")

    def _samples(self, count: int) -> Tensor:
        """Mapped codes with style mixing, (count, L, D)."""
        generator = self.nets.generator
        w = generator.mapping(torch.randn(2, count, self.config.style_dim, device=self.device).flatten(0, 1)).unflatten(
            0, (2, count)
        )
        w_plus = w[0].unsqueeze(1).repeat(1, generator.n_latent, 1)
        mixed = torch.rand(count, device=self.device) < self.phase.mixing
        cross = torch.randint(1, generator.n_latent, (count,), device=self.device)
        second = (torch.arange(generator.n_latent, device=self.device) >= cross.unsqueeze(1)) & mixed.unsqueeze(1)
        return torch.where(second.unsqueeze(2), w[1].unsqueeze(1), w_plus)

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (B, D) float32 and the noisy W+ codes the generator draws from."""
        w = self.nets.encoder(x).float()
        noisy = w + self.phase.code_noise * torch.randn_like(w)
        return w, noisy.unsqueeze(1).repeat(1, self.nets.generator.n_latent, 1)

    def _draw(self, w_plus: Tensor) -> Tensor:
        """(B, L, D) -> (B, 3, R, R) float32, with fresh noise."""
        image = self.nets.generator.synthesize(w_plus, noise="random")
        assert isinstance(image, Tensor)  # no features were asked for
        return image.float()

    def _draw_once(self, x: Tensor) -> Drawn:
        """Reconstructions and samples of a step, with their graph where the generator learns."""
        assert self.perceptual is not None  # a phase has a projected discriminator
        phase, features = self.phase, self.perceptual.raw
        sigma = phase.projected_blur * max(0.0, 1 - self.phase_position / phase.images)
        with self._autocast():
            with torch.set_grad_enabled(phase.drawing):
                w, w_plus = self._encode(x)
                images = self._draw(torch.cat([w_plus, self._samples(len(x) // 2)]))
                maps = features(images)
                judged = features(blurred(images, sigma)) if phase.projected_blur else maps
            with torch.no_grad():
                real = features(x)
                judged_real = features(blurred(x, sigma)) if phase.projected_blur else real
        return Drawn(w, images, maps, real, judged, judged_real)

    def _perceptual(self, x_hat: Tensor, x: Tensor, drawn: Drawn | None) -> Tensor:
        """Mean perceptual distance of reconstructions; features that are there already are used."""
        assert self.perceptual is not None
        if drawn is None:
            return self.perceptual(x_hat, x).float().mean()
        stages, selected = self.perceptual.stages, self.config.perceptual_stages
        both = ([m[: len(x)] for m in maps] for maps in (drawn.maps, drawn.real_maps))
        unit_hat, unit = (self.perceptual.unit(select(stages, maps, selected)) for maps in both)
        return self.perceptual.between(unit_hat, unit).mean()

    def _drawing_step(
        self, x: Tensor, weight: Tensor | None, targets: Tensor | None, drawn: Drawn | None
    ) -> dict[str, float]:
        phase, nets = self.phase, self.nets
        nets.discriminator.requires_grad_(False)
        with self._autocast():
            if drawn is None:
                w, w_plus = self._encode(x)
                x_hat = self._draw(w_plus)
            else:
                w, x_hat = drawn.w, drawn.images[: len(x)]
            terms = {"reconstruction": (phase.reconstruction, losses.pyramid_l1(x_hat, x, weight))}
            if phase.perceptual and self.perceptual is not None:
                terms["perceptual"] = (phase.perceptual, self._perceptual(x_hat, x, drawn))
            if phase.adversarial:
                if drawn is None:
                    samples = self._draw(self._samples(len(x) // 2))
                    discriminator_input = torch.cat([samples, x_hat[: len(x) - len(samples)]])
                else:
                    discriminator_input = drawn.images[drawn.fakes]
                terms["adversarial"] = (
                    phase.adversarial,
                    losses.generator_adversarial(nets.discriminator(discriminator_input).float()),
                )
            if drawn is not None and nets.projected is not None and self.perceptual is not None:
                nets.projected.requires_grad_(False)
                fake_maps = select(self.perceptual.stages, drawn.judged_maps, STAGES)
                logits = nets.projected([m[drawn.fakes] for m in fake_maps])
                terms["projected"] = (phase.projected, losses.generator_hinge(logits))
        latents = torch.cat([w, self.queue[: 512 - len(w)]])
        terms["prior"] = (phase.prior, losses.moment_prior(latents))
        if phase.known and targets is not None and self.known is not None:
            error = (nets.reader(w) - targets).square().mean(0)
            terms["known"] = (phase.known, (error * self.known.weight.to(self.device)).sum())
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack([weight * term for weight, term in terms.values()]).sum().backward()
        self._update(self.optimizer, {name: term for name, (_, term) in terms.items()})
        self.queue = torch.cat([w.detach(), self.queue])[:QUEUE]
        mae = float(F.l1_loss(x_hat.detach(), x)) / 2
        return {"mae": mae} | {name: float(term.detach()) for name, (_, term) in terms.items()}

    def _discriminator_step(self, x: Tensor, drawn: Drawn | None) -> dict[str, float]:
        """One step of the discriminators on pictures and on images that the generator drew."""
        report = dict[str, float]()
        self.optimizer_d.zero_grad(set_to_none=True)
        if self.phase.adversarial:
            if drawn is None:
                with self._autocast(), torch.no_grad():
                    half = len(x) // 2
                    fakes = self._draw(torch.cat([self._samples(half), self._encode(x[half:])[1]]))
            else:
                fakes = drawn.images[drawn.fakes].detach()
            penalised = self.step_count % self.phase.r1_every == 0
            r1 = self.phase.r1 / 2 * self.phase.r1_every if penalised else None
            report |= adversarial_gradient(self.nets.discriminator, x, fakes, r1, self._autocast)
        if drawn is not None and self.nets.projected is not None and self.perceptual is not None:
            stages, fake_maps = self.perceptual.stages, [m[drawn.fakes].detach() for m in drawn.judged_maps]
            real, fake = select(stages, drawn.judged_real_maps, STAGES), select(stages, fake_maps, STAGES)
            report |= projected_gradient(self.nets.projected, real, fake, self._autocast)
        self._update(self.optimizer_d, report)
        return report

    def _latent_steps(self) -> dict[str, float]:
        """Teach the mapping network to cover the recent codes; cheap beside one picture."""
        if len(self.queue) < QUEUE:
            return {}
        nets, report = self.nets, {}
        for _ in range(LATENT_STEPS):
            real = self.queue[torch.randint(len(self.queue), (LATENT_BATCH,), device=self.device)]
            real = real + self.phase.code_noise * torch.randn_like(real)
            fake = nets.generator.mapping(torch.randn_like(real))
            nets.critic.requires_grad_(True)
            loss = losses.discriminator_adversarial(nets.critic(real), nets.critic(fake.detach()))
            penalty = losses.r1_penalty(nets.critic, real)
            self.optimizer_c.zero_grad(set_to_none=True)
            (loss + 0.5 * penalty).backward()
            self._update(self.optimizer_c, {"latent_critic": loss, "latent_r1": penalty})
            nets.critic.requires_grad_(False)
            latent = losses.generator_adversarial(nets.critic(fake))
            moments = (fake.mean(0) - real.mean(0)).square().mean() + (fake.std(0) - real.std(0)).square().mean()
            self.optimizer.zero_grad(set_to_none=True)
            (self.phase.latent * (latent + moments)).backward()
            self._update(self.optimizer, {"latent": latent, "latent_moments": moments})
            report = {
                "latent_critic": float(loss.detach()),
                "latent": float(latent.detach()),
                "latent_moments": float(moments.detach()),
            }
        return report

    def _path_step(self) -> dict[str, float]:
        phase = self.phase
        w_plus = self._samples(max(2, phase.batch // 2 // self.world.size))
        images = self._draw(w_plus)  # float32, as for R1
        decay = 0.01 if self.path_mean else 1.0  # the first lengths are the first mean
        noise = torch.randn_like(images)
        penalty, self.path_mean = losses.path_length(images, w_plus, self.path_mean, noise, decay)
        self.optimizer.zero_grad(set_to_none=True)
        (penalty * (phase.path * phase.path_every)).backward()
        self._update(self.optimizer, {"path_penalty": penalty})
        return {"path_length": float(self.path_mean), "path_penalty": float(penalty.detach())}

    # -- resume -------------------------------------------------------------------------------------------------------

    def state(self) -> dict:
        """All that the next step depends on."""
        return {
            "position": self.position,
            "step": self.step_count,
            "phase": self.phase.name,
            "resolution": self.nets.resolution,
            "nets": self.nets.state_dict(),
            "queue": self.queue,
            "path_mean": self.path_mean,
            "random": checkpoint.random_state(),
            "optimizers": [o.state_dict() for o in (self.optimizer, self.optimizer_d, self.optimizer_c)],
        }

    def warm_start(self, state: dict[str, Tensor], position: int = 0, step: int = 0) -> None:
        """Start from networks of an earlier run (``run_generator.warm_networks``); optimisers start anew.

        Args:
            state: tensors named as in :class:`Networks`; averages are those given, or copies of the live networks.
            position, step: images drawn and steps made before, where the state is a run's own progress.
        Raises:
            WeightsError: they are of another architecture or resolution than the phase of that position.
        """
        self.position, self.step_count = position, step
        if not self.enter_phase():
            raise WeightsError(
                "the run of these networks is over",
                got=f"{position:,} images",
                fix="append a phase or raise its `images`",
            )
        target = self.nets.state_dict()
        wrong = sorted(k for k, v in state.items() if k not in target or target[k].shape != v.shape)
        if wrong:
            raise WeightsError(
                f"cannot start from these networks: {len(wrong)} tensors do not fit",
                got=wrong[0],
                expected=f"networks at {self.nets.resolution} px",
                fix="start with a phase of their resolution",
            )
        self.nets.load_state_dict({**target, **state})
        for name in ("generator", "encoder"):
            if not any(key.startswith(f"average_{name}.") for key in state):
                take_over(getattr(self.nets, f"average_{name}"), getattr(self.nets, name).state_dict())
        if self.phase.from_average and not self.phase_position:
            take_over(self.nets.generator, self.nets.average_generator.state_dict())

    def restore(self, state: dict) -> None:
        """Continue exactly after :meth:`state`; the next phase starts by itself if one ended there."""
        self.position, self.step_count = state["position"], state["step"]
        phase = next(p for p in self.config.phases if p.name == state["phase"])
        self.nets, self.started = Networks(self.config, state["resolution"]).to(self.device), True
        self._build(phase)
        self.nets.load_state_dict(state["nets"])
        for optimizer, saved in zip(
            (self.optimizer, self.optimizer_d, self.optimizer_c), state["optimizers"], strict=True
        ):
            factors = [group.get("factor", 1.0) for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, factor in zip(optimizer.param_groups, factors, strict=True):
                group["factor"] = factor  # the configuration's: a phase may be edited between stretches
        self.queue, self.path_mean = state["queue"].to(self.device), state["path_mean"].to(self.device)
        checkpoint.restore_random_state(state["random"])


def batches(training: GeneratorTraining) -> Iterator[dict[str, float]]:
    """Steps until the last phase ends."""
    while training.enter_phase():
        yield training.step()
