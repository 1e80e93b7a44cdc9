"""How far each column matters, learned by the marginal likelihood of a Gaussian process.

Rasmussen & Williams, Gaussian Processes for Machine Learning (2006): log marginal likelihood
eq. 5.8, its gradient eq. 5.9, a length scale per column ("automatic relevance determination")
section 5.1, the kernels section 4.2. Several targets share one kernel, as one per class does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize

Floats = npt.NDArray[np.float64]

KERNELS = ("rbf", "matern_1.5", "matern_2.5", "rational_quadratic")
ROWS = 300
"""So many rows, drawn by the seed, tell the scales, whatever the data's size: 0.05 to 0.3 s."""

_STEPS = 40
_SPREAD = 1.0
"""Standard deviation of the prior on the logarithm of a scale: keeps 200 columns from fitting
400 rows by chance."""
_LOWEST_NOISE = 1e-6


@dataclass(frozen=True)
class Scales:
    """The kernel that explains some rows best.

    lengths: (columns,) length scales. signal, noise: variances of the function and of what is
    added to it, in squared units of the target.
    """

    lengths: Floats
    signal: float
    noise: float


def squared_distances(A: Floats, B: Floats) -> Floats:
    """(rows of A, rows of B) squared Euclidean distances, never below zero."""
    product = A @ B.T
    product *= -2.0
    product += np.einsum("ij,ij->i", A, A)[:, None]
    product += np.einsum("ij,ij->i", B, B)
    return np.maximum(product, 0.0, out=product)


def _rbf(d2: Floats) -> tuple[Floats, Floats]:
    k = np.exp(-0.5 * d2)
    return k, k


def _matern_15(d2: Floats) -> tuple[Floats, Floats]:
    r = np.sqrt(3.0 * d2)
    e = np.exp(-r)
    return (1.0 + r) * e, 3.0 * e


def _matern_25(d2: Floats) -> tuple[Floats, Floats]:
    r = np.sqrt(5.0 * d2)
    e = np.exp(-r)
    return (1.0 + r + r * r / 3.0) * e, 5.0 / 3.0 * (1.0 + r) * e


def _rational_quadratic(d2: Floats) -> tuple[Floats, Floats]:
    base = 1.0 + 0.5 * d2  # alpha = 1, as scikit-learn's default
    k = 1.0 / base
    return k, k * k


_SHAPES: dict[str, Callable[[Floats], tuple[Floats, Floats]]] = {
    "rbf": _rbf,
    "matern_1.5": _matern_15,
    "matern_2.5": _matern_25,
    "rational_quadratic": _rational_quadratic,
}
"""Squared scaled distance -> (kernel, weight): d kernel / d log length_j = weight * d2_j."""


def log_likelihood(theta: Floats, X: Floats, Y: Floats, kernel: str) -> tuple[float, Floats]:
    """The log marginal likelihood (without its constant) and its gradient.

    theta: (columns + 2,) logarithms of the length scales, the signal and the noise variance.
    X: (rows, columns), Y: (rows, targets). Raises numpy.linalg.LinAlgError where the matrix is
    not positive definite.
    """
    columns = X.shape[1]
    Z = X * np.exp(-theta[:columns])
    signal, noise = np.exp(theta[columns:])
    shape, weight = _SHAPES[kernel](squared_distances(Z, Z))
    K = signal * shape
    K.flat[:: len(K) + 1] += noise
    factor = linalg.cholesky(K, lower=True, check_finite=False)
    inverse, _ = linalg.lapack.dpotri(factor, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    alpha = inverse @ Y
    value = -0.5 * float(np.sum(Y * alpha)) - Y.shape[1] * float(np.log(np.diag(factor)).sum())
    A = alpha @ alpha.T - Y.shape[1] * inverse
    W = A * (signal * weight)
    gradient = np.empty_like(theta)
    gradient[:columns] = W.sum(axis=1) @ (Z * Z) - np.einsum("ij,ij->j", Z, W @ Z)
    gradient[columns] = 0.5 * signal * float(np.sum(A * shape))
    gradient[columns + 1] = 0.5 * noise * float(np.trace(A))
    return value, gradient


def learn_scales(
    X: Floats,
    y: Floats,
    *,
    kernel: str = "matern_2.5",
    seed: int = 0,
    rows: int = ROWS,
    classes: bool = False,
    per_column: bool = True,
    length_scale: float = 1.0,
) -> Scales:
    """The most probable scales, from at most `rows` rows drawn by the seed.

    y: (rows,) standardised, or class codes if `classes`. per_column: a scale for each column,
    else one for all. length_scale: where the search starts and its prior is centred, in units of
    the square root of the number of columns, which is how distances grow with columns.
    """
    if len(X) > rows:
        chosen = np.sort(np.random.default_rng(seed).choice(len(X), rows, replace=False))
        X, y = X[chosen], y[chosen]
    Y = _targets(y, classes)
    columns = X.shape[1]
    centre = math.log(length_scale) + 0.5 * math.log(columns)
    free = columns if per_column else 1
    start = np.array([centre] * free + [0.0, math.log(0.1)])

    def cost(point: Floats) -> tuple[float, Floats]:
        lengths = point[:free] if per_column else np.repeat(point[0], columns)
        try:
            value, slope = log_likelihood(np.concatenate([lengths, point[free:]]), X, Y, kernel)
        except linalg.LinAlgError:
            return 1e25, np.zeros_like(point)  # the line search steps back
        if not per_column:
            slope = np.concatenate([[slope[:columns].sum()], slope[columns:]])
        away = (point[:free] - centre) / _SPREAD
        slope = -slope
        slope[:free] += away / _SPREAD
        return -value + 0.5 * float(away @ away), slope

    bounds = [(centre - 5.0, centre + 5.0)] * free
    bounds += [(math.log(1e-3), math.log(1e3)), (math.log(_LOWEST_NOISE), math.log(10.0))]
    found = optimize.minimize(
        cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS}
    )
    point = found.x if np.isfinite(found.x).all() else start
    lengths = np.exp(point[:free])
    return Scales(
        lengths if per_column else np.repeat(lengths, columns),
        float(np.exp(point[free])),
        float(np.exp(point[free + 1])),
    )


def _targets(y: Floats, classes: bool) -> Floats:
    if not classes:
        Y = y[:, None] - y.mean()
    else:
        present = np.unique(y)
        Y = (y[:, None] == present[None, :]).astype(np.float64)
        Y -= Y.mean(axis=0)
    spread = Y.std(axis=0)
    return Y / np.where(spread > 0, spread, 1.0)


def column_weights(
    X: Floats, y: Floats, power: float, cache: dict[Hashable, Any] | None, *, classes: bool
) -> Floats:
    """(columns,) factors that stretch the columns that matter, with a mean square of 1.

    power: 0 leaves the columns as they are, 1 stretches them as the scales say. cache: where
    the scales of these rows are kept between trials, or None.
    """
    if power == 0.0 or X.shape[1] == 1:
        return np.ones(X.shape[1])
    key = ("column scales", len(X), classes)
    lengths = None if cache is None else cache.get(key)
    if lengths is None:
        lengths = learn_scales(X, y, classes=classes).lengths
        if cache is not None:
            cache[key] = lengths
    weights = lengths**-power
    return np.asarray(weights / np.sqrt(np.mean(weights**2)))
