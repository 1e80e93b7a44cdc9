"""The logarithm of a Parzen estimator's density: Optuna's numbers, bit for bit, for less.

Stock's arrays of (candidates x observations x parameters) leave the processor's caches, and the
tails of its normal distribution are computed one Python call a number. Here rows are worked off
in blocks that stay in the cache, and a tail is a few passes over an array. What decides the last
bit is kept: the order of every sum, numpy's functions where stock uses numpy's and libm's where it
uses libm's (they differ), and the switch between two erf's at 2,000 numbers.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from optuna.samplers._tpe import _truncnorm
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.probability_distributions import (
    _BatchedCategoricalDistributions,
    _log_gauss_mass_unique,
    _unique_inverse_2d,
)

Floats: TypeAlias = NDArray[np.float64]

BLOCK = 32_768
"""Numbers of a block: 256 KiB an array, so that three of them fit in a core's own cache."""

ERF_SWITCH = 2_000
"""From this many numbers on, stock's erf is a polynomial instead of libm's."""

PLAIN_SUM = 8
"""numpy adds fewer terms than this one after the other, and more of them pairwise."""

_ROOT = 2**0.5
_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
_LOG_ROOT_TAU = math.log(math.sqrt(2 * math.pi))


class Density(_ParzenEstimator):
    """Optuna's estimator with a faster `log_pdf`."""

    def log_pdf(self, samples_dict: dict[str, np.ndarray]) -> np.ndarray:
        samples = self._transform(samples_dict)
        logs = self._log_pdf(samples)
        return self._mixture_distribution.log_pdf(samples) if logs is None else logs

    def _log_pdf(self, samples: Floats) -> Floats | None:
        """As stock's; None where a kernel has no width in its range, which stock calls NaN."""
        mixture = self._mixture_distribution
        total: Floats = np.zeros((len(samples), len(mixture.weights)))
        smooth: list[tuple[Any, Floats]] = []
        for number, kernels in enumerate(mixture.distributions):
            values = samples[:, number]
            if isinstance(kernels, _BatchedCategoricalDistributions):
                total += np.ascontiguousarray(np.log(kernels.weights).T)[values.astype(np.int64)]
            elif kernels.step == 0.0:
                smooth.append((kernels, np.log(values) if kernels.is_log else values))
            else:
                _add_steps(total, kernels, values)
        if smooth and not _add_smooth(total, smooth):
            return None
        total += np.log(mixture.weights)
        most = total.max(axis=1)
        most[np.isneginf(most)] = 0
        total -= most[:, None]
        np.exp(total, out=total)
        with np.errstate(divide="ignore"):
            logs: Floats = np.log(total.sum(axis=1)) + most
        return logs


def _add_steps(total: Floats, kernels: Any, values: Floats) -> None:
    """Add what a parameter on a grid contributes: the mass of its cell under every kernel."""
    cells, to_cell = np.unique(values, return_inverse=True)
    mu, sigma, to_kernel = _unique_inverse_2d(kernels.mu, kernels.sigma)
    half = kernels.step / 2
    lower, upper = cells - half, cells + half
    if kernels.is_log:
        lower, upper = np.log(lower), np.log(upper)
    low, high = (lower[:, None] - mu) / sigma, (upper[:, None] - mu) / sigma
    if np.count_nonzero((high > 0) & (low <= 0)) < ERF_SWITCH:
        masses = log_mass(low.ravel(), high.ravel()).reshape(low.shape)
    else:  # which erf it is depends on how many pairs are distinct
        masses = _log_gauss_mass_unique(low, high)
    total += masses[np.ix_(to_cell, to_kernel)]
    ends = (kernels.adapted_low - mu) / sigma, (kernels.adapted_high - mu) / sigma
    total -= log_mass(*ends)[to_kernel]


