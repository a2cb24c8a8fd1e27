"""Two sets of features compared, on many subsets at once: Frechet distance, kernel distance, precision and recall.

The definitions, and on a whole set the numbers, are torch-fidelity's. Its functions compare two sets once; an interval
needs the comparison on many subsets of the same pictures, so what subsets share (kernels, distances, moments) is
computed once, in float64.

Features are (N, D) arrays, row n of source and reconstruction the same picture; subsets are arrays of row numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Subsets = Sequence[np.ndarray]

KID_SUBSETS, KID_SUBSET_SIZE, KID_SEED = 100, 1000, 2020  # torch-fidelity's defaults
NEIGHBOURS = 3
CHUNK = 256  # rows turned to float64 at a time


def moments(features: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D) with n - 1, in float64, of some rows; memory does not grow with their number.

    Parts are merged as by Chan et al. 1983, so that shards can be joined in any order without cancellation.
    """
    count, mean = 0, np.zeros(features.shape[1])
    covariance = np.zeros((features.shape[1], features.shape[1]))
    for start in range(0, len(rows), CHUNK):
        part = np.asarray(features[rows[start : start + CHUNK]], dtype=np.float64)
        centre = part.mean(0)
        part -= centre
        step = centre - mean
        total = count + len(part)
        covariance += part.T @ part + np.outer(step, step) * (count * len(part) / total)
        mean += step * (len(part) / total)
        count = total
    return mean, covariance / (count - 1)


def frechet(mean: np.ndarray, covariance: np.ndarray, mean_hat: np.ndarray, covariance_hat: np.ndarray) -> float:
    """Squared Frechet distance of two Gaussians (Heusel et al. 2017): |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)).

    The trace of the root is the sum of singular values of F F'^T for any S = F^T F; symmetric roots are taken, so that
    no eigenvalue of a non-symmetric product is needed. Rounding below zero is cut off.
    """
    root = _root(covariance) @ _root(covariance_hat)
    cross = float(np.linalg.svd(root, compute_uv=False).sum())
    step = mean - mean_hat
    return max(float(step @ step + np.trace(covariance) + np.trace(covariance_hat) - 2 * cross), 0.0)


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def frechet_of_rows(source: np.ndarray, reconstruction: np.ndarray, rows: np.ndarray, exact: bool = True) -> float:
    """:func:`frechet` of some rows; up to about as many as features through (n, n) products: as exact, and faster.

    ``exact=False`` takes singular values as roots of eigenvalues: half the time, within 1e-6 of the traces.
    """
    n, width = len(rows), source.shape[1]
    if n > 1.25 * width:
        return frechet(*moments(source, rows), *moments(reconstruction, rows))
    x, y = (np.asarray(f[rows], dtype=np.float64) for f in (source, reconstruction))
    step = x.mean(0) - y.mean(0)
    x, y = x - x.mean(0), y - y.mean(0)
    product = x @ y.T
    if exact:
        cross = float(np.linalg.svd(product, compute_uv=False).sum())
    else:
        cross = float(np.sqrt(np.linalg.eigvalsh(product @ product.T).clip(min=0)).sum())
    return max(float(step @ step + ((x * x).sum() + (y * y).sum() - 2 * cross) / (n - 1)), 0.0)


def kernel_distances(source: np.ndarray, reconstruction: np.ndarray, subsets: Subsets) -> list[float]:
    """Kernel distance (Binkowski et al. 2018) of each subset: polynomial kernel of degree 3, unbiased estimate.

    As in torch-fidelity the mean over 100 draws of 1,000 pictures (all, where there are fewer) from its generator with
    seed 2020, separately for the two sets. A draw is a vector of zeros and ones, so its sums are products with the
    kernel matrices and none is computed twice.
    """
    x, y = (np.asarray(f, dtype=np.float64) for f in (reconstruction, source))  # the library's first input is generated
    kernels = [_kernel(a, b) for a, b in ((x, x), (y, y), (x, y))]
    return [float(np.mean(_kernel_draws(*(k[np.ix_(rows, rows)] for k in kernels)))) for rows in subsets]


def kernel_distance_of_itself(features: np.ndarray) -> tuple[float, float]:
    """What :func:`kernel_distances` gives for a set of (N, D) features and the same set in any order.

    Within a set the estimate leaves k(x, x) out; across two equal sets every picture meets itself once. With d the mean
    of k(x, x) and a that of k(x, y), x != y, the expectation over draws is therefore 2a - 2 (d + (N - 1) a) / N =
    -2 (d - a) / N: it vanishes with 1 / N, at a rate that the features' own spread sets.

    Returns:
        (expectation, standard error of a mean over 100 draws: 0 where each draw is the whole set).
    """
    x = np.asarray(features, dtype=np.float64)
    kernel, n = _kernel(x, x), len(x)
    trace = float(np.trace(kernel))
    expected = -2 / n * (trace / n - (float(kernel.sum()) - trace) / (n * (n - 1)))
    if n <= KID_SUBSET_SIZE:
        return expected, 0.0
    return expected, float(_kernel_draws(kernel, kernel, kernel).std(ddof=1)) / KID_SUBSETS**0.5


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Polynomial kernel of degree 3 of all pairs of rows, (N, M)."""
    return (a @ b.T / a.shape[1] + 1.0) ** 3


def _kernel_draws(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """(100,) estimates, one per draw."""
    n = len(xx)
    m = min(KID_SUBSET_SIZE, n)
    rng = np.random.RandomState(KID_SEED)
    in_x, in_y = np.zeros((2, KID_SUBSETS, n))
    for k in range(KID_SUBSETS):
        in_x[k, rng.choice(n, m, replace=False)] = 1
        in_y[k, rng.choice(n, m, replace=False)] = 1
    within = ((in_x @ xx) * in_x).sum(1) - in_x @ np.diagonal(xx) + ((in_y @ yy) * in_y).sum(1) - in_y @ np.diagonal(yy)
    across = ((in_x @ xy) * in_y).sum(1)
    return within / (m * (m - 1)) - 2 * across / m**2


def precision_recall(source: np.ndarray, reconstruction: np.ndarray, subsets: Subsets) -> list[tuple[float, float]]:
    """Precision and recall (Kynkaanniemi et al. 2019) of each subset, with balls to the third nearest neighbour.

    Precision: reconstructions inside the ball of some source; recall: sources inside the ball of some reconstruction.
    """
    x, y = (np.asarray(f, dtype=np.float64) for f in (source, reconstruction))
    within_x, within_y, across = _distances(x, x), _distances(y, y), _distances(x, y)
    np.fill_diagonal(within_x, 0.0)
    np.fill_diagonal(within_y, 0.0)
    return [_precision_recall(*(d[np.ix_(rows, rows)] for d in (within_x, within_y, across))) for rows in subsets]


def _precision_recall(within_x: np.ndarray, within_y: np.ndarray, across: np.ndarray) -> tuple[float, float]:
    k = min(NEIGHBOURS, len(across) - 1)  # position 0 is the picture itself
    ball_x, ball_y = (np.partition(d, k, axis=1)[:, k] for d in (within_x, within_y))
    precision = (across <= ball_x[:, None]).any(0).mean()
    recall = (across <= ball_y[None, :]).any(1).mean()
    return float(precision), float(recall)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances (N, M); those of equal rows may be 1e-7 of their length instead of 0."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(squares.clip(min=0))
