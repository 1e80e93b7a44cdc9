"""Skill or luck: what the scores of agents are worth, given how many were tried.

Of many worthless strategies the best looks good on the bars that it was chosen on. The deflated
Sharpe ratio asks whether the chosen one looks better than the best of as many worthless ones
would; the probability of overfitting, how often the best on some of the bars is below the middle
on the others. See `simulator.statistics` for both and their sources.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.data.earnings import score_returns
from engines.data.scoring import ScoreError
from simulator import statistics
from simulator.metrics import sharpe_per_bar

Floats = npt.NDArray[np.float64]

RESAMPLES = 1000
MOST_DRAWN = 5_000_000
"""Returns drawn for all resamples together: fewer resamples of a very long period."""

FEWEST_DRAWN = 200


def multiple_testing(returns: Floats, chosen: int) -> dict[str, float | int | None]:
    """What the chosen one of all that was tried is worth. returns: (bars, trials), of one bar.

    dsr_null, dsr_cross: chance, from 0 to 1, that its true Sharpe ratio is above 0, allowing for
    the choice; the spread of worthless ratios is 1 / bars for the first and that of the trials'
    own ratios for the second, which is stricter where trials differ in skill. trials,
    effective_trials: how many were tried, and how many independent ones that makes. pbo: the
    probability of overfitting. None where it is not defined: a policy without a trade, one trial.
    """
    r, trials = returns[:, chosen], returns.shape[1]
    sharpes = np.array([sharpe_per_bar(column) or 0.0 for column in returns.T])
    overfitting = statistics.probability_of_overfitting(returns)
    return {
        "dsr_null": statistics.deflated_sharpe_ratio(r, trials),
        "dsr_cross": statistics.deflated_sharpe_ratio(r, trials, variance="cross", sharpes=sharpes),
        "trials": trials,
        "effective_trials": statistics.effective_trials(returns),
        "pbo": None if overfitting is None else overfitting.pbo,
    }


def interval(
    metric: str, returns: Floats, bars_per_year: float, *, seed: int, level: float = 0.95
) -> list[float] | None:
    """[low, high] of a metric by the stationary bootstrap: what other bars like these would give.

    None if it is defined on no resample, or without a trade.
    """
    if not returns.any():
        return None
    values = _scores(metric, returns[_draws(len(returns), seed)], bars_per_year)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return [float(low), float(high)]


def p_of_lead(
    metric: str, returns: Floats, reference: Floats, bars_per_year: float, *, seed: int
) -> float:
    """The p-value against "no better than `reference` on the same bars", from 0 to 1, one-sided.

    The share of resamples of the bars, the same for both, without a gain, as (1 + n) / (1 + N).
    1.0 where the metric is not defined.
    """
    drawn = _draws(len(returns), seed)
    gain = _scores(metric, returns[drawn], bars_per_year)
    gain = gain - _scores(metric, reference[drawn], bars_per_year)
    gain = gain[np.isfinite(gain)]
    return float((1 + (gain <= 0).sum()) / (1 + len(gain)))


def _draws(bars: int, seed: int) -> npt.NDArray[np.int64]:
    samples = int(np.clip(MOST_DRAWN // bars, FEWEST_DRAWN, RESAMPLES))
    return statistics.stationary_bootstrap(bars, samples, np.random.default_rng(seed))


def _scores(metric: str, rows: Floats, bars_per_year: float) -> Floats:
    """The metric of each of some rows of returns, NaN where it is not defined."""
    found = np.full(len(rows), np.nan)
    for at, row in enumerate(rows):
        try:
            found[at] = score_returns(metric, row, bars_per_year)
        except ScoreError:
            continue
    return found
