"""Skill or luck? What a Sharpe ratio is worth, given its length, its shape and how many were tried.

Sharpe ratios here are of one bar unless said otherwise. Moments are plain: skewness m3 / m2^1.5,
kurtosis m4 / m2^2 (3 for a normal law).

Sources: Bailey and Lopez de Prado, "The Sharpe ratio efficient frontier" (2012) and "The deflated
Sharpe ratio" (2014); Bailey, Borwein, Lopez de Prado and Zhu, "The probability of backtest
overfitting" (2017); Politis and Romano, "The stationary bootstrap" (1994).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from simulator.metrics import FLAT, sharpe_per_bar

Floats = npt.NDArray[np.float64]
Variance = Literal["null", "cross"]

_NORMAL = NormalDist()
_EULER = 0.5772156649015329
_AT_ONCE = 4_000_000
"""Numbers drawn at once by the bootstrap: years of minutes would fill the memory otherwise."""


def probabilistic_sharpe_ratio(r: Floats, benchmark: float = 0.0) -> float | None:
    """The chance that the true Sharpe ratio is above `benchmark`, given returns r (n,).

    Phi((S - S*) sqrt(n - 1) / sqrt(1 - g3 S + (g4 - 1) / 4 S^2)), with S, S* of one bar, g3 the
    skewness and g4 the kurtosis. None if r is constant or has fewer than 3 bars.
    """
    sharpe, scale = sharpe_per_bar(r), _sharpe_scale(r)
    if sharpe is None or scale is None:
        return None
    return _NORMAL.cdf((sharpe - benchmark) * math.sqrt(len(r) - 1) / scale)


def expected_maximum_sharpe(trials: int, variance: float) -> float:
    """The best Sharpe ratio that `trials` worthless strategies have, on average.

    sqrt(V) ((1 - g) Phi^-1(1 - 1 / N) + g Phi^-1(1 - 1 / (N e))), g Euler's constant, V the
    variance of the trials' Sharpe ratios. 0 for one trial.
    """
    if trials < 1:
        raise ValueError(f"trials={trials}: at least 1 is needed")
    if trials == 1:
        return 0.0
    first = _NORMAL.inv_cdf(1 - 1 / trials)
    second = _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - _EULER) * first + _EULER * second)


def deflated_sharpe_ratio(
    r: Floats, trials: int, *, variance: Variance = "null", sharpes: Floats | None = None
) -> float | None:
    """The chance that the best of `trials` strategies, with returns r (n,), has any skill.

    It is the probabilistic Sharpe ratio against the maximum expected of worthless strategies.
    variance says how their Sharpe ratios scatter:
    "null"   1 / (n - 1), as those of worthless ones do. Right if trials differ in skill.
    "cross"  the variance (ddof 1) of `sharpes`, those of the trials, of one bar; as published.
             Where trials truly differ it takes skill for scatter and finds too little.
    None if r is constant, too short, or `sharpes` are fewer than two.
    """
    if variance == "null":
        spread = 1.0 / (len(r) - 1) if len(r) > 1 else 0.0
    elif sharpes is None:
        raise ValueError('variance="cross" needs the trials\' Sharpe ratios')
    elif len(sharpes) < 2:
        return None
    else:
        spread = float(np.var(sharpes, ddof=1))
    return probabilistic_sharpe_ratio(r, expected_maximum_sharpe(trials, spread))


def minimum_track_record_length(
    r: Floats, benchmark: float = 0.0, confidence: float = 0.95
) -> float | None:
    """Bars after which a Sharpe ratio like that of r would be above `benchmark` with confidence.

    1 + (1 - g3 S + (g4 - 1) / 4 S^2) (Phi^-1(confidence) / (S - S*))^2. None if S <= S*.
    """
    sharpe, scale = sharpe_per_bar(r), _sharpe_scale(r)
    if sharpe is None or scale is None or sharpe <= benchmark:
        return None
    return 1 + (scale * _NORMAL.inv_cdf(confidence) / (sharpe - benchmark)) ** 2


def effective_trials(returns: Floats) -> float:
    """How many independent strategies a matrix of returns (n, trials) is worth, in [1, trials].

    (sum of the eigenvalues of the correlation matrix)^2 / sum of their squares, which is
    trials^2 / sum of all squared correlations. Constant columns count as one each.
    """
    trials = returns.shape[1]
    spread = returns.std(axis=0)
    moving = returns[:, spread > 0]
    if moving.shape[1] == 0:
        return float(max(trials, 1))
    z = (moving - moving.mean(axis=0)) / spread[spread > 0]
    correlations = z.T @ z / len(returns)
    k = moving.shape[1]
    return float(k * k / np.sum(correlations**2)) + (trials - k)


@dataclass(frozen=True, eq=False)
class Overfitting:
    """Probability of backtest overfitting, by combinatorially symmetric cross-validation.

    pbo: share of splits in which the best strategy in sample is at or below the median out of
    sample. logits: (splits,), log(w / (1 - w)) of its relative rank w there. degradation: mean
    Sharpe ratio of the chosen ones, of one bar, in sample and out of sample.
    """

    pbo: float
    logits: Floats
    degradation: tuple[float, float]


def probability_of_overfitting(returns: Floats, blocks: int = 16) -> Overfitting | None:
    """CSCV over returns (n, strategies), compared by Sharpe ratio; ties share their ranks.

    The bars are cut into `blocks` stretches (what is left over at the end is not used); every
    choice of half of them is in sample once. Sums over blocks suffice, so all splits are matrix
    products. None for fewer than two strategies or two bars a block.
    """
    n, strategies = returns.shape
    if blocks % 2 or blocks < 2:
        raise ValueError(f"blocks={blocks}: an even number of at least 2 is needed")
    size = n // blocks
    if strategies < 2 or size < 2:
        return None
    # Far from 0 the difference of two large sums would lose the variance.
    centred = returns[: size * blocks] - returns.mean()
    cut = centred.reshape(blocks, size, strategies)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    inside = _halves(blocks)
    seen = _sharpes(inside @ sums, inside @ squares, size * blocks // 2, returns.mean())
    rest = _sharpes((1 - inside) @ sums, (1 - inside) @ squares, size * blocks // 2, returns.mean())
    best = np.argmax(seen, axis=1)
    chosen = np.take_along_axis(rest, best[:, None], axis=1)
    below = (rest < chosen).sum(axis=1) + ((rest == chosen).sum(axis=1) - 1) / 2
    rank = (below + 1) / (strategies + 1)
    logits = np.log(rank / (1 - rank))
    at_best = np.take_along_axis(seen, best[:, None], axis=1)
    return Overfitting(
        float(np.mean(logits <= 0)), logits, (float(at_best.mean()), float(chosen.mean()))
    )


def _halves(blocks: int) -> Floats:
    """Every choice of half of the blocks, as rows of 0 and 1: (choices, blocks)."""
    choices = list(combinations(range(blocks), blocks // 2))
    rows = np.zeros((len(choices), blocks))
    rows[np.arange(len(choices))[:, None], choices] = 1.0
    return rows


def _sharpes(sums: Floats, squares: Floats, count: int, shift: float) -> Floats:
    """Sharpe ratios of one bar from sums and sums of squares of `count` centred returns."""
    mean = sums / count
    variance = np.maximum(squares / count - mean**2, 0.0) * count / (count - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # What rounding leaves of a constant column's variance is no variance.
        return np.where(
            variance > FLAT * (squares / count), (mean + shift) / np.sqrt(variance), 0.0
        )


def stationary_bootstrap(
    n: int, samples: int, rng: np.random.Generator, block: float | None = None
) -> npt.NDArray[np.int64]:
    """Indices (samples, n) of resampled series: blocks of geometric length, wrapped round.

    block: mean length, n^(1/3) if None. Each next index is one further, or, with chance
    1 / block, anywhere.
    """
    length = block or max(1.0, n ** (1 / 3))
    fresh = rng.random((samples, n)) < 1.0 / length
    fresh[:, 0] = True
    starts = rng.integers(0, n, (samples, n))
    at = np.arange(n)
    begun = np.maximum.accumulate(np.where(fresh, at, 0), axis=1)
    return np.asarray((np.take_along_axis(starts, begun, axis=1) + at - begun) % n, dtype=np.int64)


def bootstrap_interval(
    r: Floats,
    statistic: Callable[[Floats], Floats] | None = None,
    *,
    confidence: float = 0.95,
    samples: int = 1000,
    seed: int = 0,
    block: float | None = None,
) -> tuple[float, float] | None:
    """(low, high): percentile interval of a statistic of returns r (n,), blocks kept together.

    statistic: from (samples, n) to (samples,); the Sharpe ratio of one bar if None. None if r has
    fewer than 3 bars or the statistic is never finite.
    """
    if len(r) < 3:
        return None
    rng = np.random.default_rng(seed)
    of_rows = statistic or sharpe_of_rows
    rows = max(1, _AT_ONCE // len(r))
    values = np.concatenate(
        [
            of_rows(r[stationary_bootstrap(len(r), min(rows, samples - done), rng, block)])
            for done in range(0, samples, rows)
        ]
    )
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def sharpe_of_rows(r: Floats) -> Floats:
    """Sharpe ratios of one bar of each row of (samples, n); NaN where a row is constant."""
    spread = r.std(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, r.mean(axis=1) / spread, np.nan)


def _sharpe_scale(r: Floats) -> float | None:
    """sqrt(1 - g3 S + (g4 - 1) / 4 S^2): how the shape of r widens the error of its Sharpe."""
    sharpe = sharpe_per_bar(r)
    if sharpe is None or len(r) < 3:
        return None
    z = r - r.mean()
    m2 = float(np.mean(z**2))
    skewness = float(np.mean(z**3)) / m2**1.5
    kurtosis = float(np.mean(z**4)) / m2**2
    inside = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return math.sqrt(inside) if inside > 0 else None
