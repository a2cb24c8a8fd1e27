"""Keys and shapes of the Inception v3 of 2015 that FID and KID stand on, as torch-fidelity 0.4 stores it.

Architecture: Szegedy et al. 2016, "Rethinking the Inception Architecture", Fig. 5 to 7; widths of the release of
2015-12-05, whose last layer has 1,008 classes.
"""

from __future__ import annotations

COUNTER = "num_batches_tracked"
Unit = tuple[str, int, int, tuple[int, int]]  # name, channels out, channels in, kernel (height, width)

STEM = (
    ("Conv2d_1a_3x3", 32, 3, (3, 3)), ("Conv2d_2a_3x3", 32, 32, (3, 3)), ("Conv2d_2b_3x3", 64, 32, (3, 3)),
    ("Conv2d_3b_1x1", 80, 64, (1, 1)), ("Conv2d_4a_3x3", 192, 80, (3, 3)),
)  # fmt: skip
ROW, COLUMN = (1, 7), (7, 1)


def _fine(into: int, pool: int) -> list[Unit]:
    """35 x 35: 1x1, 5x5, two 3x3 in a row, pooling."""
    return [
        ("branch1x1", 64, into, (1, 1)),
        ("branch5x5_1", 48, into, (1, 1)), ("branch5x5_2", 64, 48, (5, 5)),
        ("branch3x3dbl_1", 64, into, (1, 1)), ("branch3x3dbl_2", 96, 64, (3, 3)), ("branch3x3dbl_3", 96, 96, (3, 3)),
        ("branch_pool", pool, into, (1, 1)),
    ]  # fmt: skip


def _to_middle(into: int) -> list[Unit]:
    return [
        ("branch3x3", 384, into, (3, 3)),
        ("branch3x3dbl_1", 64, into, (1, 1)), ("branch3x3dbl_2", 96, 64, (3, 3)), ("branch3x3dbl_3", 96, 96, (3, 3)),
    ]  # fmt: skip


def _middle(into: int, inner: int) -> list[Unit]:
    """17 x 17: factorised 7x7, once and twice."""

    def chain(name: str, *kernels: tuple[int, int]) -> list[Unit]:
        last = len(kernels)
        return [
            (f"{name}_{i}", 192 if i == last else inner, into if i == 1 else inner, kernel)
            for i, kernel in enumerate(kernels, start=1)
        ]

    once = chain("branch7x7", (1, 1), ROW, COLUMN)
    twice = chain("branch7x7dbl", (1, 1), COLUMN, ROW, COLUMN, ROW)
    return [("branch1x1", 192, into, (1, 1)), *once, *twice, ("branch_pool", 192, into, (1, 1))]


def _to_coarse(into: int) -> list[Unit]:
    return [
        ("branch3x3_1", 192, into, (1, 1)), ("branch3x3_2", 320, 192, (3, 3)),
        ("branch7x7x3_1", 192, into, (1, 1)), ("branch7x7x3_2", 192, 192, ROW), ("branch7x7x3_3", 192, 192, COLUMN),
        ("branch7x7x3_4", 192, 192, (3, 3)),
    ]  # fmt: skip


def _coarse(into: int) -> list[Unit]:
    """8 x 8: 3x3 split into a row and a column side by side."""
    return [
        ("branch1x1", 320, into, (1, 1)),
        ("branch3x3_1", 384, into, (1, 1)), ("branch3x3_2a", 384, 384, (1, 3)), ("branch3x3_2b", 384, 384, (3, 1)),
        ("branch3x3dbl_1", 448, into, (1, 1)), ("branch3x3dbl_2", 384, 448, (3, 3)),
        ("branch3x3dbl_3a", 384, 384, (1, 3)), ("branch3x3dbl_3b", 384, 384, (3, 1)),
        ("branch_pool", 192, into, (1, 1)),
    ]  # fmt: skip


BLOCKS = {
    "Mixed_5b": _fine(192, 32), "Mixed_5c": _fine(256, 64), "Mixed_5d": _fine(288, 64), "Mixed_6a": _to_middle(288),
    "Mixed_6b": _middle(768, 128), "Mixed_6c": _middle(768, 160), "Mixed_6d": _middle(768, 160),
    "Mixed_6e": _middle(768, 192), "Mixed_7a": _to_coarse(768), "Mixed_7b": _coarse(1280), "Mixed_7c": _coarse(2048),
}  # fmt: skip


def inception_fid() -> dict[str, tuple[int, ...]]:
    """Convolutions with batch norm (all affine), then the classifier, which FID does not use but the file holds."""
    units: list[Unit] = [*STEM]
    units += [(f"{at}.{name}", out, into, kernel) for at, block in BLOCKS.items() for name, out, into, kernel in block]
    keys: dict[str, tuple[int, ...]] = {}
    for name, width, into, kernel in units:
        keys[f"{name}.conv.weight"] = (width, into, *kernel)
        keys.update({f"{name}.bn.{leaf}": (width,) for leaf in ("weight", "bias", "running_mean", "running_var")})
        keys[f"{name}.bn.{COUNTER}"] = ()
    return {**keys, "fc.weight": (1008, 2048), "fc.bias": (1008,)}
