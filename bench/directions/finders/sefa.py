"""SeFa: directions that move the styles of chosen layers most, in closed form from the weights.

Source: Shen and Zhou 2021, "Closed-Form Factorization of Latent Semantics in GANs", Sec. 3: eigenvectors of A A^T, A
the joined style weights; columns brought to unit length as in e4e 99ea505.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.directions.direction import Direction
from bench.directions.learning import Learned, Request
from bench.directions.samples import step_along
from bench.nets.stylegan2 import Generator

TITLE, NEEDS_LABELS = "SeFa", False


def learn(request: Request) -> Learned:
    """The strongest directions of each group of rows in the recipe (of all rows without groups): ``<group>_0``, ..."""
    generator, latents = request.generator, request.samples.latents.cpu()
    groups = request.recipe.groups or {"all": (0, generator.n_latent)}
    directions, measured = [], {}
    for group, (first, last) in groups.items():
        values, vectors = factorise(generator.net, list(range(first, min(last, generator.n_latent - 1))))
        for index in range(min(request.recipe.per_group, len(values))):
            name, unit = f"{group}_{index}", vectors[index].cpu()
            step = step_along(latents, unit)
            about = {"method": "sefa", "eigenvalue": float(values[index]), "step": step}
            directions.append(Direction(name, unit * step, rows=(first, last), about=about))
            measured[name] = {"eigenvalue": round(float(values[index]), 4), "step": round(step, 4)}
    return Learned(directions, measured, "one standard deviation of sampled codes along the direction")


def factorise(net: Generator, rows: list[int]) -> tuple[Tensor, Tensor]:
    """Eigenvalues (D,), largest first, and unit eigenvectors (D, D) as rows, largest entry positive.

    Args:
        rows: of the code whose convolutions count: row 0 feeds ``conv1``, row i ``convs[i - 1]``.
    """
    convs: list[Any] = [net.conv1, *net.convs]
    weights = [convs[row].conv.modulation.weight.detach().double().T for row in rows]
    joined = torch.cat(weights, 1)
    joined = joined / joined.norm(dim=0, keepdim=True)
    values, vectors = torch.linalg.eigh(joined @ joined.T)
    rows_ = vectors.flip(1).T
    signs = torch.sign(rows_.gather(1, rows_.abs().argmax(1, keepdim=True)))
    return values.flip(0).float(), (rows_ * signs).float()


def released_rows(layers: list[int]) -> tuple[list[int], list[int]]:
    """(rows whose weights are read, rows that are moved) by e4e's release for its option ``layers``.

    It reads ``convs[layer - 1]``, which row ``layer`` feeds, and moves row ``layer - 1``. Sets learned here move the
    rows they read.
    """
    return list(layers), [layer - 1 for layer in layers]
