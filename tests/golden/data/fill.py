"""Deterministic pseudo-random weights and inputs for the golden parity vectors (numpy only).

Element i of tensor `key` depends on (key, seed, i) only: a Philox4x64 stream keyed by (crc32(key), seed) gives one
raw 64-bit word per element; its four 16-bit fields are summed (Irwin-Hall, n = 4) and scaled to mean 0, std 1
(bounded by +-3.47); base + std * n is rounded once to float32. Integer work and correctly rounded IEEE operations
only (no libm): the same bits on every machine and numpy version. `key` is the name in the published checkpoint,
such as 'decoder.convs.0.conv.weight'; flat files get the hash prefix stated in README.md.
"""

import zlib

import numpy as np

_IH_STD = np.sqrt((65536.0**2 - 1.0) / 3.0)  # std of the sum of four uniform 16-bit integers
_EQUAL = (".modulation.", ".linear.", "condition_", "d.convs", "d.final")  # equalised learning rate


def normal(key, shape, seed):  # float64, mean 0, std 1
    n = int(np.prod(shape, dtype=np.int64)) if len(shape) else 1
    gen = np.random.Philox(key=np.array([zlib.crc32(key.encode()), seed], dtype=np.uint64))
    raw, low = gen.random_raw(n), np.uint64(0xFFFF)
    fields = sum((raw >> np.uint64(shift)) & low for shift in (0, 16, 32, 48)).astype(np.int64)
    return ((fields - 131070).astype(np.float64) / _IH_STD).reshape(shape)


def rule(key, shape, norm_layer=True):
    """(base, std) of a tensor from its name and shape; norm_layer: it has a sibling running_mean."""
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "weight":
        if len(shape) == 5:  # modulated conv, (1, out, in, k, k)
            return 0.0, 0.15 if ".to_rgb" in key else 1.0  # small ToRGB keeps images near [-1, 1]
        if ".style." in key:  # mapping MLP stores N(0,1) / lr_mlp
            return 0.0, 100.0
        if len(shape) >= 2 and any(t in key for t in _EQUAL):
            return 0.0, 0.5 if "condition_" in key and ".2." in key else 1.0
        if len(shape) >= 2:  # plain conv / linear: about 1 / sqrt(fan_in)
            return 0.0, (0.8 if key[:3] in ("gri", "res") else 1.0) / np.sqrt(float(np.prod(shape[1:])))
        return (0.1, 0.02) if ".noise." in key else (1.0, 0.1) if norm_layer else (0.25, 0.05)
    if leaf == "bias":
        return (1.0 if ".modulation." in key else 0.0), (10.0 if ".style." in key else 0.1)
    return {"running_mean": (0.0, 0.1), "running_var": (1.0, 0.2), "latent_avg": (0.0, 0.3)}.get(leaf, (0.0, 1.0))


def fill(shapes, seed, prefix=""):
    """{key: shape} -> {key: array}; tensors are hashed as prefix + key. Blur kernels and counters are fixed."""
    out = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            out[key] = np.zeros(shape, np.int64)
        elif key.endswith(".kernel"):  # [1,3,3,1] outer product / 64, x4 if upsampling
            k = np.outer([1.0, 3.0, 3.0, 1.0], [1.0, 3.0, 3.0, 1.0]) / (
                16.0 if "blur." in key or "upsample." in key else 64.0
            )
            out[key] = k.astype(np.float32)
        else:
            base, std = rule(prefix + key, shape, key[: -len("weight")] + "running_mean" in shapes)
            out[key] = (base + std * normal(prefix + key, shape, seed)).astype(np.float32)
    return out


def image(key, seed, batch=1, size=256, grid=16):
    # a picture in [-1, 1]: flat blocks plus fine noise, NCHW float32
    low = normal(key + ".low", (batch, 3, grid, grid), seed).repeat(size // grid, 2).repeat(size // grid, 3)
    return np.clip(0.5 * low + 0.15 * normal(key + ".fine", (batch, 3, size, size), seed), -1, 1).astype(np.float32)
