"""Neighbours: columns stretched by what matters, and a radius that the data tells.

`relevance` (0: not at all) stretches the columns as `relevance.py` says: neighbours are poor where
columns that tell nothing count as much as the others.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    NearestNeighbors,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.utils._param_validation import Interval

from engines.models.learner import Floats, FoldView, Watch
from engines.models.sklearn.relevance import column_weights

_CONSTRAINTS = {
    "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    "quantile": [Interval(Real, 0, 1, closed="both")],
}

_RELEVANCE = {"relevance": [Interval(Real, 0, 2, closed="both")]}

_SAMPLE = 2000
_PAIRS = 2_000_000
"""Pairs of rows looked at together: bounds memory when the radius holds most rows."""


class _Stretched:
    """Neighbours among stretched columns."""

    relevance: float
    _classifies = False
    _cache: dict[Hashable, Any] | None = None

    def fit(self, X: Floats, y: Floats) -> Self:
        X, y = np.asarray(X, np.float64), np.asarray(y, np.float64)
        self.weights_ = column_weights(X, y, self.relevance, self._cache, classes=self._classifies)
        super().fit(X * self.weights_, y)  # type: ignore[misc]
        return self

    def fit_watched(self, fold: FoldView, watch: Watch) -> Self:
        """Fit, with what earlier trials of the fold know. `rounds_` is 1: nothing grows."""
        self._cache = fold.cache
        try:
            self.fit(fold.X, fold.y)
        finally:
            self._cache = None
        self.rounds_ = 1
        return self

    def fit_rounds(self, X: Floats, y: Floats, rounds: int) -> Self:
        """As `fit`: there is one round."""
        return self.fit(X, y)


class StretchedNeighborsRegressor(_Stretched, KNeighborsRegressor):
    """KNeighborsRegressor among stretched columns."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **KNeighborsRegressor._parameter_constraints,
        **_RELEVANCE,
    }

    def __init__(
        self,
        n_neighbors: int = 5,
        weights: str = "uniform",
        p: float = 2,
        relevance: float = 0.0,
    ) -> None:
        super().__init__(n_neighbors=n_neighbors, weights=weights, p=p, n_jobs=1)
        self.relevance = relevance

    def predict(self, X: Floats) -> Floats:
        return np.asarray(super().predict(np.asarray(X, np.float64) * self.weights_))


class StretchedNeighborsClassifier(_Stretched, KNeighborsClassifier):
    """KNeighborsClassifier among stretched columns."""

    _classifies = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **KNeighborsClassifier._parameter_constraints,
        **_RELEVANCE,
    }

    def __init__(
        self,
        n_neighbors: int = 5,
        weights: str = "uniform",
        p: float = 2,
        relevance: float = 0.0,
    ) -> None:
        super().__init__(n_neighbors=n_neighbors, weights=weights, p=p, n_jobs=1)
        self.relevance = relevance

    def predict(self, X: Floats) -> Floats:
        return np.asarray(self.classes_[np.argmax(self.predict_proba(X), axis=1)])

    def predict_proba(self, X: Floats) -> Floats:
        return np.asarray(super().predict_proba(np.asarray(X, np.float64) * self.weights_))


class _Reach:
    """A radius from the distances to the k-th neighbour; the nearest row where nothing is near."""

    n_neighbors: int
    quantile: float
    p: float
    radius: float

    def fit(self, X: Floats, y: Floats) -> Self:
        X, y = np.asarray(X, np.float64), np.asarray(y, np.float64)
        nearest = NearestNeighbors(p=self.p, n_jobs=1).fit(X)
        k = min(self.n_neighbors, max(1, len(X) - 1))
        probes = X
        if len(X) > _SAMPLE:
            chosen = np.random.default_rng(0).choice(len(X), _SAMPLE, replace=False)
            probes = X[np.sort(chosen)]
        # A row's first neighbour is itself, or its double.
        distances, _ = nearest.kneighbors(probes, n_neighbors=min(k + 1, len(X)))
        self.radius_ = float(np.quantile(distances[:, -1], self.quantile))
        self.nearest_ = nearest
        self.values_ = y
        asked: float = self.radius
        # Rounding must not push the row that set the radius out of it.
        self.radius = self.radius_ * (1.0 + 1e-9)
        try:
            super().fit(X, y)  # type: ignore[misc]
            self.reach_ = self.radius
        finally:
            self.radius = asked
        return self

    def _blocks(self, X: Floats) -> Iterator[tuple[Floats, Any, Any]]:
        """(rows, whether each has a neighbour, the number of its nearest row), block by block."""
        step = max(1, _PAIRS // len(self.values_))
        for start in range(0, len(X), step):
            rows = X[start : start + step]
            distance, number = self.nearest_.kneighbors(rows, n_neighbors=1)
            yield rows, distance[:, 0] <= self.reach_, number[:, 0]


class ReachingNeighborsRegressor(_Reach, RadiusNeighborsRegressor):
    """RadiusNeighborsRegressor with the radius that holds `n_neighbors` rows around a share
    `quantile` of the training rows. A row with nobody in reach gets its nearest row's target."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **RadiusNeighborsRegressor._parameter_constraints,
        **_CONSTRAINTS,
    }

    def __init__(
        self,
        n_neighbors: int = 10,
        quantile: float = 0.5,
        weights: str = "distance",
        p: float = 2,
    ) -> None:
        super().__init__(weights=weights, p=p, n_jobs=1)
        self.n_neighbors = n_neighbors
        self.quantile = quantile

    def predict(self, X: Floats) -> Floats:
        parts = []
        asked, self.radius = self.radius, self.reach_
        try:
            for rows, has, number in self._blocks(np.asarray(X, np.float64)):
                predicted = self.values_[number]
                if has.any():
                    predicted[has] = super().predict(rows[has])
                parts.append(predicted)
        finally:
            self.radius = asked
        return np.concatenate(parts)


class ReachingNeighborsClassifier(_Reach, RadiusNeighborsClassifier):
    """RadiusNeighborsClassifier, as `ReachingNeighborsRegressor` says."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **RadiusNeighborsClassifier._parameter_constraints,
        **_CONSTRAINTS,
    }

    def __init__(
        self,
        n_neighbors: int = 10,
        quantile: float = 0.5,
        weights: str = "distance",
        p: float = 2,
    ) -> None:
        super().__init__(weights=weights, p=p, n_jobs=1)
        self.n_neighbors = n_neighbors
        self.quantile = quantile

    def predict(self, X: Floats) -> Floats:
        return np.asarray(self.classes_[np.argmax(self.predict_proba(X), axis=1)])

    def predict_proba(self, X: Floats) -> Floats:
        """(rows, classes) shares of the rows in reach."""
        parts = []
        asked, self.radius = self.radius, self.reach_
        try:
            for rows, has, number in self._blocks(np.asarray(X, np.float64)):
                of_nearest = self.values_[number][:, None] == self.classes_[None, :]
                shares = of_nearest.astype(np.float64)
                if has.any():
                    shares[has] = super().predict_proba(rows[has])
                parts.append(shares)
        finally:
            self.radius = asked
        return np.concatenate(parts)
