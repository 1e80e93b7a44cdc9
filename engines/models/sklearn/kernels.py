"""Support vectors and kernel ridge: kernels in units that fit any data, and bounded work.

Each class is scikit-learn's estimator with these differences. `gamma` is in units of
1 / (columns x variance of the columns), so that 1.0 means the same on 1 column and on 200.
`relevance` (0: not at all) stretches the columns that matter by what a Gaussian process finds, see
`relevance.py`. The number of steps is bounded, and so are predictions of kernels that can
explode. A target of one class is answered with that class.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR
from sklearn.utils._param_validation import Interval

from engines.models.learner import Floats, FoldView, Watch
from engines.models.sklearn.relevance import column_weights, squared_distances

WORK = 8e8
"""Steps x rows of libsvm that take 2 to 10 s on one core (3 to 13 ns each were measured)."""

_STEPS_A_ROW = 300
"""Sets that score well end within 20 to 100 steps a row; a polynomial with a large gamma never."""

_LINEAR_WORK = 1e9
"""Passes x rows x columns of liblinear that take about 10 s."""

_BLOCK = 2_000_000
"""Kernel values computed at once when predicting: 16 MB."""

_SHARE = {"relevance": [Interval(Real, 0, 2, closed="both")]}


class _Stretched:
    """Column weights, the unit of gamma, and the bound on steps, for all of libsvm's machines."""

    gamma: float
    relevance: float
    kernel: str
    _is_classifier = False
    _cache: dict[Hashable, Any] | None = None
    _most_steps: int | None = None

    def fit(self, X: Floats, y: Floats, sample_weight: Floats | None = None) -> Self:
        X, y = np.asarray(X, np.float64), np.asarray(y, np.float64)
        self.only_ = None
        if self._is_classifier and len(present := np.unique(y)) == 1:
            self.only_, self.classes_ = float(present[0]), present
            return self
        self.weights_ = column_weights(
            X, y, self.relevance, self._cache, classes=self._is_classifier
        )
        Z = X * self.weights_
        self.range_ = (float(y.min()), float(y.max()))
        asked = self.gamma
        self.gamma_ = self.gamma = asked / _total_variance(Z)
        self.max_iter = min(_STEPS_A_ROW * max(len(Z), 100), int(WORK / len(Z)))
        if self._most_steps is not None:
            self.max_iter = min(self.max_iter, self._most_steps)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                super().fit(Z, y, sample_weight)  # type: ignore[misc]
        finally:
            self.gamma = asked
        return self

    def fit_watched(self, fold: FoldView, watch: Watch) -> Self:
        """Fit, with what earlier trials of the fold know, in at most the time that is left.

        A support vector machine doesn't grow by rounds: `rounds_` is 1.
        """
        self._cache = fold.cache
        limited = watch.seconds_left * WORK / 10.0 / len(fold.y)
        self._most_steps = max(1, int(limited)) if np.isfinite(limited) else None
        try:
            self.fit(fold.X, fold.y)
        finally:
            self._cache = None
        if self._most_steps is not None and self._ran_out():
            watch.mark_cut()
        self._most_steps = None
        self.rounds_ = 1
        return self

    def fit_rounds(self, X: Floats, y: Floats, rounds: int) -> Self:
        """As `fit`: there is one round."""
        return self.fit(X, y)

    def _ran_out(self) -> bool:
        if self.only_ is not None:
            return False
        most = self._most_steps
        steps: Any = getattr(self, "n_iter_", 0)
        return most is not None and int(np.max(steps)) >= most

    def _stretch(self, X: Floats) -> Floats:
        return np.asarray(X, np.float64) * self.weights_


