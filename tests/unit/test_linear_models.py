"""What our linear estimators add to scikit-learn's: bounded work, sizes that fit, no divergence."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import ElasticNet, HuberRegressor, Lasso, LogisticRegression

from engines.models.sklearn import linear


def rows(count: int = 200, columns: int = 5, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    X = random.normal(size=(count, columns))
    y = X[:, 0] * 2.0 + random.normal(scale=0.1, size=count)
    return X, (y - y.mean()) / y.std()


ESTIMATORS = (
    linear.BoundedLasso(alpha=0.01),
    linear.BoundedElasticNet(alpha=0.01),
    linear.BoundedARD(),
    linear.SteadyHuber(max_iter=1000),
    linear.BoundedTheilSen(subset=0.2, max_subpopulation=100, random_state=3),
    linear.RansacRidge(random_state=3),
    linear.FittingPursuit(n_nonzero_coefs=50),
    linear.FittingLars(n_nonzero_coefs=50, random_state=3),
    linear.ShortLassoLars(alpha=0.01, random_state=3),
    linear.FittingPLS(n_components=50),
    linear.SteadySGDRegressor(random_state=3),
    linear.LogLinkRegressor(power=0.0, alpha=0.01),
    linear.IsotonicColumn(),
)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_an_estimator_can_be_cloned_pickled_and_fitted_again(estimator: Any) -> None:
    X, y = rows()
    y = np.exp(y) if isinstance(estimator, linear.LogLinkRegressor) else y
    asked = estimator.get_params()

    fitted = clone(estimator).fit(X, y)
    again = clone(fitted).fit(X, y)

    assert fitted.get_params() == asked
    predicted = fitted.predict(X)
    assert predicted.shape == (200,)
    assert np.array_equal(again.predict(X), predicted)
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), predicted)
    assert np.corrcoef(predicted, y)[0, 1] > 0.7


@pytest.mark.parametrize("shape", [(100, 5), (30, 60)], ids=["tall", "wide"])
def test_lasso_and_elastic_net_find_what_scikit_learn_finds(shape: tuple[int, int]) -> None:
    X, y = rows(*shape)

    for ours, theirs in (
        (linear.BoundedLasso(alpha=0.05), Lasso(alpha=0.05)),
        (linear.BoundedElasticNet(alpha=0.05), ElasticNet(alpha=0.05)),
    ):
        assert np.allclose(ours.fit(X, y).coef_, theirs.fit(X, y).coef_, atol=1e-3)


def test_work_bounds_the_iterations_but_leaves_a_few() -> None:
    assert linear._steps(1000, 10.0, 1e9) == 1000
    assert linear._steps(1000, 1e7, 1e9) == 100
    assert linear._steps(1000, 1e12, 1e9) == 5
    assert linear._steps(3, 1e12, 1e9) == 3


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_elastic_logistic_regression_agrees_with_a_solver_that_does_everything(
    l1_ratio: float,
) -> None:
    X, y = rows()
    classes = np.digitize(y, [-0.5, 0.5]).astype(np.float64)

    ours = linear.ElasticLogistic(C=0.1, l1_ratio=l1_ratio, random_state=3).fit(X, classes)
    theirs = LogisticRegression(
        C=0.1, l1_ratio=l1_ratio, solver="saga", tol=1e-6, max_iter=5000, random_state=3
    ).fit(X, classes)

    assert np.allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=0.01)


def test_huber_goes_on_where_rows_are_fitted_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = rows()
    real, tried = HuberRegressor.fit, []

    def gives_up_at_first(self: Any, X: Any, y: Any) -> Any:
        tried.append(self.alpha)
        if len(tried) == 1:
            raise ValueError("HuberRegressor convergence failed")
        return real(self, X, y)

    monkeypatch.setattr(HuberRegressor, "fit", gives_up_at_first)
    model = linear.SteadyHuber(alpha=1e-5).fit(X, y)

    assert tried == [1e-5, 1e-3]
    assert model.alpha == 1e-5
    assert model.alpha_ == 1e-3


def test_huber_that_never_converges_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def gives_up(self: Any, X: Any, y: Any) -> Any:
        raise ValueError("HuberRegressor convergence failed")

    monkeypatch.setattr(HuberRegressor, "fit", gives_up)

    with pytest.raises(ValueError, match="convergence failed"):
        linear.SteadyHuber(alpha=1e-5).fit(*rows())


def test_a_larger_subset_makes_theil_sen_less_robust_and_nearer_to_least_squares() -> None:
    X, y = rows(200, 2)
    y[:20] += 50.0
    inliers = slice(20, None)

    def error(subset: float) -> float:
        model = linear.BoundedTheilSen(subset=subset, max_subpopulation=300, random_state=3)
        return float(np.median(np.abs(model.fit(X, y).predict(X)[inliers] - y[inliers])))

    assert error(0.0) < 0.1
    assert error(1.0) > 2.0


def test_theil_sen_takes_fewer_rows_than_columns() -> None:
    X, y = rows(12, 40)

    assert np.isfinite(linear.BoundedTheilSen(subset=0.5).fit(X, y).predict(X)).all()


def test_ransac_leaves_gross_outliers_out() -> None:
    X, y = rows(200, 2)
    y[:40] += 50.0

    model = linear.RansacRidge(
        alpha=1e-6, min_samples=0.02, residual_threshold=0.5, random_state=3
    ).fit(X, y)

    assert not model.inlier_mask_[:40].any()
    assert np.median(np.abs(model.predict(X)[40:] - y[40:])) < 0.1


def test_ransac_without_a_consensus_uses_every_row() -> None:
    X, y = rows(60, 3)
    y = y + 1e6 * np.arange(60) ** 2

    model = linear.RansacRidge(alpha=1e3, residual_threshold=1e-9, random_state=3).fit(X, y)

    assert model.inlier_mask_.all()
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize(
    "estimator",
    [
        linear.FittingPursuit(n_nonzero_coefs=500),
        linear.FittingLars(n_nonzero_coefs=500),
        linear.FittingPLS(n_components=64),
    ],
    ids=lambda e: type(e).__name__,
)
@pytest.mark.parametrize("shape", [(100, 1), (100, 6), (12, 60)], ids=["one", "tall", "wide"])
def test_a_count_of_columns_never_exceeds_what_the_rows_and_columns_have(
    estimator: Any, shape: tuple[int, int]
) -> None:
    X, y = rows(*shape)
    if shape[1] > 4:
        X[:, 2], X[:, 3] = X[:, 1], 0.0

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicted = clone(estimator).fit(X, y).predict(rows(*shape, seed=1)[0])

    assert np.abs(predicted).max() < 100


def test_partial_least_squares_stops_at_the_directions_that_the_columns_have() -> None:
    X, y = rows(100, 3)
    X = np.hstack([X, X, X])

    model = linear.FittingPLS(n_components=9).fit(X, y)

    assert model.x_weights_.shape == (9, 3)
    assert model.n_components == 9


def test_nothing_that_no_prediction_needs_is_kept_for_each_row_or_step() -> None:
    X, y = rows(5000, 4)

    for estimator in ESTIMATORS:
        if isinstance(estimator, linear.LogLinkRegressor | linear.IsotonicColumn):
            continue
        fitted = clone(estimator).fit(X, y)
        assert not hasattr(fitted, "coef_path_")
        size = len(pickle.dumps(fitted))
        # One byte a row, for the outliers that it found, is the most that one of them keeps.
        assert size < 12_000, type(estimator).__name__


@pytest.mark.parametrize("loss", ["squared_error", "squared_epsilon_insensitive"])
def test_gradient_descent_does_not_run_away_from_wild_rows(loss: str) -> None:
    random = np.random.default_rng(0)
    X = random.standard_t(1.1, size=(300, 200)) * 3
    y = random.normal(size=300)

    model = linear.SteadySGDRegressor(
        loss=loss, eta0=1.0, learning_rate="constant", random_state=3
    ).fit(X, y)

    assert model.step_ < 1.0
    assert model.eta0 == 1.0
    assert np.mean((model.predict(X) - y) ** 2) <= 100 * np.var(y) + 1e-6


def test_gradient_descent_that_diverges_with_every_step_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, y = rows()
    monkeypatch.setattr(linear.SteadySGDRegressor, "predict", lambda self, X: np.full(len(X), 1e9))

    with pytest.raises(ValueError, match="diverged with every step"):
        linear.SteadySGDRegressor(random_state=3).fit(X, y)


def test_a_passive_aggressive_step_is_taken_as_it_is() -> None:
    model = linear.SteadySGDRegressor(
        loss="epsilon_insensitive", penalty=None, learning_rate="pa1", eta0=0.5, random_state=3
    ).fit(*rows())

    assert model.step_ == 0.5


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_a_logarithmic_link_recovers_factors_in_any_unit(power: float) -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(500, 2)) * [1.0, 1000.0] + [0.0, 5000.0]
    mean = np.exp(0.5 * X[:, 0] - 0.0003 * X[:, 1])
    y = mean * random.gamma(20.0, 1 / 20.0, size=500)

    small = linear.LogLinkRegressor(power=power, alpha=1e-6).fit(X, y)
    large = linear.LogLinkRegressor(power=power, alpha=1e-6).fit(X, y * 1e6)

    assert np.allclose(small.predict(X), mean, rtol=0.1)
    assert np.allclose(large.predict(X), small.predict(X) * 1e6, rtol=1e-6)


def test_a_logarithmic_link_ends_at_ten_times_what_was_seen() -> None:
    X, y = rows(100, 1)
    y = np.exp(y)
    model = linear.LogLinkRegressor(power=2.0, alpha=1e-6).fit(X, y)

    far = model.predict(np.array([[-1e6], [1e6]]))

    assert np.allclose(sorted(far), [y.min() / 10, y.max() * 10])


def test_nothing_but_zeros_is_predicted_as_zero() -> None:
    X, _ = rows(20, 2)

    model = linear.LogLinkRegressor(power=1.0).fit(X, np.zeros(20))

    assert np.array_equal(model.predict(X), np.zeros(20))


def test_a_curve_of_one_column_takes_the_one_that_orders_the_target_best() -> None:
    X, _ = rows(200, 4)
    X[:, 3] = 7.0
    y = -np.exp(X[:, 2])

    falling = linear.IsotonicColumn().fit(X, y)

    assert falling.column_ == 2
    assert np.corrcoef(falling.predict(X), y)[0, 1] > 0.99
    beyond = np.zeros((1, 4)) + 100.0
    assert falling.predict(beyond) == y.min()
    rising = linear.IsotonicColumn(increasing=True).fit(X, y)
    assert np.ptp(rising.predict(X)) < 1e-9


def test_rank_correlations_are_those_of_scipy_and_zero_for_a_constant() -> None:
    from scipy.stats import spearmanr

    X, y = rows(50, 3)
    X[:, 1] = np.round(X[:, 1])
    X[:, 2] = 4.0

    found = linear.rank_correlations(X, y)

    assert np.allclose(found[:2], [spearmanr(X[:, i], y).statistic for i in (0, 1)])
    assert found[2] == 0.0
