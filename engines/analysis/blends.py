"""The score of a mean of predictions that grows by one member at a time.

A greedy ensemble asks again and again what each candidate would bring. Nothing is computed anew
that the last answer has in it: squared errors come from products of residuals, which are made
once, so that a step costs no pass over the rows; absolute errors, log loss and shares of hits come
from sums over the members; any other metric from the mean itself.

A part is the validation rows of one fold. The score of a blend is the selection score on the
parts that it was made for, up to rounding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from engines.data.scoring import Metric, ScoreError, selection_score

Floats: TypeAlias = npt.NDArray[np.float64]
Part: TypeAlias = tuple[Floats, list[Floats]]
"""(y of shape (rows,), what each candidate predicts: (rows,) or (rows, classes))."""

Singles: TypeAlias = npt.NDArray[np.float32]

_AT_ONCE = 1 << 16  # numbers in a block: larger ones fall out of the processor's cache

_TIE = 1e-6
"""A share less for each higher code: of equal shares the lowest code is the label."""

_SMALLEST_SHARE = 1e-15


class Blend(ABC):
    """A mean of candidates, each as often as it was added, on some of the parts."""

    @abstractmethod
    def add(self, candidate: int) -> None:
        """Take a candidate in, once more if it is in."""

    @abstractmethod
    def score(self) -> float:
        """The score of the mean; NaN where the metric is not defined."""

    @abstractmethod
    def scores_with(self) -> Floats:
        """(candidates,) the score if each were added; NaN where the metric is not defined."""


class Table(ABC):
    """What all blends of the same candidates share."""

    parts: int

    @abstractmethod
    def blend(self, parts: Sequence[int]) -> Blend:
        """An empty blend that is scored on these parts."""


def tabulate(metric: Metric, parts: Sequence[Part], spread: float | None = None) -> Table:
    """The table that answers fastest for a metric.

    spread: the variance of the target that r2 measures all parts by; by default each has its own.
    """
    if parts[0][0].ndim == 2:  # forecasts
        return _Any(metric, parts)
    if metric.name in ("r2", "rmse", "mse"):
        return _Squares(metric, parts, spread)
    if metric.name in _ROWS:
        return _Sums(*_ROWS[metric.name], parts)
    return _Any(metric, parts)


def is_fast(metric: Metric) -> bool:
    """Whether a step costs microseconds a candidate, or a whole evaluation of the metric."""
    return metric.name in ("r2", "rmse", "mse", *_ROWS)


# -- squared errors ------------------------------------------------------------------------


class _Squares(Table):
    """Products of residuals: the mean square of a mean of residuals is a sum over pairs."""

    def __init__(self, metric: Metric, parts: Sequence[Part], spread: float | None) -> None:
        self.parts = len(parts)
        self.name = metric.name
        # (parts, candidates, candidates)
        self.products = np.stack([self._products(y, predicted) for y, predicted in parts])
        spreads = [float(np.var(y)) if spread is None else spread for y, _ in parts]
        self.spread = np.array([one if one > 0 else np.nan for one in spreads])

    @staticmethod
    def _products(y: Floats, predicted: list[Floats]) -> Floats:
        residuals = np.stack(predicted) - y
        return residuals @ residuals.T / len(y)

    def blend(self, parts: Sequence[int]) -> Blend:
        return _SquaresBlend(self, np.asarray(parts))

    def scored(self, squares: Floats, parts: npt.NDArray[np.int64]) -> Floats:
        """Mean squares (parts, ...) to the mean over the parts of the metric."""
        squares = np.maximum(squares, 0.0)  # rounding
        if self.name == "rmse":
            squares = np.sqrt(squares)
        elif self.name == "r2":
            spread = self.spread[parts].reshape(-1, *[1] * (squares.ndim - 1))
            squares = 1.0 - squares / spread
        return np.asarray(squares.mean(axis=0))


class _SquaresBlend(Blend):
    def __init__(self, table: _Squares, parts: npt.NDArray[np.int64]) -> None:
        self._table = table
        self._which = parts
        self._products = table.products[parts]
        self._own = np.diagonal(self._products, axis1=1, axis2=2)
        self._with = np.zeros_like(self._own)  # of each candidate with the sum of members
        self._square = np.zeros(len(parts))  # of the sum of members
        self._members = 0

    def add(self, candidate: int) -> None:
        self._square = self._square + 2 * self._with[:, candidate] + self._own[:, candidate]
        self._with = self._with + self._products[:, :, candidate]
        self._members += 1

    def score(self) -> float:
        return float(self._table.scored(self._square / self._members**2, self._which))

    def scores_with(self) -> Floats:
        squares = self._square[:, None] + 2 * self._with + self._own
        return self._table.scored(squares / (self._members + 1) ** 2, self._which)


# -- sums over rows ------------------------------------------------------------------------

Prepare: TypeAlias = Callable[[Floats, Floats], Floats]
Loss: TypeAlias = Callable[[Singles, Singles, int], npt.NDArray[np.floating]]
"""(sums over members (..., rows), weights of rows, how many members) -> losses (...); may write
into the sums."""


def _residual(y: Floats, predicted: Floats) -> Floats:
    return predicted - y


def _relative(y: Floats, predicted: Floats) -> Floats:
    return (predicted - y) / y


def _true_share(y: Floats, predicted: Floats) -> Floats:
    true = predicted[np.arange(len(y)), y.astype(np.int64)]
    return true / predicted.sum(axis=1)


def _true_first(y: Floats, predicted: Floats) -> Floats:
    """(classes, rows): the share of the true class, then those of the others."""
    shares = predicted - _TIE * np.arange(predicted.shape[1])
    codes = y.astype(np.int64)
    others = np.arange(predicted.shape[1] - 1)[None, :]
    order = np.column_stack([codes, others + (others >= codes[:, None])])
    return np.take_along_axis(shares, order, axis=1).T


def _even(y: Floats) -> Floats:
    return np.full(len(y), 1 / len(y))


def _balanced(y: Floats) -> Floats:
    """Weights of the rows such that each class that is there counts the same."""
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    return 1 / (counts[codes] * len(counts))


def _absolute(sums: Singles, weights: Singles, members: int) -> npt.NDArray[np.floating]:
    return np.abs(sums, out=sums) @ weights / members


def _half_absolute(sums: Singles, weights: Singles, members: int) -> npt.NDArray[np.floating]:
    return _absolute(sums, weights, 2 * members)


def _log(sums: Singles, weights: Singles, members: int) -> npt.NDArray[np.floating]:
    np.clip(sums, _SMALLEST_SHARE * members, members, out=sums)
    return np.log(members) - np.log(sums, out=sums) @ weights


def _hits(sums: Singles, weights: Singles, members: int) -> npt.NDArray[np.floating]:
    return (sums[..., 0, :] > sums[..., 1:, :].max(axis=-2)) @ weights


_ROWS: dict[str, tuple[Prepare, Callable[[Floats], Floats], Loss]] = {
    "mae": (_residual, _even, _absolute),
    "mape": (_relative, _even, _absolute),
    "pinball": (_residual, _even, _half_absolute),
    "log_loss": (_true_share, _even, _log),
    "accuracy": (_true_first, _even, _hits),
    "balanced_accuracy": (_true_first, _balanced, _hits),
}
"""What is added up over the members, how much a row counts, and what is summed over the rows."""


class _Sums(Table):
    """Values of each candidate on each row, (candidates, ..., rows) a part.

    In 24 bits: half the memory, twice as fast, and enough to choose by.
    """

    def __init__(
        self,
        prepare: Prepare,
        weigh: Callable[[Floats], Floats],
        loss: Loss,
        parts: Sequence[Part],
    ) -> None:
        self.parts = len(parts)
        self.loss = loss
        self.weights = [weigh(y).astype(np.float32) for y, _ in parts]
        self.values = [
            np.stack([prepare(y, one).astype(np.float32) for one in predicted])
            for y, predicted in parts
        ]

    def blend(self, parts: Sequence[int]) -> Blend:
        return _SumsBlend(self, parts)


class _SumsBlend(Blend):
    def __init__(self, table: _Sums, parts: Sequence[int]) -> None:
        self._loss = table.loss
        self._values = [table.values[part] for part in parts]
        self._weights = [table.weights[part] for part in parts]
        self._sums = [np.zeros(values.shape[1:], np.float32) for values in self._values]
        self._members = 0

    def add(self, candidate: int) -> None:
        for total, values in zip(self._sums, self._values, strict=True):
            total += values[candidate]
        self._members += 1

    def score(self) -> float:
        losses = [
            self._loss(total.copy(), weights, self._members)
            for total, weights in zip(self._sums, self._weights, strict=True)
        ]
        return float(np.mean(losses))

    def scores_with(self) -> Floats:
        found = [
            self._part_with(total, values, weights)
            for total, values, weights in zip(self._sums, self._values, self._weights, strict=True)
        ]
        return np.asarray(np.mean(found, axis=0))

    def _part_with(self, total: Singles, values: Singles, weights: Singles) -> Floats:
        step = max(1, _AT_ONCE // total.size)
        block = np.empty((min(step, len(values)), *total.shape), np.float32)
        found = np.empty(len(values))
        for start in range(0, len(values), step):
            some = values[start : start + step]
            sums = np.add(some, total, out=block[: len(some)])
            found[start : start + step] = self._loss(sums, weights, self._members + 1)
        return found


# -- any metric ----------------------------------------------------------------------------


class _Any(Table):
    """Predictions as they are; each answer is an evaluation of the metric."""

    def __init__(self, metric: Metric, parts: Sequence[Part]) -> None:
        self.parts = len(parts)
        self.metric = metric
        self.y = [y for y, _ in parts]
        self.predicted = [predicted for _, predicted in parts]

    def blend(self, parts: Sequence[int]) -> Blend:
        return _AnyBlend(self, parts)


class _AnyBlend(Blend):
    def __init__(self, table: _Any, parts: Sequence[int]) -> None:
        self._metric = table.metric
        self._y = [table.y[part] for part in parts]
        self._predicted = [table.predicted[part] for part in parts]
        self._sums = [np.zeros_like(predicted[0]) for predicted in self._predicted]
        self._members = 0

    def add(self, candidate: int) -> None:
        for total, predicted in zip(self._sums, self._predicted, strict=True):
            total += predicted[candidate]
        self._members += 1

    def score(self) -> float:
        return self._of([total / self._members for total in self._sums])

    def scores_with(self) -> Floats:
        members = self._members + 1
        return np.array(
            [
                self._of(
                    [
                        (total + predicted[candidate]) / members
                        for total, predicted in zip(self._sums, self._predicted, strict=True)
                    ]
                )
                for candidate in range(len(self._predicted[0]))
            ]
        )

    def _of(self, means: list[Floats]) -> float:
        try:
            return selection_score(self._metric, list(zip(self._y, means, strict=True)))
        except ScoreError:
            return float("nan")
