"""InterFaceGAN: the normal of a hyperplane that separates codes by an attribute of their pictures.

Source: Shen et al. 2020, "Interpreting the Latent Space of GANs for Semantic Face Editing", Sec. 2 and 3: samples with
the clearest labels, a linear support vector machine on 70 % of them, accuracy on the rest; conditional directions by
taking out what a normal shares with the normals of other attributes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.directions.direction import Direction
from bench.directions.learning import Learned, Request, check_attributes
from bench.directions.samples import step_along
from bench.errors import BenchError
from bench.seeds import seed_for

TITLE, NEEDS_LABELS = "InterFaceGAN", True
PENALTY = 0.1  # of the support vector machine, on standardised codes


def learn(request: Request) -> Learned:
    """One direction for each labelled attribute of the recipe; degree 1 is a standard deviation of samples along it.

    Raises:
        BenchError: the recipe asks for none, scikit-learn is missing, or an attribute does not vary.
    """
    recipe, samples = request.recipe, request.samples
    if not recipe.labelled:
        raise BenchError("the recipe names no labelled directions", fix="add `labelled` to weights/directions/*.yaml")
    check_attributes(recipe, samples.labels)
    latents = samples.latents.double().cpu().numpy()
    split = _split(len(latents), request.held_out, recipe.seed)
    normals, measured = {}, {}
    for name, requested in recipe.labelled.items():
        normals[name], measured[name] = separate(latents, samples.labels[requested.attribute], requested.share, split)
    directions = []
    for name, requested in recipe.labelled.items():
        vector = conditional(normals[name], [normals[other] for other in requested.given])
        step = step_along(samples.latents.cpu(), vector.float())
        about = {"method": "interfacegan", "attribute": requested.attribute, "given": requested.given, "step": step}
        directions.append(Direction(name, (vector * step).float(), about=about))
        measured[name]["kept"] = round(float(vector @ normals[name]), 4)
        values = samples.labels[requested.attribute][split[1]]
        measured[name]["rank_corr"] = round(_rank_correlation(latents[split[1]] @ vector.numpy(), values), 4)
    return Learned(directions, measured, "one standard deviation of sampled codes along the direction")


def separate(
    latents: np.ndarray, values: np.ndarray, share: float, split: tuple[np.ndarray, np.ndarray]
) -> tuple[Tensor, dict[str, float]]:
    """The unit normal towards higher values, and how well it separates samples it has not seen.

    Args:
        latents: (N, D). values: (N,). share: of the samples at either end that count as clear.
        split: rows to learn from, rows to measure on.
    Returns:
        (D,) float64; accuracy on clear and on all held-out samples (above or below the median), and their numbers.
    """
    try:
        from sklearn.svm import LinearSVC
    except ImportError:
        raise BenchError("InterFaceGAN needs scikit-learn", fix="pip install 'hfgi-bench[editing]'") from None
    low, middle, high = np.quantile(values, (share, 0.5, 1 - share))
    if not low < high:
        raise BenchError("an attribute hardly varies among samples", got=f"{low:.4g} to {high:.4g}")
    clear = (values <= low) | (values >= high)
    learn_on, stored = (rows[clear[rows]] for rows in split)
    mean, scale = latents[split[0]].mean(0), latents[split[0]].std(0) + 1e-9
    machine = LinearSVC(C=PENALTY, dual=False, class_weight="balanced", random_state=0)
    machine.fit((latents[learn_on] - mean) / scale, values[learn_on] >= high)
    said = machine.predict((latents - mean) / scale)
    normal = torch.from_numpy(machine.coef_[0] / scale)
    return normal / normal.norm(), {
        "accuracy": round(_balanced(said[stored], values[stored] >= high), 4),
        "accuracy_all": round(float((said[split[1]] == (values[split[1]] >= middle)).mean()), 4),
        "clear": len(stored),
        "held_out": len(split[1]),
    }


def conditional(normal: Tensor, others: list[Tensor]) -> Tensor:
    """The part of a unit normal (D,) that is orthogonal to all others, of unit length.

    Raises:
        BenchError: nothing is left of it.
    """
    if not others:
        return normal
    basis = torch.linalg.qr(torch.stack(others, 1))[0]
    rest = normal - basis @ (basis.T @ normal)
    if rest.norm() < 1e-6:
        raise BenchError("a conditional direction vanishes", got="a condition equal to it", fix="drop it from `given`")
    return rest / rest.norm()


def _split(count: int, held_out: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed_for(seed, "directions split", count)).permutation(count)
    first = int(round(held_out * count))
    return np.sort(order[first:]), np.sort(order[:first])


def _balanced(said: np.ndarray, truth: np.ndarray) -> float:
    """Mean of the accuracies at both ends; 0.5 is chance."""
    return float(np.mean([(said[truth == side] == side).mean() for side in (False, True)]))


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    first, second = (np.argsort(np.argsort(v)) for v in (a, b))
    return float(np.corrcoef(first, second)[0, 1])