class _Regressor(_Stretched):
    """Predictions by matrix products: five times as fast as libsvm's, row by row."""

    support_vectors_: Floats
    dual_coef_: Floats
    intercept_: Floats
    degree: int
    coef0: float

    def predict(self, X: Floats) -> Floats:
        Z = self._stretch(X)
        vectors, weights = self.support_vectors_, self.dual_coef_[0]
        step = max(1, _BLOCK // max(1, len(vectors)))
        parts = [
            self._kernel(Z[start : start + step], vectors) @ weights
            for start in range(0, len(Z), step)
        ]
        predicted = np.concatenate(parts) + self.intercept_[0]
        return _bounded(predicted, self.range_, self.kernel)

    def _kernel(self, A: Floats, B: Floats) -> Floats:
        if self.kernel == "rbf":
            d2 = squared_distances(A, B)
            d2 *= -self.gamma_
            return np.asarray(np.exp(d2, out=d2))
        product = A @ B.T
        if self.kernel == "linear":
            return product
        product = self.gamma_ * product + self.coef0
        return np.asarray(np.tanh(product) if self.kernel == "sigmoid" else product**self.degree)


class _Classifier(_Stretched):
    _is_classifier = True

    def predict(self, X: Floats) -> Floats:
        if self.only_ is not None:
            return np.full(len(X), self.only_)
        return np.asarray(super().predict(self._stretch(X)))  # type: ignore[misc]

    def decision_function(self, X: Floats) -> Floats:
        if self.only_ is not None:
            return np.zeros(len(X))
        return np.asarray(super().decision_function(self._stretch(X)))  # type: ignore[misc]


class SupportVectorRegressor(_Regressor, SVR):
    """SVR. X and y standardised; epsilon in units of the target's standard deviation."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {**SVR._parameter_constraints, **_SHARE}

    def __init__(
        self,
        kernel: str = "rbf",
        C: float = 1.0,
        epsilon: float = 0.1,
        gamma: float = 1.0,
        degree: int = 3,
        coef0: float = 0.0,
        relevance: float = 0.0,
        cache_size: float = 400,
        tol: float = 1e-3,
    ) -> None:
        super().__init__(
            kernel=kernel,
            C=C,
            epsilon=epsilon,
            gamma=gamma,
            degree=degree,
            coef0=coef0,
            cache_size=cache_size,
            tol=tol,
        )
        self.relevance = relevance


class NuSupportVectorRegressor(_Regressor, NuSVR):
    """NuSVR: nu, the share of rows outside the tube, takes the place of its width."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {**NuSVR._parameter_constraints, **_SHARE}

    def __init__(
        self,
        kernel: str = "rbf",
        C: float = 1.0,
        nu: float = 0.5,
        gamma: float = 1.0,
        degree: int = 3,
        coef0: float = 0.0,
        relevance: float = 0.0,
        cache_size: float = 400,
        tol: float = 1e-3,
    ) -> None:
        super().__init__(
            kernel=kernel,
            C=C,
            nu=nu,
            gamma=gamma,
            degree=degree,
            coef0=coef0,
            cache_size=cache_size,
            tol=tol,
        )
        self.relevance = relevance


class SupportVectorClassifier(_Classifier, SVC):
    """SVC. Without probabilities of its own."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {**SVC._parameter_constraints, **_SHARE}

    def __init__(
        self,
        kernel: str = "rbf",
        C: float = 1.0,
        gamma: float = 1.0,
        degree: int = 3,
        coef0: float = 0.0,
        class_weight: str | None = None,
        relevance: float = 0.0,
        cache_size: float = 400,
        tol: float = 1e-3,
    ) -> None:
        super().__init__(
            kernel=kernel,
            C=C,
            gamma=gamma,
            degree=degree,
            coef0=coef0,
            class_weight=class_weight,
            cache_size=cache_size,
            tol=tol,
        )
        self.relevance = relevance


class NuSupportVectorClassifier(_Classifier, NuSVC):
    """NuSVC with nu as a share of the largest that is feasible.

    Feasible for two classes of n_i and n_j rows: nu <= 2 min(n_i, n_j) / (n_i + n_j)
    (Chang & Lin, LIBSVM, 2011, section 2.2); for more classes, the smallest over all pairs.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {**NuSVC._parameter_constraints, **_SHARE}

    nu: float

    def __init__(
        self,
        kernel: str = "rbf",
        nu: float = 0.5,
        gamma: float = 1.0,
        degree: int = 3,
        coef0: float = 0.0,
        relevance: float = 0.0,
        cache_size: float = 400,
        tol: float = 1e-3,
    ) -> None:
        super().__init__(
            kernel=kernel,
            nu=nu,
            gamma=gamma,
            degree=degree,
            coef0=coef0,
            cache_size=cache_size,
            tol=tol,
        )
        self.relevance = relevance

    def fit(self, X: Floats, y: Floats, sample_weight: Floats | None = None) -> Self:
        asked = self.nu
        self.nu = asked * largest_nu(np.unique(y, return_counts=True)[1])
        try:
            return super().fit(X, y, sample_weight)
        finally:
            self.nu = asked


def largest_nu(counts: Any) -> float:
    """The largest feasible nu for classes of so many rows each, a hair below the bound.

    The worst pair is the rarest class with the most frequent one.
    """
    rare, frequent = float(np.min(counts)), float(np.max(counts))
    return (1.0 - 1e-9) * 2.0 * rare / (rare + frequent)


class BoundedLinearSVR(LinearSVR):
    """LinearSVR whose passes are bounded by the size of the data."""

    max_iter: int

    def fit(self, X: Floats, y: Floats, sample_weight: Floats | None = None) -> Self:
        asked, self.max_iter = self.max_iter, _passes(X)
        try:
            super().fit(X, y, sample_weight)
        finally:
            self.max_iter = asked
        return self


class BoundedLinearSVC(LinearSVC):
    """LinearSVC whose passes are bounded by the size of the data; one class is answered."""

    max_iter: int

    def fit(self, X: Floats, y: Floats, sample_weight: Floats | None = None) -> Self:
        present = np.unique(y)
        self.only_ = float(present[0]) if len(present) == 1 else None
        if self.only_ is not None:
            self.classes_ = present
            return self
        machines = len(present) if len(present) > 2 else 1
        asked, self.max_iter = self.max_iter, max(20, _passes(X) // machines)
        try:
            super().fit(X, y, sample_weight)
        finally:
            self.max_iter = asked
        return self

    def predict(self, X: Floats) -> Floats:
        if self.only_ is not None:
            return np.full(len(X), self.only_)
        return np.asarray(super().predict(X))

    def decision_function(self, X: Floats) -> Floats:
        if self.only_ is not None:
            return np.zeros(len(X))
        return np.asarray(super().decision_function(X))


class ScaledKernelRidge(KernelRidge):
    """KernelRidge with gamma and alpha in units of the data.

    alpha is relative to the mean of the kernel's diagonal, which is 1 for `rbf` and `laplacian`:
    otherwise a cubic kernel of large gamma is singular in double precision.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **KernelRidge._parameter_constraints,
        **_SHARE,
    }
    _cache: dict[Hashable, Any] | None = None
    alpha: float
    gamma: float

    def __init__(
        self,
        alpha: float = 1.0,
        kernel: str = "rbf",
        gamma: float = 1.0,
        degree: int = 3,
        coef0: float = 1.0,
        relevance: float = 0.0,
    ) -> None:
        super().__init__(alpha=alpha, kernel=kernel, gamma=gamma, degree=degree, coef0=coef0)
        self.relevance = relevance

    def fit(self, X: Floats, y: Floats, sample_weight: Floats | None = None) -> Self:
        X, y = np.asarray(X, np.float64), np.asarray(y, np.float64)
        self.weights_ = column_weights(X, y, self.relevance, self._cache, classes=False)
        Z = X * self.weights_
        self.range_ = (float(y.min()), float(y.max()))
        asked = self.alpha, self.gamma
        self.gamma_ = self.gamma = self.gamma / _total_variance(Z)
        self.alpha = self.alpha * self._mean_diagonal(Z)
        try:
            super().fit(Z, y, sample_weight)
        finally:
            self.alpha, self.gamma = asked
        return self

    def fit_watched(self, fold: FoldView, watch: Watch) -> Self:
        """Fit, with what earlier trials of the fold know. `rounds_` is 1: one solution."""
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

    def predict(self, X: Floats) -> Floats:
        Z = np.asarray(X, np.float64) * self.weights_
        asked = self.gamma
        self.gamma = self.gamma_
        try:
            step = max(1, _BLOCK // len(self.X_fit_))
            parts = [
                super(ScaledKernelRidge, self).predict(Z[start : start + step])
                for start in range(0, len(Z), step)
            ]
        finally:
            self.gamma = asked
        return _bounded(np.concatenate(parts), self.range_, self.kernel)

    def _mean_diagonal(self, Z: Floats) -> float:
        squares = np.einsum("ij,ij->i", Z, Z)
        if self.kernel == "linear":
            mean = squares.mean()
        elif self.kernel == "poly":
            mean = np.mean((self.gamma * squares + self.coef0) ** self.degree)
        else:
            mean = 1.0
        return max(float(mean), 1e-12)


def _total_variance(X: Floats) -> float:
    """Columns x variance of all entries, as scikit-learn's gamma="scale"; 1 where it is 0."""
    variance = X.shape[1] * float(X.var())
    return variance if variance > 0 else 1.0


def _passes(X: Floats) -> int:
    return int(np.clip(_LINEAR_WORK / max(1, np.asarray(X).size), 20, 2000))


def _bounded(predicted: Floats, known: tuple[float, float], kernel: str) -> Floats:
    """Polynomials far outside the training rows are cut one range beyond the known targets."""
    if kernel in ("rbf", "laplacian"):
        return predicted
    low, high = known
    return np.clip(predicted, 2 * low - high, 2 * high - low)
