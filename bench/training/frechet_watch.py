"""Which state of a generator's training is the best: by samples' Frechet distance on a network that no loss uses."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.images import to_tensor
from bench.nets.recogniser import aligned_crop
from bench.seeds import seed_for
from bench.training import checkpoint, evaluate

if TYPE_CHECKING:
    from bench.generator import SharedGenerator


class RecogniserFeatures:
    """What a recogniser of this suite tells faces by: (B, 3, R, R) in [-1, 1], aligned the FFHQ way -> (B, D).

    Args:
        network: ONNX file with input ``input`` (B, 3, S, S) in [-1, 1].
    Raises:
        BenchError: onnxruntime is not installed.
    """

    def __init__(self, network: Path):
        if find_spec("onnxruntime") is None:
            raise BenchError("the Frechet distance of faces needs onnxruntime", fix="pip install 'hfgi-bench[face]'")
        from onnxruntime import InferenceSession

        self.session = InferenceSession(network, providers=["CPUExecutionProvider"])
        self.side = int(self.session.get_inputs()[0].shape[-1])

    def __call__(self, x: Tensor) -> Tensor:
        faces = aligned_crop(x, self.side).cpu().numpy()
        return torch.from_numpy(self.session.run(None, {self.session.get_inputs()[0].name: faces})[0])


class FrechetWatch:
    """Distance of a fixed set of samples to twice as many training pictures, and the best so far.

    Args:
        network: ONNX file of a recogniser.
        images: (N, R, R, 3) uint8 training pictures; evenly spaced ones are compared.
        count: samples.
        seed: of the samples.
        best: ``frechet`` and ``position`` of the best of earlier stretches.
    """

    def __init__(self, network: Path, images: np.ndarray, count: int, seed: int, best: dict[str, float] | None = None):
        self.features, self.best = RecogniserFeatures(network), best
        self.count, self.seed = count, seed
        rows = np.linspace(0, len(images) - 1, min(2 * count, len(images))).astype(int)
        parts = np.array_split(rows, max(1, len(rows) // 50))
        self.real = evaluate.pooled_features((to_tensor(images[part]) for part in parts), self.features)

    def measure(self, generator: SharedGenerator, position: int) -> tuple[float, bool]:
        """The distance, and whether it is the best so far. Leaves all random states as they were.

        Args:
            generator: with averaged weights.
            position: training images drawn so far.
        """
        state = checkpoint.random_state()
        latents = generator.sample_w(self.count, seed_for(self.seed, "frechet samples"))
        samples = (generator.synthesize(part).clamp(-1, 1) for part in latents.split(50))
        distance = evaluate.frechet_distance(self.real, evaluate.pooled_features(samples, self.features))
        checkpoint.restore_random_state(state)
        better = self.best is None or distance < self.best["frechet"]
        if better:
            self.best = {"frechet": distance, "position": position}
        print(f"Frechet distance {distance:.4f} at {position} images{' (best)' if better else ''}", flush=True)
        return distance, better
