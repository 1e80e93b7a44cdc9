"""What a forecast is held against, and the metrics of forecasts.

The truth of a row is (horizon + 3,): the values that came, then what metrics measure them by: the
last value known then, the mean of the training part, and the mean absolute error of the naive
forecast in it. A forecast is (rows, horizon). All steps of a row count alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engines.data.past import Past
from engines.data.resampling import Draws

if TYPE_CHECKING:
    from engines.data.splits import Split

Floats = npt.NDArray[np.float64]

REFERENCES = 3


def truth(past: Past, split: Split) -> Floats:
    """(rows, horizon + 3). NaN in the references of rows that are never scored."""
    references = np.full((len(past.at), REFERENCES), np.nan)
    references[:, 0] = past.last()
    scored = [(fold.train, fold.valid) for fold in split.folds]
    for train, rows in (*scored, (split.search, split.held_out)):
        known = past.known_to(int(train[-1]))
        references[rows, 1] = known.mean()
        references[rows, 2] = naive_error(known, past.season)
    return np.column_stack([past.ahead(), references])


def naive_error(series: Floats, season: int | None) -> float:
    """Mean absolute error of the value one season (or one step) before; NaN if that is 0.

    The scale of MASE: Hyndman and Koehler, "Another look at measures of forecast accuracy", Int.
    J. of Forecasting 22, 2006, eq. for q_t.
    """
    back = season if season is not None and season < len(series) else 1
    error = float(np.abs(series[back:] - series[:-back]).mean()) if len(series) > back else 0.0
    return error if error > 0 else float("nan")


def came(y: Floats) -> Floats:
    """(rows, horizon) of a truth: the values that came."""
    return y[:, :-REFERENCES]


def squared(y: Floats, predicted: Floats) -> Floats:
    """(rows,) mean over the steps of the squared error."""
    return np.asarray(((came(y) - predicted) ** 2).mean(axis=1))


def absolute(y: Floats, predicted: Floats) -> Floats:
    """(rows,) mean over the steps of the absolute error."""
    return np.asarray(np.abs(came(y) - predicted).mean(axis=1))


def relative(y: Floats, predicted: Floats) -> Floats:
    """(rows,) mean over the steps of the error as a part of the true value; NaN where that is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.abs((came(y) - predicted) / came(y))
    return np.asarray(np.where(np.isfinite(part), part, np.nan).mean(axis=1))


def scaled(y: Floats, predicted: Floats) -> Floats:
    """(rows,) the absolute error in units of the naive forecast's in training."""
    return np.asarray(absolute(y, predicted) / y[:, -1])


def _turns(y: Floats, predicted: Floats) -> tuple[Floats, Floats]:
    """(rows,) each: steps that were told right, and steps that could be told."""
    rise, told = came(y) - y[:, -3:-2], predicted - y[:, -3:-2]
    moved = rise != 0
    # Who says that nothing will move has said nothing: half a hit, as of a coin.
    right = np.where(told == 0, 0.5, np.sign(told) == np.sign(rise))
    return np.where(moved, right, 0.0).sum(axis=1), moved.sum(axis=1).astype(np.float64)


def wrong_turns(y: Floats, predicted: Floats) -> Floats:
    """(rows,) the part of the steps whose direction was told wrong; 0 where nothing moved."""
    right, there = _turns(y, predicted)
    return np.asarray((there - right) / np.maximum(there, 1.0))


def _mean(losses: Floats, draws: Draws) -> Floats:
    total, rows = draws.sums(np.column_stack([losses, np.ones(len(losses))])).T
    return total / rows


def _r2(y: Floats, predicted: Floats, draws: Draws) -> Floats:
    """1 - squared error / that of the training mean (out-of-sample R2: Campbell and Thompson,
    "Predicting excess stock returns out of sample", Review of Financial Studies 21, 2008, eq. 1).
    """
    reference = ((came(y) - y[:, -2:-1]) ** 2).mean(axis=1)
    error, spread = draws.sums(np.column_stack([squared(y, predicted), reference])).T
    return np.where(spread > 0, 1.0 - error / np.where(spread > 0, spread, 1.0), np.nan)


def _directional_accuracy(y: Floats, predicted: Floats, draws: Draws) -> Floats:
    right, there = draws.sums(np.column_stack(_turns(y, predicted))).T
    return np.where(there > 0, right / np.where(there > 0, there, 1.0), np.nan)


FORMULAS = {
    "r2": _r2,
    "rmse": lambda y, predicted, draws: np.sqrt(_mean(squared(y, predicted), draws)),
    "mse": lambda y, predicted, draws: _mean(squared(y, predicted), draws),
    "mae": lambda y, predicted, draws: _mean(absolute(y, predicted), draws),
    "mape": lambda y, predicted, draws: _mean(relative(y, predicted), draws),
    "pinball": lambda y, predicted, draws: _mean(absolute(y, predicted), draws) / 2,
    "mase": lambda y, predicted, draws: _mean(scaled(y, predicted), draws),
    "directional_accuracy": _directional_accuracy,
}
"""As `engines.data.measures.FORMULAS`, of truths and forecasts."""

LOSSES = {
    "r2": squared,
    "rmse": squared,
    "mse": squared,
    "mae": absolute,
    "mape": relative,
    "pinball": absolute,
    "mase": scaled,
    "directional_accuracy": wrong_turns,
}
"""The loss of a row that a comparison of two forecasts is made of: (rows,) each."""
