"""GANSpace: principal components of sampled codes, applied to chosen rows.

Source: Haerkoenen et al. 2020, "GANSpace: Discovering Interpretable GAN Controls", Sec. 2. Edits set the coordinate, as
the released editors of e4e and HFGI do (see bench/directions/direction.py).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.directions.direction import Direction
from bench.directions.learning import Learned, Request

TITLE, NEEDS_LABELS = "GANSpace", False


def learn(request: Request) -> Learned:
    """Components in order of variance: ``pc00``, ``pc01``, ...; rows are chosen when one is applied."""
    latents = request.samples.latents.cpu()
    mean, comp, std, share = components(latents, request.recipe.components)
    directions, measured = [], {}
    for index in range(len(comp)):
        name = f"pc{index:02d}"
        about = {"method": "ganspace", "component": index}
        directions.append(Direction(name, comp[index], "set", None, mean, float(std[index]), about))
        measured[name] = {"std": round(float(std[index]), 4), "variance_share": round(float(share[index]), 4)}
        for attribute, values in request.samples.labels.items():
            along = ((latents - mean) @ comp[index]).numpy()
            measured[name][f"corr_{attribute}"] = round(float(np.corrcoef(along, values)[0, 1]), 4)
    return Learned(directions, measured, "the coordinate is set to so many standard deviations of sampled codes")


def components(latents: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Principal components of codes (N, D).

    Returns:
        mean (D,), components (K, D) with orthonormal rows whose largest entry is positive, standard deviation (K,) of
        the coordinates, share (K,) of the variance; K is ``count`` or as many as there are.
    """
    exact = latents.double()
    mean = exact.mean(0)
    _, singular, rows = torch.linalg.svd(exact - mean, full_matrices=False)
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    comp = rows * torch.sign(largest)
    variance = singular**2 / (len(latents) - 1)
    stored = slice(0, min(count, len(comp)))
    std, share = variance.sqrt(), variance / variance.sum()
    return mean.float(), comp[stored].float(), std[stored].float(), share[stored].float()
