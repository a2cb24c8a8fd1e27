"""The one frozen StyleGAN2 of a domain, shared by all methods: codes in, pictures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import ShapeError, WeightsError, message_of
from bench.nets.stylegan2 import Consult, Generator
from bench.seeds import seed_for
from bench.weights import manifest as weights

AVERAGE = "latent_avg"
ARCHITECTURE = ("size", "style_dim", "n_mlp", "channels")


class SharedGenerator:
    """A frozen generator with its mean code.

    Args:
        net: the network; it is put in evaluation mode and frozen in place.
        latent_avg: mean code, (D,), (1, D) or (L, D).
        domain: whose pictures it makes.
        device: where to compute.
    """

    def __init__(self, net: Generator, latent_avg: Tensor, domain: str, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.net = net.to(self.device).eval().requires_grad_(False)
        self.domain = domain
        self.resolution, self.n_latent, self.style_dim = net.size, net.n_latent, net.style_dim
        rows = latent_avg.detach().to(self.device, torch.float32).reshape(-1, latent_avg.shape[-1])
        if rows.shape not in ((1, self.style_dim), (self.n_latent, self.style_dim)):
            raise ShapeError(
                "latent_avg does not fit the generator",
                got=tuple(latent_avg.shape),
                expected=f"({self.style_dim},) or ({self.n_latent}, {self.style_dim})",
            )
        self.latent_avg = rows.expand(self.n_latent, -1).contiguous()

    @classmethod
    def load(cls, domain: str, device: torch.device | str, root: str | Path) -> SharedGenerator:
        """The domain's generator as weights/manifest.yaml names it, verified by SHA-256.

        Raises:
            WeightsError: no such domain, a missing or changed file, a layout that does not fit its own description.
        """
        manifest = weights.read_manifest(root)
        chosen = manifest.domain(domain)
        state, meta = weights.load_with_meta(root, chosen.generator)
        shared = _from_state(state, meta, f"weights {chosen.generator!r}", domain, device)
        if shared.resolution != chosen.resolution:
            raise WeightsError(
                f"generator {chosen.generator!r} of domain {domain!r} has the wrong size",
                got=shared.resolution,
                expected=chosen.resolution,
                fix="correct `resolution` in weights/manifest.yaml",
            )
        return shared

    @classmethod
    def toy(cls, resolution: int = 32, seed: int = 0, style_dim: int = 16, width: int = 8) -> SharedGenerator:
        """A tiny untrained generator for tests and ``bench check``: equal seeds give equal weights."""
        sides = [1 << i for i in range(2, resolution.bit_length())]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "toy generator", resolution))
            net = Generator(resolution, style_dim, n_mlp=2, channels=dict.fromkeys(sides, width))
            for conv in (net.conv1, *net.convs):
                torch.nn.init.constant_(conv.noise.weight, 0.1)
            for layer in (net.to_rgb1, *net.to_rgbs):  # pictures of ordinary contrast, mostly inside [-1, 1]
                layer.conv.weight.data.mul_(0.3)
            latent_avg = net.mapping(torch.randn(1000, style_dim)).mean(0)
        return cls(net, latent_avg, domain="toy")

    def synthesize(
        self,
        w_plus: Tensor,
        consult: Mapping[int | str, Consult] | None = None,
        noise: str | Sequence[Tensor] = "stored",
    ) -> Tensor:
        """(B, L, D) codes -> (B, 3, R, R) float32, unclamped. Deterministic: the checkpoint's own noise maps.

        Args:
            consult, noise: as :meth:`bench.nets.stylegan2.Generator.synthesize`.
        """
        picture = self.net.synthesize(w_plus, noise=noise, consult=consult)
        assert isinstance(picture, Tensor)  # no features were asked for
        return picture.float()

    def sample_w(self, n: int, seed: int, psi: float = 1.0) -> Tensor:
        """Codes (n, L, D) of z ~ N(0, I), one w for all layers, pulled towards ``latent_avg`` by truncation ``psi``.

        The same on every device: z is drawn on the CPU, sample i always from the same place of the stream.
        """
        rng = torch.Generator().manual_seed(seed)
        z = torch.randn(n, self.style_dim, generator=rng)
        with torch.no_grad():
            w_plus = self.net.repeat_w(self.net.mapping(z.to(self.device)))
            return self.net.truncate(w_plus, psi, self.latent_avg) if psi < 1 else w_plus.clone()


def save_generator(path: str | Path, net: Generator, latent_avg: Tensor, meta: Mapping[str, Any] | None = None) -> str:
    """Write a generator as float16 safetensors: parameters, buffers (noise maps too), mean code and architecture.

    Args:
        latent_avg: (D,) or (L, D).
        meta: further JSON for the record (domain, recipe, steps); the architecture is added.
    Returns:
        SHA-256 of the file, for weights/manifest.yaml. Equal networks give equal bytes.
    """
    architecture = {name: getattr(net, name) for name in ARCHITECTURE}
    architecture["channels"] = {str(side): width for side, width in sorted(net.channels.items()) if side <= net.size}
    tensors = {**net.state_dict(), AVERAGE: latent_avg}
    return weights.save(path, tensors, {**(meta or {}), "architecture": architecture})


def _from_state(
    state: dict[str, Tensor], meta: Mapping[str, Any], what: str, domain: str, device: torch.device | str
) -> SharedGenerator:
    """Build the network a file describes and fill it; nothing may be missing or left over."""
    described = meta.get("architecture", {})
    absent = [name for name in ARCHITECTURE if name not in described]
    if absent or AVERAGE not in state:
        raise WeightsError(
            f"{what} does not describe a generator",
            got=f"no {', '.join(absent) or AVERAGE}",
            expected="a file written by save_generator",
            fix="export it again with `bench train generator`",
        )
    channels = {int(side): int(width) for side, width in described["channels"].items()}
    net = Generator(int(described["size"]), int(described["style_dim"]), int(described["n_mlp"]), channels=channels)
    latent_avg = state.pop(AVERAGE)
    try:
        net.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise WeightsError(
            f"{what} does not fit the architecture it describes",
            got=message_of(error, 300),
            fix="export it again with `bench train generator`",
        ) from None
    return SharedGenerator(net, latent_avg, domain, device)
