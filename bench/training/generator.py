"""Train the frozen generator of a small domain: auto-encoding first, adversarial afterwards, one loop.

A StyleGAN2 synthesis network learns to draw from codes that a joint encoder (thrown away at the end) gives it, while a
mapping network learns to cover those codes from z ~ N(0, I), and in the later phases a discriminator judges samples and
reconstructions. Which terms act when is data (``phases`` of the configuration). Networks grow with the resolution.

Sources: Karras et al. 2020 (StyleGAN2: losses, R1, path length, mixing, EMA); Makhzani et al. 2015 (latent adversary).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import WeightsError
from bench.nets.layers import ToRGB
from bench.nets.stylegan2 import Discriminator, Generator
from bench.seeds import seed_for
from bench.training import checkpoint, losses
from bench.training.config import GeneratorConfig, Phase
from bench.training.data import PackedImages, Sampler
from bench.training.finite import finite_step
from bench.training.known import KnownTargets, target_count
from bench.training.scaffold import LatentCritic, ScaffoldEncoder, take_over

QUEUE = 4096  # recent codes kept for the prior and the latent critic
LATENT_BATCH, LATENT_STEPS = 256, 1


class Networks(nn.Module):
    """Everything trained, at one resolution."""

    def __init__(self, config: GeneratorConfig, resolution: int):
        super().__init__()
        self.resolution = resolution
        channels = {r: c for r, c in config.channels.items() if r <= resolution}
        self.generator = Generator(resolution, config.style_dim, config.n_mlp, channels=channels)
        self.encoder = ScaffoldEncoder(resolution, config.style_dim, channels)
        self.discriminator = Discriminator(resolution, channels=channels)
        self.critic = LatentCritic(config.style_dim)
        targets = target_count(config.known)
        self.reader = nn.Linear(config.style_dim, targets) if targets else nn.Identity()
        self.average_generator = Generator(resolution, config.style_dim, config.n_mlp, channels=channels)
        self.average_encoder = ScaffoldEncoder(resolution, config.style_dim, channels)
        take_over(self.average_generator, self.generator.state_dict())
        take_over(self.average_encoder, self.encoder.state_dict())
        self.average_generator.requires_grad_(False)
        self.average_encoder.requires_grad_(False).eval()
        for net in (self.encoder, self.average_encoder, self.discriminator):
            net.to(memory_format=torch.channels_last)

    def grown(self, config: GeneratorConfig, resolution: int) -> Networks:
        """The same networks at a higher resolution; new layers start fresh, the new ToRGB silent."""
        new = Networks(config, resolution)
        shift = (resolution // self.resolution).bit_length() - 1
        take_over(new.generator, self.generator.state_dict())
        for layer in new.generator.to_rgbs[-shift:]:
            nn.init.zeros_(cast(ToRGB, layer).conv.weight)  # the grown network starts as the old one, up-sampled
        take_over(new.encoder, self.encoder.state_dict())
        take_over(new.critic, self.critic.state_dict())
        take_over(new.reader, self.reader.state_dict())
        take_over(new.discriminator, {_shifted(k, shift): v for k, v in self.discriminator.state_dict().items()})
        for name in ("generator", "encoder"):
            average, live = getattr(new, f"average_{name}"), getattr(new, name).state_dict()
            fresh = take_over(average, getattr(self, f"average_{name}").state_dict())
            average.load_state_dict({**average.state_dict(), **{k: live[k] for k in fresh}})
        return new

    @torch.no_grad()
    def average(self, beta: float) -> None:
        """One step of the exponential moving averages."""
        for mean, live in ((self.average_generator, self.generator), (self.average_encoder, self.encoder)):
            for a, b in zip(mean.parameters(), live.parameters(), strict=True):
                a.lerp_(b, 1 - beta)
            for kept, now in zip(mean.buffers(), live.buffers(), strict=True):
                kept.copy_(now)


def _shifted(key: str, shift: int) -> str:
    """Name of a discriminator tensor after ``shift`` blocks were put before it; the RGB layer is not carried over."""
    head, number, *rest = key.split(".", 2)
    if head != "convs":
        return key
    return f"convs.{int(number) + shift}.{rest[0]}" if int(number) else f"outgrown.{key}"


class GeneratorTraining:
    """State and one step; :mod:`bench.training.run_generator` drives it.

    Args:
        config: the run.
        train: pictures to learn from, at ``config.size``.
        part_table: (P,) loss weight per part label.
        perceptual: callable (x_hat, x) in [-1, 1] -> (B,) distance, or None where no phase uses it.
        device: where to compute.
        known: what the training pictures are known to show, or None where no phase uses it.
    """

    phase: Phase  # these three from the first `enter_phase` on
    nets: Networks
    data: PackedImages

    def __init__(
        self,
        config: GeneratorConfig,
        train: PackedImages,
        part_table: Tensor,
        perceptual: nn.Module | None,
        device: torch.device,
        known: KnownTargets | None = None,
    ):
        self.known = known
        self.config, self.full, self.table, self.perceptual = config, train, part_table.to(device), perceptual
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
        rows, flips = self.sampler.rows(self.position, phase.batch), self.sampler.flips(self.position, phase.batch)
        x, labels = self.data.batch(rows, flips)
        targets = None if self.known is None else self.known.batch(rows, flips).to(self.device)
        x = x.to(self.device)
        weight = None if labels is None else losses.part_weights(labels.to(self.device), self.table)
        if phase.adversarial:
            report |= self._discriminator_step(x)
        if phase.drawing:
            report |= self._drawing_step(x, weight, targets)
            if phase.latent:
                report |= self._latent_steps()
            if phase.path and self.step_count % phase.path_every == 0:
                report |= self._path_step()
            self.nets.average(0.5 ** (phase.batch / phase.ema_images))
        self.position += phase.batch
        self.phase_position += phase.batch
        self.step_count += 1
        return report

    def _update(self, optimizer: torch.optim.Optimizer, terms: Mapping[str, float | Tensor]) -> None:
        """One step of some of the networks, unless a term or their gradient is not finite."""
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
        picture = self.nets.generator.synthesize(w_plus, noise="random")
        assert isinstance(picture, Tensor)  # no features were asked for
        return picture.float()

    def _drawing_step(self, x: Tensor, weight: Tensor | None, targets: Tensor | None) -> dict[str, float]:
        phase, nets = self.phase, self.nets
        nets.discriminator.requires_grad_(False)
        with self._autocast():
            w, w_plus = self._encode(x)
            x_hat = self._draw(w_plus)
            terms = {"reconstruction": (phase.reconstruction, losses.pyramid_l1(x_hat, x, weight))}
            if phase.perceptual and self.perceptual is not None:
                terms["perceptual"] = (phase.perceptual, self.perceptual(x_hat, x).float().mean())
            if phase.adversarial:
                samples = self._draw(self._samples(len(x) // 2))
                judged = torch.cat([samples, x_hat[: len(x) - len(samples)]])
                terms["adversarial"] = (
                    phase.adversarial,
                    losses.generator_adversarial(nets.discriminator(judged).float()),
                )
        codes = torch.cat([w, self.queue[: 512 - len(w)]])
        terms["prior"] = (phase.prior, losses.moment_prior(codes))
        if phase.known and targets is not None and self.known is not None:
            error = (nets.reader(w) - targets).square().mean(0)
            terms["known"] = (phase.known, (error * self.known.weight.to(self.device)).sum())
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack([weight * term for weight, term in terms.values()]).sum().backward()
        self._update(self.optimizer, {name: term for name, (_, term) in terms.items()})
        self.queue = torch.cat([w.detach(), self.queue])[:QUEUE]
        mae = float(F.l1_loss(x_hat.detach(), x)) / 2
        return {"mae": mae} | {name: float(term.detach()) for name, (_, term) in terms.items()}

    def _discriminator_step(self, x: Tensor) -> dict[str, float]:
        phase, nets = self.phase, self.nets
        nets.discriminator.requires_grad_(True)
        with self._autocast(), torch.no_grad():
            half = len(x) // 2
            drawn = self._draw(torch.cat([self._samples(half), self._encode(x[half:])[1]]))
        self.optimizer_d.zero_grad(set_to_none=True)
        with self._autocast():
            real, fake = nets.discriminator(x).float(), nets.discriminator(drawn).float()
        loss = losses.discriminator_adversarial(real, fake)
        loss.backward()
        report = {
            "discriminator": float(loss.detach()),
            "real_logit": float(real.detach().mean()),
            "fake_logit": float(fake.detach().mean()),
        }
        if self.step_count % phase.r1_every == 0:
            penalty = losses.r1_penalty(nets.discriminator, x)  # float32: bf16 double backward kills some CPUs (SIGFPE)
            (penalty * (phase.r1 / 2 * phase.r1_every)).backward()
            report["r1"] = float(penalty.detach())
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
        w_plus = self._samples(max(2, phase.batch // 2))
        images = self._draw(w_plus)  # float32, as for R1
        penalty, self.path_mean = losses.path_length(images, w_plus, self.path_mean, torch.randn_like(images))
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

    def warm_start(self, state: dict[str, Tensor]) -> None:
        """Start from networks of an earlier run (``run_generator.warm_networks``) at the first phase's resolution.

        Raises:
            WeightsError: they are of another architecture or resolution.
        """
        self.enter_phase()
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
        take_over(self.nets.average_generator, self.nets.generator.state_dict())
        take_over(self.nets.average_encoder, self.nets.encoder.state_dict())

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


def throughput(images: int, since: float) -> str:
    """``N images/s`` for a log line."""
    return f"{images / max(time.monotonic() - since, 1e-9):.1f} images/s"


def split_rows(ids: list[str], clean: np.ndarray, held_out: int, clean_only: bool) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers for training and for validation: the last ``held_out`` pictures are never trained on.

    Args:
        ids: all image ids.
        clean: (N,) boolean, True where a picture has no image-specific detail.
    Returns:
        training rows, clean validation rows.
    """
    rows = np.arange(len(ids))
    train, held = rows[: len(ids) - held_out], rows[len(ids) - held_out :]
    return (train[clean[train]] if clean_only else train), held[clean[held]]


def batches(training: GeneratorTraining) -> Iterator[dict[str, float]]:
    """Steps until the last phase ends."""
    while training.enter_phase():
        yield training.step()
