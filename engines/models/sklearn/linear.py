"""Linear models of scikit-learn that need a hand: bounded work, sizes that fit, no divergence.

Each class is scikit-learn's estimator with its own arguments, and differs only in what its
docstring says. Where an argument is changed for one fit (a bound on the iterations, a step size in
another unit), the searched value is put back, so that `get_params` and `clone` tell what was asked.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgWarning
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.cross_decomposition import PLSRegression
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import (
    ARDRegression,
    ElasticNet,
    HuberRegressor,
    Lars,
    Lasso,
    LassoLars,
    LogisticRegression,
    OrthogonalMatchingPursuit,
    RANSACRegressor,
    Ridge,
    SGDClassifier,
    SGDRegressor,
    TheilSenRegressor,
    TweedieRegressor,
)
from sklearn.preprocessing import StandardScaler

Floats = npt.NDArray[np.float64]

FAST_WORK = 3e10
"""Multiplications of matrices that take about ten seconds on one core."""

SLOW_WORK = 5e9
"""Multiplications one after another that take about ten seconds on one core."""


@contextlib.contextmanager
def _changed(estimator: Any, /, **values: Any) -> Iterator[None]:
    """Other arguments for the time of a fit."""
    asked = {name: getattr(estimator, name) for name in values}
    for name, value in values.items():
        setattr(estimator, name, value)
    try:
        yield
    finally:
        for name, value in asked.items():
            setattr(estimator, name, value)


def _steps(asked: int, work_of_one: float, work: float, *, least: int = 5) -> int:
    """As many of the steps asked for as the work allows, but at least `least`."""
    return int(max(min(least, asked), min(asked, work / max(work_of_one, 1.0))))


# -- penalties -------------------------------------------------------------------------------


class BoundedLasso(Lasso):
    """Lasso; with more rows than columns on the columns' products, where a pass costs no rows."""

    def fit(self, X: Floats, y: Floats) -> BoundedLasso:
        """Train on X (rows, columns) and y (rows,)."""
        with _changed(self, **_coordinate_descent(self, X)):
            return super().fit(X, y)


class BoundedElasticNet(ElasticNet):
    """Elastic net, as `BoundedLasso`."""

    def fit(self, X: Floats, y: Floats) -> BoundedElasticNet:
        """Train on X (rows, columns) and y (rows,)."""
        with _changed(self, **_coordinate_descent(self, X)):
            return super().fit(X, y)


def _coordinate_descent(estimator: Any, X: Floats) -> dict[str, Any]:
    rows, columns = X.shape
    pass_ = columns * min(rows, columns)
    return {
        "precompute": rows > columns,
        "max_iter": _steps(estimator.max_iter, pass_, SLOW_WORK, least=50),
    }


class ElasticLogistic(LogisticRegression):
    """Logistic regression with the solver for its penalty: lbfgs without an absolute part."""

    def fit(self, X: Floats, y: Floats) -> ElasticLogistic:
        """Train on X (rows, columns) and y (rows,)."""
        if self.l1_ratio > 0:
            changed: dict[str, Any] = {"solver": "saga", "tol": 1e-3, "max_iter": 200}
        else:
            changed = {"solver": "lbfgs", "max_iter": 1000}
        with _changed(self, **changed):
            return super().fit(X, y)


class BoundedARD(ARDRegression):
    """Relevance determination with as many iterations as time allows: each inverts a matrix."""

    def fit(self, X: Floats, y: Floats) -> BoundedARD:
        """Train on X (rows, columns) and y (rows,)."""
        rows, columns = X.shape
        iteration = columns * columns * (rows + 10.0 * columns)
        with _changed(self, max_iter=_steps(self.max_iter, iteration, FAST_WORK)):
            return super().fit(X, y)


# -- robust losses ---------------------------------------------------------------------------