def _add_smooth(total: Floats, smooth: list[tuple[Any, Floats]]) -> bool:
    """Add what the parameters without a grid contribute; False if a kernel has no width."""
    low = [(k.adapted_low - k.mu) / k.sigma for k, _ in smooth]
    high = [(k.adapted_high - k.mu) / k.sigma for k, _ in smooth]
    if any(np.any(a == b) for a, b in zip(low, high, strict=True)):
        return False
    mass = log_mass(np.concatenate(low), np.concatenate(high)).reshape(len(smooth), -1)
    width = [np.log(k.sigma) for k, _ in smooth]
    outside = [(x < k.adapted_low) | (x > k.adapted_high) for k, x in smooth]
    rows, columns = total.shape
    block = max(1, BLOCK // columns)
    for start in range(0, rows, block):
        part = slice(start, start + block)
        planes: list[Floats] = []
        for i, (kernels, values) in enumerate(smooth):
            z = values[part, None] - kernels.mu
            z /= kernels.sigma
            # A candidate may lie beyond the range by a rounding; its density there is none.
            none = (z < low[i]) | (z > high[i]) if outside[i][part].any() else None
            np.multiply(z, z, out=z)
            z *= -0.5
            z -= _LOG_ROOT_TAU
            z -= mass[i]
            z -= width[i]
            if none is not None:
                z[none] = -np.inf
            if planes and len(smooth) < PLAIN_SUM:
                planes[0] += z
            else:
                planes.append(z)
        total[part] += np.stack(planes, axis=-1).sum(axis=-1) if len(planes) > 1 else planes[0]
    return True


def log_mass(a: Floats, b: Floats) -> Floats:
    """Log of the normal distribution's mass between `a` and `b`, which are one-dimensional."""
    out: Floats = np.full_like(a, np.nan)
    left, right = b <= 0, a > 0
    centre = ~(left | right)
    for chosen, near, far in ((left, b, a), (right, -a, -b)):
        if chosen.any():
            most = log_ndtr(near[chosen])
            out[chosen] = most + np.log1p(-np.exp(log_ndtr(far[chosen]) - most))
    if centre.any():
        out[centre] = np.log1p(-_truncnorm._ndtr(a[centre]) - _truncnorm._ndtr(-b[centre]))
    return out


def log_ndtr(a: Floats) -> Floats:
    """Log of the normal distribution's mass below each of `a`, which is one-dimensional."""
    out: Floats = np.empty_like(a)
    above, near = a > 6, (a > -20) & (a <= 6)
    far = ~(above | near)
    if above.any():
        out[above] = -_ndtr(-a[above])
    if near.any():
        out[near] = _each(math.log, _ndtr(a[near]))
    if far.any():
        out[far] = _log_ndtr_far(a[far])
    return out


def _ndtr(a: Floats) -> Floats:
    x = a / _ROOT
    out: Floats = np.empty_like(x)
    low, high = x < -1 / _ROOT, x >= 1 / _ROOT
    middle = ~(low | high)
    out[low] = 0.5 * _each(math.erfc, -x[low])
    out[middle] = 0.5 + 0.5 * _each(math.erf, x[middle])
    out[high] = 1.0 - 0.5 * _each(math.erfc, x[high])
    return out


def _log_ndtr_far(a: Floats) -> Floats:
    """The asymptotic series, until no term changes the sum any more."""
    # libm's pow squares: its last bit is not always that of a * a.
    squares = np.fromiter(map(pow, a.tolist(), itertools.repeat(2)), np.float64, len(a))
    total: Floats = np.ones_like(a)
    going = np.arange(len(a))
    step, factor = 1 / squares, np.ones_like(a)
    sign, product = 1.0, 1.0
    odd = -1
    while len(going):
        odd += 2
        sign = -sign
        factor = factor * step
        product *= odd
        before = total[going]
        after = before + sign * product * factor
        total[going] = after
        still = np.abs(before - after) > sys.float_info.epsilon
        going, step, factor = going[still], step[still], factor[still]
    logs: Floats = -0.5 * squares - _each(math.log, -a) - _HALF_LOG_TAU
    return logs + _each(math.log, total)


def _each(function: Callable[[float], float], values: Floats) -> Floats:
    """A function of libm on every number; numpy's own are not bit-equal to it."""
    return np.fromiter(map(function, values.tolist()), dtype=np.float64, count=len(values))
