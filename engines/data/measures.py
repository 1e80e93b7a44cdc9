"""The metrics' formulas, each on many resamples of the rows at once.

y is (n,) true values or class codes, predicted (n,) values or (n, k) shares of classes. A
formula gives one value a resample, shape (R,), NaN where it is not defined.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.data import futures
from engines.data.resampling import Draws, Floats, Ints, Whole
from engines.data.scoring import CLASSIFICATION, FORECAST, Metric, ScoreError, finite

Formula = Callable[[Floats, Floats, Draws], Floats]

ABSURD = 1e6
"""Predictions farther from the training targets than this many times their range are no
predictions: a linear model that diverged gives 1e16 without a warning."""

SMALLEST_SHARE = 1e-15
"""A share of exactly 0 for the true class would make the log loss infinite."""

_SAME = 1e-14  # a spread below this part of the values is rounding


def score(metric: Metric, y_true: Any, predicted: Any) -> float:
    """One metric of one set of rows; see `Metric.score`."""
    y, predicted = arrays(metric, y_true, predicted)
    number = float(resampled(metric, y, predicted, Whole(len(y)))[0])
    if np.isnan(number):
        raise ScoreError(f"{metric.name} is not defined: {metric.undefined}")
    return finite(number)


def resampled(metric: Metric, y: Floats, predicted: Floats, draws: Draws) -> Floats:
    """The metric on each resample: (R,), NaN where it is not defined."""
    # What overflows is infinite, and refused as a score.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        formulas = FORMULAS if y.ndim == 1 else futures.FORMULAS
        formula = metric.formula or formulas[metric.name]
        return formula(y, predicted, draws)


def arrays(metric: Metric, y_true: Any, predicted: Any) -> tuple[Floats, Floats]:
    """Both sides as float64 of fitting shapes.

    Raises ScoreError for predictions that are not finite, ValueError for shapes that don't fit.
    """
    y = np.asarray(y_true, dtype=np.float64)
    predicted = np.asarray(predicted, dtype=np.float64)
    dimensions = 2 if CLASSIFICATION in metric.tasks else y.ndim
    wide = y.ndim == 2 and FORECAST in metric.tasks
    if wide:
        fits = predicted.shape == (len(y), y.shape[1] - futures.REFERENCES)
    else:
        fits = y.ndim == 1 and predicted.ndim == dimensions and len(y) == len(predicted)
    if not fits or not len(y):
        raise ValueError(
            f"`predicted` of shape {predicted.shape} does not fit `y_true` of shape {y.shape} "
            f"for {metric.name}"
        )
    if dimensions == 2 and not wide and not ((y >= 0) & (y < predicted.shape[1])).all():
        raise ValueError(f"`y_true` must hold class codes from 0 to {predicted.shape[1] - 1}")
    _check_finite(predicted)
    return y, predicted


def check_predictions(
    predicted: npt.NDArray[np.floating[Any]],
    y_train_min: float,
    y_train_max: float,
    *,
    shares: bool = False,
) -> None:
    """Refuse predictions that no working model makes. Raises ScoreError with the reason.

    predicted (rows,), or (rows, horizon): not finite, or farther from the range of the training
    targets than 1e6 times that range. With `shares`, (rows, k) shares of classes: not finite,
    below zero, or a row that does not sum to one; the range is then not looked at.
    """
    _check_finite(predicted)
    if shares:
        sums = predicted.sum(axis=1)
        if (predicted < 0).any() or (np.abs(sums - 1) > 1e-3).any():
            worst = float(sums[np.abs(sums - 1).argmax()])
            low = float(predicted.min())
            raise ScoreError(
                f"shares of classes must be at least 0 and sum to 1, got {low:.3g} as the least "
                f"and {worst:.3g} as a sum"
            )
        return
    size = y_train_max - y_train_min or max(abs(y_train_min), abs(y_train_max))
    far = np.maximum(y_train_min - predicted, predicted - y_train_max)
    if far.size and size > 0 and far.max() > ABSURD * size:
        raise ScoreError(
            f"predictions reach {predicted.flat[far.argmax()]:.2g} where the target lies in "
            f"{y_train_min:.4g} to {y_train_max:.4g}"
        )


def _check_finite(predicted: npt.NDArray[np.floating[Any]]) -> None:
    good = np.isfinite(predicted)
    if not good.all():
        bad = int((~good).sum()) if predicted.ndim == 1 else int((~good.all(axis=1)).sum())
        raise ScoreError(f"{bad:,} of {len(predicted):,} predictions are not finite")


def labels(predicted: Floats) -> Ints:
    """(n,) the class of the largest share in each row, the lowest code on ties."""
    return predicted.argmax(axis=1)


def _mean(statistic: Floats, draws: Draws) -> Floats:
    total, rows = draws.sums(np.column_stack([statistic, np.ones(len(statistic))])).T
    return total / rows


def _r2(y: Floats, predicted: Floats, draws: Draws) -> Floats:
    # From the mean of all rows, so that squares don't cancel.
    y_here = y - y.mean()
    columns = [np.ones(len(y)), y_here, y_here**2, (y - predicted) ** 2]
    rows, total, squares, error = draws.sums(np.column_stack(columns)).T
    spread = squares - total**2 / rows
    rounding = np.maximum(1e-10 * squares, rows * (_SAME * np.abs(y).max()) ** 2)
    return np.where(spread > rounding, 1.0 - error / spread, np.nan)


def _mse(y: Floats, predicted: Floats, draws: Draws) -> Floats:
    return _mean((y - predicted) ** 2, draws)


def _rmse(y: Floats, predicted: Floats, draws: Draws) -> Floats:
    return np.sqrt(_mse(y, predicted, draws))


def _mae(y: Floats, predicted: Floats, draws: Draws) -> Floats:
    return _mean(np.abs(y - predicted), draws)


def _mape(y: Floats, predicted: Floats, draws: Draws) -> Floats:
    if (y == 0).any():
        return np.full(len(draws.sums(np.ones((len(y), 1)))), np.nan)
    return _mean(np.abs((y - predicted) / y), draws)


def _pinball(y: Floats, predicted: Floats, draws: Draws) -> Floats:
    return _mae(y, predicted, draws) / 2


def _accuracy(y: Floats, predicted: Floats, draws: Draws) -> Floats:
    return _mean((labels(predicted) == y).astype(np.float64), draws)


def _hits(y: Floats, predicted: Floats, draws: Draws) -> tuple[Floats, Floats, Floats]:
    """(R, k) each: rows of a class, rows predicted as it, and rows that are both."""
    k, codes, said = predicted.shape[1], y.astype(np.int64), labels(predicted)
    hit = np.where(codes == said, codes, -1)
    return draws.counts(codes, k), draws.counts(said, k), draws.counts(hit, k)


def _mean_of(values: Floats, there: npt.NDArray[np.bool_]) -> Floats:
    """(R,) mean over the last axis of the values that are there; NaN if none is."""
    return np.where(there, values, 0.0).sum(axis=1) / there.sum(axis=1)


def _balanced_accuracy(y: Floats, predicted: Floats, draws: Draws) -> Floats:
    true, _, hit = _hits(y, predicted, draws)
    return _mean_of(hit / true, true > 0)


def _f1(y: Floats, predicted: Floats, draws: Draws) -> Floats:
    """A class that neither is there nor was predicted is left out; of two, it scores 0."""
    true, said, hit = _hits(y, predicted, draws)
    there = true + said > 0
    value = np.where(there, 2 * hit / (true + said), 0.0)
    return value[:, 1] if predicted.shape[1] == 2 else _mean_of(value, there)


def _log_loss(y: Floats, predicted: Floats, draws: Draws) -> Floats:
    return _mean(log_losses(y, predicted), draws)


def log_losses(y: Floats, predicted: Floats) -> Floats:
    """(n,) the negative logarithm of the true class's share, of shares that sum to one."""
    true = predicted[np.arange(len(y)), y.astype(np.int64)] / predicted.sum(axis=1)
    return -np.log(np.clip(true, SMALLEST_SHARE, 1.0))