class SteadyHuber(HuberRegressor):
    """Huber's loss; where its optimiser gives up, once more with a penalty that steadies it.

    It gives up on rows that are fitted (almost) exactly: the scale of the errors, which it
    estimates as well, runs towards zero. The penalty that was used is `alpha_`.
    """

    def fit(self, X: Floats, y: Floats) -> SteadyHuber:
        """Train on X (rows, columns) and y (rows,). Raises ValueError if no penalty helps."""
        steps = _steps(self.max_iter, 4.0 * X.size, FAST_WORK, least=20)
        penalties = [self.alpha, *(p for p in (1e-3, 1.0, 1e3) if p > self.alpha)]
        for penalty in penalties:
            self.alpha_ = penalty
            with _changed(self, max_iter=steps, alpha=penalty):
                try:
                    return super().fit(X, y)
                except ValueError:
                    if penalty == penalties[-1]:
                        raise
        raise AssertionError("unreachable")


class BoundedTheilSen(TheilSenRegressor):
    """Theil-Sen with subsets as large as a share of the rows.

    subset: 0 fits each subset exactly (most robust), 1 takes all rows (least squares); in between
    a subset has that share of the rows beyond the fewest. Work per subset is bounded.
    """

    def __init__(
        self,
        *,
        subset: float = 0.0,
        max_subpopulation: float = 1000,
        max_iter: int = 300,
        tol: float = 1e-3,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            max_subpopulation=max_subpopulation,
            max_iter=max_iter,
            tol=tol,
            random_state=random_state,
        )
        self.subset = subset

    def fit(self, X: Floats, y: Floats) -> BoundedTheilSen:
        """Train on X (rows, columns) and y (rows,)."""
        rows, columns = X.shape
        fewest = min(rows, columns + 1)
        allowed = SLOW_WORK / (self.max_subpopulation * 4.0 * fewest**2)
        size = int(min(fewest + self.subset * (rows - fewest), max(allowed, fewest)))
        with _changed(self, n_subsamples=None if rows <= columns else size):
            return super().fit(X, y)


class _InlierRidge(Ridge):
    """Compares equally large sets of inliers by their error, which one row has as well."""

    def score(self, X: Floats, y: Floats, sample_weight: Any = None) -> float:
        """Minus the mean squared error, in squared units of y."""
        return -float(np.mean((self.predict(X) - y) ** 2))


