"""Gaussian processes: scales learned on some rows, the posterior on as many as can be afforded.

scikit-learn optimises its kernel on all rows, n^3 a step (12 s at 2,000 rows). Here a few hundred
rows tell the scales, one for each column if wanted, and scikit-learn's process is fitted once.
"""

from __future__ import annotations

from collections.abc import Hashable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    Matern,
    RationalQuadratic,
    WhiteKernel,
)
from sklearn.utils._param_validation import Interval, StrOptions

from engines.models.learner import Floats, FoldView, Watch
from engines.models.sklearn.relevance import KERNELS, ROWS, Scales, learn_scales

_SHAPES: dict[str, Any] = {
    "rbf": lambda: RBF(1.0),
    "matern_1.5": lambda: Matern(1.0, nu=1.5),
    "matern_2.5": lambda: Matern(1.0, nu=2.5),
    "rational_quadratic": lambda: RationalQuadratic(1.0, alpha=1.0),
}

_CONSTRAINTS: dict[str, Any] = {
    "kernel": [StrOptions(set(KERNELS))],
    "per_column": ["boolean"],
    "length_scale": [Interval(Real, 0, None, closed="neither")],
    "tuning_rows": [Interval(Integral, 1, None, closed="left")],
}

_BLOCK = 2_000_000
"""Kernel values computed at once when predicting: 16 MB."""

_ROWS = 1000


class _Process:
    """Learns the scales and stretches the columns by them, so that every kernel has scale 1."""

    kernel: str
    per_column: bool
    length_scale: float
    tuning_rows: int
    fit: Any
    _cache: dict[Hashable, Any] | None = None

    def fit_watched(self, fold: FoldView, watch: Watch) -> Any:
        """Fit, with the scales that an earlier trial of the fold has learned.

        A process doesn't grow by rounds: `rounds_` is 1.
        """
        self._cache = fold.cache
        try:
            self.fit(fold.X, fold.y)
        finally:
            self._cache = None
        self.rounds_ = 1
        return self

    def fit_rounds(self, X: Floats, y: Floats, rounds: int) -> Any:
        """As `fit`: there is one round."""
        return self.fit(X, y)

    def _learn(self, X: Floats, y: Floats, *, classes: bool) -> Scales:
        settings = (self.kernel, self.per_column, self.length_scale, self.tuning_rows)
        key = ("process scales", classes, *settings)
        cached: Scales | None = None if self._cache is None else self._cache.get(key)
        if cached is not None:
            return cached
        scales = learn_scales(
            X,
            y,
            kernel=self.kernel,
            rows=self.tuning_rows,
            classes=classes,
            per_column=self.per_column,
            length_scale=self.length_scale,
        )
        if self._cache is not None:
            self._cache[key] = scales
        return scales


class ScaledProcessRegressor(_Process, RegressorMixin, BaseEstimator):
    """GaussianProcessRegressor. X and y standardised.

    kernel: `rbf`, `matern_1.5`, `matern_2.5` or `rational_quadratic`, with white noise.
    alpha: variance of noise added to what was learned. per_column: a length scale for each
    column. length_scale: what is expected of them, in square roots of the number of columns.
    tuning_rows: so many rows tell the scales.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        **_CONSTRAINTS,
    }

    def __init__(
        self,
        kernel: str = "matern_2.5",
        alpha: float = 1e-6,
        per_column: bool = True,
        length_scale: float = 1.0,
        tuning_rows: int = ROWS,
    ) -> None:
        self.kernel = kernel
        self.alpha = alpha
        self.per_column = per_column
        self.length_scale = length_scale
        self.tuning_rows = tuning_rows

    def fit(self, X: Floats, y: Floats) -> Self:
        X, y = np.asarray(X, np.float64), np.asarray(y, np.float64)
        scales = self._learn(X, y, classes=False)
        self.lengths_ = scales.lengths
        self.offset_ = float(y.mean())
        kernel = ConstantKernel(scales.signal, "fixed") * _SHAPES[self.kernel]()
        self.model_ = GaussianProcessRegressor(
            kernel + WhiteKernel(scales.noise, "fixed"), alpha=self.alpha, optimizer=None
        )
        self.model_.fit(X / self.lengths_, y - self.offset_)
        return self

    def predict(self, X: Floats) -> Floats:
        Z = np.asarray(X, np.float64) / self.lengths_
        step = max(1, _BLOCK // len(self.model_.X_train_))
        parts = [self.model_.predict(Z[start : start + step]) for start in range(0, len(Z), step)]
        return np.concatenate(parts) + self.offset_


class ScaledProcessClassifier(_Process, ClassifierMixin, BaseEstimator):
    """GaussianProcessClassifier, Laplace's approximation, one class against the rest.

    The scales are those of a regression on the classes' indicators. signal: the variance of the
    latent function. The rest as in `ScaledProcessRegressor`.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "signal": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        **_CONSTRAINTS,
    }

    def __init__(
        self,
        kernel: str = "matern_2.5",
        signal: float = 10.0,
        per_column: bool = True,
        length_scale: float = 1.0,
        tuning_rows: int = ROWS,
        random_state: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.random_state = random_state
        self.signal = signal
        self.per_column = per_column
        self.length_scale = length_scale
        self.tuning_rows = tuning_rows

    def fit(self, X: Floats, y: Floats) -> Self:
        X, y = np.asarray(X, np.float64), np.asarray(y, np.float64)
        present = np.unique(y)
        self.classes_ = present
        if len(present) == 1:
            return self
        self.lengths_ = self._learn(X, y, classes=True).lengths
        self.model_ = GaussianProcessClassifier(
            ConstantKernel(self.signal, "fixed") * _SHAPES[self.kernel](),
            optimizer=None,
            copy_X_train=False,
            random_state=self.random_state,
            n_jobs=1,
        )
        self.model_.fit(X / self.lengths_, y)
        return self

    def predict(self, X: Floats) -> Floats:
        return np.asarray(self.classes_[np.argmax(self.predict_proba(X), axis=1)])

    def predict_proba(self, X: Floats) -> Floats:
        if len(self.classes_) == 1:
            return np.ones((len(X), 1))
        Z = np.asarray(X, np.float64) / self.lengths_
        parts = [
            self.model_.predict_proba(Z[start : start + _ROWS]) for start in range(0, len(Z), _ROWS)
        ]
        return np.concatenate(parts)