def _roc_auc(y: Floats, predicted: Floats, draws: Draws) -> Floats:
    """Over the classes that are there; with two, that of the second is that of both."""
    k = predicted.shape[1]
    classes = [1] if k == 2 else np.unique(y).astype(np.int64)
    sides = [_Ranks(y == c, predicted[:, c]) for c in classes]
    values = []
    for weights in draws.weights():
        areas = np.column_stack([side.area(weights) for side in sides])
        values.append(_mean_of(areas, ~np.isnan(areas)))
    return np.concatenate(values)


class _Ranks:
    """Rows sorted by the share of one class, with equal shares side by side."""

    def __init__(self, positive: npt.NDArray[np.bool_], share: Floats) -> None:
        self.order = np.argsort(share, kind="stable")
        ranked = share[self.order]
        self.starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
        self.positive = positive[self.order]

    def area(self, weights: Floats) -> Floats:
        """(r,) how often a row of the class ranks above another, ties as half (Mann-Whitney).

        NaN where a resample has no row of the class, or no other.
        """
        weights = weights[:, self.order]
        inside = np.add.reduceat(np.where(self.positive, weights, 0.0), self.starts, axis=1)
        others = np.add.reduceat(np.where(self.positive, 0.0, weights), self.starts, axis=1)
        below = np.cumsum(others, axis=1) - others / 2
        pairs = inside.sum(axis=1) * others.sum(axis=1)
        return (inside * below).sum(axis=1) / np.where(pairs > 0, pairs, np.nan)


FORMULAS: dict[str, Formula] = {
    "r2": _r2,
    "rmse": _rmse,
    "mae": _mae,
    "mse": _mse,
    "mape": _mape,
    "pinball": _pinball,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
    "roc_auc": _roc_auc,
    "log_loss": _log_loss,
}
