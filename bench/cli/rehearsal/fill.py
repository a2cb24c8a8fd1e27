"""Tensors by rule: the same bits on every machine, with scales at which networks of the published layouts stay sane.

Element i of a tensor depends on (key, seed, i) alone: a Philox stream keyed by both gives one 64-bit word per element,
whose four 16-bit fields are summed (Irwin-Hall, n = 4) and scaled. Only integers and correctly rounded operations are
used, so neither machine nor numpy version matters. It is the rule of the golden vectors of tests/golden: the same
seeds give the very networks those were recorded with.
"""

from __future__ import annotations

import zlib

import numpy as np

from bench.weights.layouts import COUNTER, Layout, Shape

SCALE = float(np.sqrt((65536.0**2 - 1.0) / 3.0))  # standard deviation of the sum of four uniform 16-bit integers
MEAN_SUM = 131070  # of the four fields
EQUALISED = (".modulation.", ".linear.", "condition_", "d.convs", "d.final")  # weights that networks scale themselves
WEAKER = ("grid_align.", "residue.")  # networks of many units without trained norms: keeps their output near the input
BLUR = np.outer([1.0, 3.0, 3.0, 1.0], [1.0, 3.0, 3.0, 1.0])
ENLARGING = ("blur.", "upsample.")  # blur kernels of layers that double the side have four times the gain


def normal(key: str, shape: Shape, seed: int) -> np.ndarray:
    """float64 of mean 0 and standard deviation 1, within 3.47 of 0."""
    count = int(np.prod(shape, dtype=np.int64)) if shape else 1
    stream = np.random.Philox(key=np.array([zlib.crc32(key.encode()), seed], dtype=np.uint64))
    words = stream.random_raw(count).view(np.uint16).reshape(count, 4)
    sums = words.sum(1, dtype=np.int32)
    return ((sums - MEAN_SUM).astype(np.float64) / SCALE).reshape(shape)


def base_and_spread(key: str, shape: Shape, of_norm: bool) -> tuple[float, float]:
    """Mean and standard deviation of a tensor, from its full name and shape. ``of_norm``: it is a batch norm's."""
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "bias":
        return (1.0 if ".modulation." in key else 0.0), (10.0 if ".style." in key else 0.1)
    if leaf == "weight":
        return _weight(key, shape, of_norm)
    return {"running_mean": (0.0, 0.1), "running_var": (1.0, 0.2), "latent_avg": (0.0, 0.3)}.get(leaf, (0.0, 1.0))


def _weight(key: str, shape: Shape, of_norm: bool) -> tuple[float, float]:
    if len(shape) == 5:  # modulated convolution; those to colour are small, so that pictures stay near [-1, 1]
        return 0.0, (0.15 if ".to_rgb" in key else 1.0)
    if ".style." in key:  # the mapping network divides by its rate of 0.01
        return 0.0, 100.0
    if len(shape) < 2:
        return (0.1, 0.02) if ".noise." in key else (1.0, 0.1) if of_norm else (0.25, 0.05)
    if any(part in key for part in EQUALISED):
        return 0.0, (0.5 if "condition_" in key and ".2." in key else 1.0)
    gain = 0.8 if key.startswith(WEAKER) else 1.0
    return 0.0, gain / float(np.sqrt(float(np.prod(shape[1:]))))


def fill(layout: Layout, seed: int, prefix: str = "") -> dict[str, np.ndarray]:
    """key -> float32 array (int64 zeros for counters) for a whole part, keys as in the layout.

    Args:
        prefix: put before keys where the rule looks at names, so that a network is the same whatever file it is in.
    """
    return {key: _tensor(prefix + key, shape, seed, prefix, layout) for key, shape in layout.items()}


def _tensor(name: str, shape: Shape, seed: int, prefix: str, layout: Layout) -> np.ndarray:
    if name.endswith(COUNTER):
        return np.zeros(shape, np.int64)
    if name.endswith(".kernel"):
        return (BLUR / (16.0 if any(part in name[len(prefix) :] for part in ENLARGING) else 64.0)).astype(np.float32)
    of_norm = name[len(prefix) :].removesuffix("weight") + "running_mean" in layout
    base, std = base_and_spread(name, shape, of_norm)
    return (base + std * normal(name, shape, seed)).astype(np.float32)
