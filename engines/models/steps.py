"""Forecasts by models that predict one number: an estimator for each step of the horizon.

The direct strategy: Ben Taieb, Bontempi, Atiya and Sorjamaa, "A review and comparison of strategies
for multi-step ahead time series forecasting", Expert Systems with Applications 39, 2012, section
2.2. No step is computed from the forecast of another, so errors don't pile up.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from engines.models.learner import Floats, FoldView, OutOfTime, Watch


class Steps:
    """Estimators of the same parameters, one for each step.

    y: (rows, steps). `rounds_` and `courses_` hold what each of them has, a tuple and a list.
    """

    def __init__(self, estimators: Sequence[Any]) -> None:
        self.estimators = list(estimators)
        self.courses_: list[list[tuple[int, Any]]] = []

    @property
    def rounds_(self) -> tuple[int, ...] | None:
        """The rounds of each step, or None for estimators that have none."""
        if not all(hasattr(estimator, "rounds_") for estimator in self.estimators):
            return None
        return tuple(estimator.rounds_ for estimator in self.estimators)

    def fit(self, X: Floats, y: Floats) -> Self:
        """Train each on its column of y."""
        for step, estimator in enumerate(self.estimators):
            estimator.fit(X, y[:, step])
        return self

    def fit_rounds(self, X: Floats, y: Floats, rounds: Sequence[int]) -> Self:
        """Train each for its own number of rounds, where that can be said."""
        for step, estimator in enumerate(self.estimators):
            if hasattr(estimator, "fit_rounds"):
                estimator.fit_rounds(X, y[:, step], rounds[step])
            else:
                estimator.fit(X, y[:, step])
        return self

    def fit_watched(self, fold: FoldView, watch: Watch) -> None:
        """Train each, with its share of the time that is left.

        Raises OutOfTime where time is up before the last one and nothing can be cut short.
        """
        for step, (estimator, view) in enumerate(zip(self.estimators, _views(fold), strict=True)):
            if not hasattr(estimator, "fit_watched"):
                if step and watch.is_over():
                    raise OutOfTime(f"time was up after {step} of {len(self.estimators)} steps")
                estimator.fit(view.X, view.y)
                continue
            left = watch.seconds_left
            share = left / (len(self.estimators) - step)
            deadline = None if math.isinf(left) else time.monotonic() + share
            own = Watch(deadline, keeps=watch.keeps)
            estimator.fit_watched(view, own)
            if own.cut_short:
                watch.mark_cut()
            self.courses_.append(own.course)

    def predict(self, X: Floats) -> Floats:
        """(rows, steps)."""
        return np.column_stack(
            [np.asarray(e.predict(X), dtype=np.float64).reshape(len(X)) for e in self.estimators]
        )


def _views(fold: FoldView) -> list[FoldView]:
    """The fold as the estimator of each step sees it, with a cache of its own, made once."""
    if "steps" not in fold.cache:
        fold.cache["steps"] = [
            replace(fold, y=fold.y[:, step], y_valid=fold.y_valid[:, step], cache={})
            for step in range(fold.y.shape[1])
        ]
    found: list[FoldView] = fold.cache["steps"]
    return found