class RansacRidge(RANSACRegressor):
    """Consensus of random subsets: ridge on the largest set of rows that one of them explains.

    alpha: the ridge's penalty. min_samples: share of the rows in a subset. residual_threshold: the
    largest error of a row that counts as explained, in units of y. Where no subset explains any
    row, all rows are used.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        min_samples: float = 0.5,
        residual_threshold: float = 1.0,
        max_trials: int = 100,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            min_samples=min_samples,
            residual_threshold=residual_threshold,
            max_trials=max_trials,
            random_state=random_state,
        )
        self.alpha = alpha

    def fit(self, X: Floats, y: Floats) -> RansacRidge:
        """Train on X (rows, columns) and y (rows,)."""
        rows, columns = X.shape
        subset = max(min(2, rows), int(np.ceil(self.min_samples * rows)))
        trial = columns * (subset * min(columns, subset) + rows)
        changed = {
            "estimator": _InlierRidge(alpha=self.alpha),
            "min_samples": subset,
            "max_trials": _steps(self.max_trials, trial, FAST_WORK),
        }
        with _changed(self, **changed):
            try:
                return super().fit(X, y)
            except ValueError as error:
                if "consensus" not in str(error):
                    raise
        self.estimator_ = _InlierRidge(alpha=self.alpha).fit(X, y)
        self.inlier_mask_ = np.ones(rows, dtype=bool)
        return self


# -- a few directions ------------------------------------------------------------------------


class FittingPursuit(OrthogonalMatchingPursuit):
    """Matching pursuit with no more columns than there are, or than rows; it may end early."""

    def fit(self, X: Floats, y: Floats) -> FittingPursuit:
        """Train on X (rows, columns) and y (rows,)."""
        count = min(self.n_nonzero_coefs, X.shape[1], max(1, len(X) - 1))
        with _changed(self, n_nonzero_coefs=count), warnings.catch_warnings():
            # The columns left say nothing new: what was found until then is the answer.
            warnings.filterwarnings("ignore", "Orthogonal matching pursuit ended", RuntimeWarning)
            return super().fit(X, y)


class FittingLars(Lars):
    """Least-angle regression with no more columns than there are, or than rows."""

    def fit(self, X: Floats, y: Floats) -> FittingLars:
        """Train on X (rows, columns) and y (rows,)."""
        count = min(self.n_nonzero_coefs, X.shape[1], max(1, len(X) - 1))
        with _changed(self, n_nonzero_coefs=count):
            super().fit(X, y)
        return _without_path(self)


class ShortLassoLars(LassoLars):
    """Lasso by least angles, which forgets the path that led to its coefficients."""

    def fit(self, X: Floats, y: Floats) -> ShortLassoLars:
        """Train on X (rows, columns) and y (rows,)."""
        super().fit(X, y)
        return _without_path(self)


def _without_path(model: Any) -> Any:
    """Coefficients of every step, which no prediction needs. (Without them from the start,
    `fit_path=False`, predictions have a second axis.)"""
    model.__dict__.pop("coef_path_", None)
    return model


class FittingPLS(PLSRegression):
    """Partial least squares with no more directions than the rows and columns have."""

    def fit(self, X: Floats, y: Floats) -> FittingPLS:
        """Train on X (rows, columns) and y (rows,)."""
        count = min(self.n_components, X.shape[1], max(1, len(X) - 1))
        while True:
            with _changed(self, n_components=count), warnings.catch_warnings():
                # Nothing is left to explain: the directions until then are the answer.
                warnings.filterwarnings("ignore", "y residual is constant", UserWarning)
                super().fit(X, y)
            real = _real_directions(self.x_scores_)
            # One value per training row and direction, which no prediction needs.
            for name in ("x_scores_", "y_scores_", "_x_scores", "_y_scores"):
                self.__dict__.pop(name, None)
            if real >= count:
                return self
            count = real


def _real_directions(scores: Floats) -> int:
    """How many of the first columns of `scores` (rows, directions) are more than rounding.

    Columns that say the same leave nothing after some direction; the next one divides by that.
    Directions that are zero throughout were never reached and do no harm.
    """
    sizes = np.linalg.norm(scores, axis=0)
    noise = (sizes > 0) & (sizes < 1e-6 * sizes.max())
    return max(1, int(np.argmax(noise))) if noise.any() else len(sizes)


# -- one row after another -------------------------------------------------------------------


class SteadySGDRegressor(SGDRegressor):
    """Gradient descent row by row, with a step in units of the data, that does not run away.

    eta0: 1 is the step that corrects an average row's error at once (normalised least mean
    squares); scikit-learn's is this divided by the mean of 1 + |x|^2. For `pa1` and `pa2` it is
    the aggressiveness and taken as it is. A fit that ends far from the data is done again with a
    tenth of the step, at most five times; the one used is `step_`.
    """

    def fit(self, X: Floats, y: Floats) -> SteadySGDRegressor:
        """Train on X (rows, columns) and y (rows,). Raises ValueError if every step diverges."""
        spread = float(np.var(y))

        def is_near(model: Any) -> bool:
            with np.errstate(all="ignore"):
                error = float(np.mean((model.predict(X) - y) ** 2))
            return error <= 100.0 * spread + 1e-6

        return _steady(self, super().fit, X, y, is_near)


class SteadySGDClassifier(SGDClassifier):
    """As `SteadySGDRegressor`, for classes."""

    def fit(self, X: Floats, y: Floats) -> SteadySGDClassifier:
        """Train on X (rows, columns) and codes y (rows,). Raises ValueError if it diverges."""
        classes = len(np.unique(y))

        def is_near(model: Any) -> bool:
            return bool(np.isfinite(model.coef_).all())

        return _steady(self, super().fit, X, y, is_near, fits=classes if classes > 2 else 1)


def _steady(
    model: Any,
    fit: Callable[..., Any],
    X: Floats,
    y: Floats,
    is_near: Callable[[Any], bool],
    fits: int = 1,
) -> Any:
    """Fit with ever smaller steps until `is_near`. fits: how many models one fit is made of."""
    epoch = (4.0 * X.size + 50.0 * len(X)) * fits
    epochs = _steps(model.max_iter, epoch, SLOW_WORK)
    own_rate = model.learning_rate in ("pa1", "pa2", "optimal")
    unit = 1.0 if own_rate else float(1.0 + np.mean(np.einsum("ij,ij->i", X, X)))
    for tenths in range(6):
        model.step_ = model.eta0 / unit / 10**tenths
        last = tenths == 5 or own_rate
        with _changed(model, max_iter=epochs, eta0=model.step_):
            try:
                fit(X, y)
            except ValueError as error:
                if last or "under-/overflow" not in str(error):
                    raise
                continue
        if is_near(model):
            return model
    raise ValueError("gradient descent diverged with every step: is a column or the target wild?")


# -- other distributions ---------------------------------------------------------------------


class LogLinkRegressor(TweedieRegressor):
    """A generalised linear model with a logarithmic link, on columns that it standardises itself.

    power: of the mean that the variance grows with; 0 normal, 1 Poisson, 2 gamma. alpha: the
    penalty; the target is divided by its mean first, so that it means the same in every unit.
    Predictions end at ten times the range of positive training targets, where exp() would go on.
    """

    def __init__(
        self, *, power: float = 1.0, alpha: float = 1.0, max_iter: int = 200, tol: float = 1e-5
    ) -> None:
        super().__init__(power=power, alpha=alpha, link="log", max_iter=max_iter, tol=tol)

    def fit(self, X: Floats, y: Floats) -> LogLinkRegressor:
        """Train on X (rows, columns) and y (rows,), as `power` allows: y >= 0 or y > 0."""
        rows, columns = X.shape
        self.scaler_ = StandardScaler().fit(X)
        positive = y[y > 0]
        if not len(positive):
            # Nothing but zeros: their logarithm has no place to start from.
            self.unit_, self.low_, self.high_ = 0.0, 0.0, 0.0
            self.coef_, self.intercept_ = np.zeros(columns), 0.0
            return self
        self.unit_ = float(np.mean(y))
        self.low_ = float(np.log(positive.min() / self.unit_ / 10))
        self.high_ = float(np.log(positive.max() / self.unit_ * 10))
        newton = columns <= 100
        step = rows * columns * (columns if newton else 4)
        changed = {
            "solver": "newton-cholesky" if newton else "lbfgs",
            "max_iter": _steps(self.max_iter, step, FAST_WORK, least=20),
        }
        with _changed(self, **changed), warnings.catch_warnings():
            # Columns that say the same: the solver goes on in another way by itself.
            warnings.simplefilter("ignore", LinAlgWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            return super().fit(self.scaler_.transform(X), y / self.unit_)

    def predict(self, X: Floats) -> Floats:
        """Expected values of shape (rows,), above zero, in units of the target."""
        logarithm = self.scaler_.transform(X) @ self.coef_ + self.intercept_
        return np.exp(np.clip(logarithm, self.low_, self.high_)) * self.unit_


# -- one column ------------------------------------------------------------------------------


class IsotonicColumn(RegressorMixin, BaseEstimator):
    """A step curve that only rises, or only falls, over the column that orders the target best.

    increasing: True, False, or "auto" for the sign of the rank correlation (Spearman's). The column
    taken, by the size of that correlation on the training rows, is `column_`.
    """

    def __init__(self, *, increasing: bool | str = "auto") -> None:
        self.increasing = increasing

    def fit(self, X: Floats, y: Floats) -> IsotonicColumn:
        """Train on X (rows, columns) and y (rows,)."""
        correlations = rank_correlations(X, y)
        self.column_ = int(np.argmax(np.abs(correlations)))
        rises = bool(correlations[self.column_] >= 0)
        self.n_features_in_ = X.shape[1]
        self.curve_ = IsotonicRegression(
            increasing=rises if self.increasing == "auto" else bool(self.increasing),
            out_of_bounds="clip",
        ).fit(X[:, self.column_], y)
        return self

    def predict(self, X: Floats) -> Floats:
        """Values of the curve of shape (rows,); its ends hold beyond the training rows."""
        return self.curve_.predict(X[:, self.column_])


def rank_correlations(X: Floats, y: Floats) -> Floats:
    """Spearman's correlation of each column with y, of shape (columns,); 0 for a constant one."""
    ranks = rankdata(X, axis=0)
    ranks -= ranks.mean(axis=0)
    target = rankdata(y)
    target -= target.mean()
    size = np.sqrt((ranks**2).sum(axis=0) * (target**2).sum())
    return np.divide(target @ ranks, size, out=np.zeros(X.shape[1]), where=size > 0)
