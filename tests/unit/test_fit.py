"""Training without leaks: what rows outside the training part hold changes nothing."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from engines.data.scoring import METRICS, ScoreError
from engines.data.snapshot import Snapshot
from engines.data.splits import Fold
from engines.models import baselines, catalogue, fit
from tests.unit.building import snapshot

LEARNERS = ("ridge", "k_neighbors", "random_forest", "lightgbm")
R2 = METRICS["r2"]


def defaults(name: str, data: Snapshot) -> tuple[Any, dict[str, Any]]:
    spec = catalogue.find(name)
    facts = {"train_rows": data.train_rows, "columns": data.X.shape[1]}
    params = spec.space.bind(facts).clip(spec.defaults)
    if "n_estimators" in params:
        params["n_estimators"] = 10  # enough to tell two fits apart
    return spec, params


def one_fold(data: Snapshot, fold: Fold) -> Snapshot:
    return replace(data, split=replace(data.split, folds=(fold,)))


def with_gaps(data: Snapshot) -> Snapshot:
    """A tenth of the numbers missing, in every part."""
    X = data.X.copy()
    X[np.random.default_rng(5).random(X.shape) < 0.1] = np.nan
    return replace(data, X=X)


@pytest.mark.parametrize("poison", [np.nan, 1e12, -1e12])
@pytest.mark.parametrize("name", LEARNERS)
def test_training_never_sees_validation_or_held_out_rows(name: str, poison: float) -> None:
    data = with_gaps(snapshot(categories=4))
    spec, params = defaults(name, data)
    fold = data.split.folds[2]
    X, y = data.X.copy(), data.y.copy()
    others = np.setdiff1d(np.arange(len(X)), fold.train)
    X[others, :-1] = poison
    X[others, -1] = 3.0
    y[others] = 1e6
    probe = data.X[fold.valid]

    clean = fit.fit(
        fit.build(spec, params, 1, data.categories), data.X[fold.train], data.y[fold.train]
    )
    poisoned = fit.fit(fit.build(spec, params, 1, data.categories), X[fold.train], y[fold.train])

    assert np.array_equal(fit.predict(clean, probe), fit.predict(poisoned, probe))
    scored = list(fit.fold_scores(spec, params, 1, one_fold(data, fold), R2))
    assert scored == [R2.score(data.y[fold.valid], fit.predict(clean, probe))]


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("ordered", [True, False])
def test_the_selection_score_ignores_held_out_rows(name: str, ordered: bool) -> None:
    data = snapshot(90, ordered=ordered)
    spec, params = defaults(name, data)
    X, y = data.X.copy(), data.y.copy()
    X[data.split.held_out], y[data.split.held_out] = np.nan, 1e9
    poisoned = replace(data, X=X, y=y)

    assert list(fit.fold_scores(spec, params, 1, data, R2)) == list(
        fit.fold_scores(spec, params, 1, poisoned, R2)
    )
    clean, other = (fit.fit_predictor(spec, params, 1, d) for d in (data, poisoned))
    assert np.array_equal(clean(data.X[:5]), other(data.X[:5]))


@pytest.mark.parametrize("ordered", [True, False])
def test_a_fold_s_score_ignores_what_other_rows_of_its_validation_part_hold(ordered: bool) -> None:
    data = snapshot(90, ordered=ordered)
    spec, params = defaults("ridge", data)
    fold = data.split.folds[1]
    model = fit.fit(fit.build(spec, params, 1, {}), data.X[fold.train], data.y[fold.train])
    together = fit.predict(model, data.X[fold.valid])

    alone = [fit.predict(model, data.X[[row]])[0] for row in fold.valid]

    np.testing.assert_allclose(alone, together, rtol=1e-12)


def test_scaling_and_imputation_are_learned_from_training_rows_only() -> None:
    data = with_gaps(snapshot())
    spec, params = defaults("ridge", data)
    fold = data.split.folds[0]

    model = fit.fit(fit.build(spec, params, 1, {}), data.X[fold.train], data.y[fold.train])

    numbers = model.named_steps["prepare"].named_transformers_["numbers"]
    trained = data.X[fold.train]
    medians = np.nanmedian(trained, axis=0)
    filled = np.where(np.isnan(trained), medians, trained)
    np.testing.assert_allclose(numbers.named_steps["simpleimputer"].statistics_, medians)
    np.testing.assert_allclose(numbers.named_steps["standardscaler"].mean_, filled.mean(axis=0))
    target = model.named_steps["model"].transformer_
    np.testing.assert_allclose(target.mean_, data.y[fold.train].mean())


def test_the_predictor_of_random_rows_is_the_mean_of_the_fold_models() -> None:
    data = snapshot()
    spec, params = defaults("random_forest", data)
    probe = data.X[data.split.held_out]

    predicted = fit.fit_predictor(spec, params, 1, data)(probe)

    singles = [
        fit.predict(
            fit.fit(fit.build(spec, params, 1, {}), data.X[f.train], data.y[f.train]), probe
        )
        for f in data.split.folds
    ]
    np.testing.assert_allclose(predicted, np.mean(singles, axis=0), rtol=1e-12)
    assert not np.allclose(predicted, singles[0])


def test_the_predictor_of_ordered_rows_learns_from_the_whole_search_part() -> None:
    data = snapshot(ordered=True)
    spec, params = defaults("ridge", data)
    rows = data.split.search

    predicted = fit.fit_predictor(spec, params, 1, data)(data.X)

    alone = fit.fit(fit.build(spec, params, 1, {}), data.X[rows], data.y[rows])
    np.testing.assert_array_equal(predicted, fit.predict(alone, data.X))


def test_the_same_seed_gives_the_same_scores_and_another_one_others() -> None:
    data = snapshot()
    spec, params = defaults("random_forest", data)

    first, again, other = (list(fit.fold_scores(spec, params, s, data, R2)) for s in (1, 1, 2))

    assert first == again
    assert first != other


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_prediction_that_is_not_finite_is_no_score(bad: float) -> None:
    class Broken:
        def predict(self, X: np.ndarray) -> np.ndarray:
            return np.array([1.0, bad, bad])

    with pytest.raises(ScoreError, match="^2 of 3 predictions are not finite$"):
        fit.predict(Broken(), np.zeros((3, 1)))


def test_a_model_that_has_not_converged_is_quiet_and_other_warnings_are_not() -> None:
    class Noisy:
        def __init__(self, category: type[Warning]) -> None:
            self.category = category

        def fit(self, X: Any, y: Any) -> None:
            warnings.warn("look", self.category, stacklevel=1)

    fit.fit(Noisy(ConvergenceWarning), np.zeros((2, 1)), np.zeros(2))

    with pytest.warns(RuntimeWarning, match="look"):
        fit.fit(Noisy(RuntimeWarning), np.zeros((2, 1)), np.zeros(2))


def test_a_category_that_training_never_saw_is_no_error() -> None:
    data = snapshot(categories=3)
    spec, params = defaults("ridge", data)
    model = fit.fit(fit.build(spec, params, 1, data.categories), data.X[:30], data.y[:30])

    unseen = data.X[:2].copy()
    unseen[:, -1] = [99.0, np.nan]

    assert np.isfinite(fit.predict(model, unseen)).all()


@pytest.mark.parametrize("name", ["ridge", "random_forest"])
def test_columns_without_a_single_value_are_no_error(name: str) -> None:
    data = snapshot(columns=4, categories=3)
    X = data.X.copy()
    X[:, 1] = X[:, 3] = np.nan
    spec, params = defaults(name, data)

    scores = list(fit.fold_scores(spec, params, 1, replace(data, X=X), R2))

    assert min(scores) > 0.5


def test_data_of_categories_alone_can_be_learned_from() -> None:
    data = snapshot(columns=1, categories=4)
    data = replace(data, y=data.X[:, 0] ** 2)
    spec, params = defaults("ridge", data)

    assert min(fit.fold_scores(spec, params, 1, data, R2)) > 0.9


def test_baselines_are_the_constants_that_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.array([0.0, 1.0, 2.0, 9.0, 4.0, 6.0])
    rows = [np.array(r) for r in ([0, 1, 2, 3], [4, 5], [0, 1], [2, 3], [2, 3], [0, 1])]
    data = snapshot(20)
    split = replace(
        data.split, search=rows[0], held_out=rows[1], folds=(Fold(*rows[2:4]), Fold(*rows[4:6]))
    )
    data = replace(data, X=np.zeros((6, 1)), y=y, split=split)

    scored = {name: scores for name, *scores in baselines.score_baselines(data, METRICS["mae"])}

    # Fold 1 learns 0.5 from 0, 1 and is scored on 2, 9; fold 2 learns 5.5 and is scored on 0, 1.
    assert scored["mean"] == [pytest.approx((5.0 + 5.0) / 2), pytest.approx(2.0)]
    assert scored["median"][1] == pytest.approx((2.5 + 4.5) / 2)
