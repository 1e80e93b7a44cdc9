"""Training without leaks: what rows outside the training part hold changes nothing."""

from __future__ import annotations

import pickle
import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from engines.data.measures import check_predictions
from engines.data.scoring import METRICS, ScoreError
from engines.data.snapshot import Snapshot
from engines.data.splits import Fold, make_split
from engines.models import baselines, catalogue
from engines.models.evaluation import Evaluation, mean_rounds
from engines.models.fit import FittedModel, Trainer
from engines.models.learner import FoldView, OutOfTime, Watch
from engines.models.spec import Cost, Form
from engines.search.space import Int, Space
from tests.unit.building import snapshot

LEARNERS = ("ridge", "decision_tree", "linear_svr", "pls")
"""None of them looks at validation rows to stop early."""

R2 = METRICS["r2"]
ACCURACY = METRICS["accuracy"]


def defaults(name: str, data: Snapshot) -> tuple[Form, dict[str, Any]]:
    form = catalogue.find(name).form(data.task)
    columns = data.X.shape[1]
    facts = {
        "train_rows": data.train_rows,
        "columns": columns,
        "wide_columns": columns,
        "context_rows": 4,
    }
    return form, form.space.bind(facts).clip(form.defaults)


def scores(name: str, data: Snapshot, seed: int = 1) -> list[float]:
    form, params = defaults(name, data)
    metric = ACCURACY if data.classes else R2
    return list(Evaluation(Trainer(data, metric), form, params, seed).scores())


def fold_model(name: str, data: Snapshot, fold: int = 0, seed: int = 1) -> FittedModel:
    form, params = defaults(name, data)
    return Trainer(data, R2).fit_fold(form, params, seed, fold).model


def one_fold(data: Snapshot, fold: Fold) -> Snapshot:
    return replace(data, split=replace(data.split, folds=(fold,)))


def with_gaps(data: Snapshot) -> Snapshot:
    """A tenth of the numbers missing, in every part."""
    X = data.X.copy()
    X[np.random.default_rng(5).random(X.shape) < 0.1] = np.nan
    return replace(data, X=X)


def classes(rows: int = 90, k: int = 3) -> Snapshot:
    """Rows of k classes that a model can tell apart."""
    data = snapshot(rows)
    y = np.digitize(data.X[:, 0], np.quantile(data.X[:, 0], np.arange(1, k) / k)).astype(float)
    split = make_split(rows, ordered=False, seed=0, labels=y.astype(np.int64))
    names = tuple(f"c{i}" for i in range(k))
    return replace(data, y=y, split=split, task="classification", classes=names)


class Recorder:
    """An estimator that keeps what reaches it and predicts the mean."""

    seen: list[tuple[Any, ...]] = []  # noqa: RUF012  # emptied by each test that reads it

    def __init__(self, rounds: int = 5, categories: dict[int, int] | None = None) -> None:
        self.rounds = rounds

    def fit(self, X: Any, y: Any) -> None:
        Recorder.seen.append(("fit", X.copy(), y.copy()))
        self.mean_ = y.mean()

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.mean_)


class Grower(Recorder):
    """One that grows by rounds of a hundredth of a second, and stops when time is up."""

    def fit_watched(self, fold: FoldView, watch: Watch) -> None:
        self.mean_ = fold.y.mean()
        self.rounds_ = 0
        for round_ in range(1, self.rounds + 1):
            self.rounds_ = round_
            if watch.is_over():
                watch.mark_cut()
                return
            if watch.wants(round_):
                watch.report(round_, self.predict(fold.X_valid))
            deadline = time.monotonic() + 0.01
            while time.monotonic() < deadline:
                pass

    def fit_rounds(self, X: Any, y: Any, rounds: int) -> None:
        Recorder.seen.append(("rounds", len(X), rounds))
        self.mean_ = y.mean()


def form_of(kind: type[Recorder], **changes: Any) -> Form:
    form = Form(
        build=f"{__name__}:{kind.__name__}",
        space=Space({"rounds": Int(1, 1000)}),
        defaults={"rounds": 5},
        cost=Cost(0.01),
    )
    return replace(form, **changes)


@pytest.mark.parametrize("poison", [np.nan, 1e12, -1e12])
@pytest.mark.parametrize("name", LEARNERS)
def test_training_never_sees_validation_or_held_out_rows(name: str, poison: float) -> None:
    data = with_gaps(snapshot(categories=4))
    fold = data.split.folds[2]
    X, y = data.X.copy(), data.y.copy()
    others = np.setdiff1d(np.arange(len(X)), fold.train)
    X[others, :-1] = poison
    X[others, -1] = 3.0
    y[others] = 1e6
    empty = replace(fold, valid=fold.train[:5])

    clean = fold_model(name, one_fold(data, empty))
    poisoned = fold_model(name, one_fold(replace(data, X=X, y=y), empty))

    probe = data.X[fold.valid]
    np.testing.assert_array_equal(clean.predict(probe), poisoned.predict(probe))


@pytest.mark.parametrize("name", [*LEARNERS, "lightgbm", "hist_gradient_boosting"])
@pytest.mark.parametrize("ordered", [True, False])
def test_the_selection_score_ignores_held_out_rows(name: str, ordered: bool) -> None:
    data = snapshot(90, ordered=ordered)
    X, y = data.X.copy(), data.y.copy()
    X[data.split.held_out], y[data.split.held_out] = np.nan, 1e9

    assert scores(name, data) == scores(name, replace(data, X=X, y=y))


@pytest.mark.parametrize("ordered", [True, False])
def test_a_fold_s_score_ignores_what_other_rows_of_its_validation_part_hold(ordered: bool) -> None:
    data = snapshot(90, ordered=ordered)
    model = fold_model("ridge", data, fold=1)
    rows = data.split.folds[1].valid

    alone = [model.predict(data.X[[row]])[0] for row in rows]

    np.testing.assert_allclose(alone, model.predict(data.X[rows]), rtol=1e-12)


def test_scaling_and_imputation_are_learned_from_training_rows_only() -> None:
    data = with_gaps(snapshot())
    trained = data.X[data.split.folds[0].train]
    medians = np.nanmedian(trained, axis=0)
    filled = np.where(np.isnan(trained), medians, trained)
    y = data.y[data.split.folds[0].train]

    model = fold_model("ridge", data)

    assert model.prepare is not None
    numbers = model.prepare.named_transformers_["numbers"]
    np.testing.assert_allclose(numbers.named_steps["simpleimputer"].statistics_, medians)
    np.testing.assert_allclose(numbers.named_steps["standardscaler"].mean_, filled.mean(axis=0))
    assert (model.target.shift, model.target.scale) == (pytest.approx(y.mean()), y.std())


def test_what_depends_on_rows_alone_is_made_once_and_serves_every_trial() -> None:
    data = snapshot()
    trainer = Trainer(data, R2)
    form, params = defaults("ridge", data)

    first = [trainer.fit_fold(form, params, 1, k).model.prepare for k in range(5)]
    again = [trainer.fit_fold(form, {**params, "alpha": 9.0}, 1, k).model.prepare for k in range(5)]

    assert all(one is other for one, other in zip(first, again, strict=True))
    assert len({id(one) for one in first}) == 5


def test_a_row_cap_takes_a_sample_that_is_the_same_for_all_and_is_recorded() -> None:
    data = snapshot(100)
    form = form_of(Recorder, most_rows=30)
    Recorder.seen.clear()

    trainer = Trainer(data, R2)
    evaluations = [Evaluation(trainer, form, {"rounds": n}, n) for n in (1, 2)]
    for evaluation in evaluations:
        list(evaluation.scores())

    seen = [x for _, x, _ in Recorder.seen]
    assert {len(x) for x in seen} == {30}
    assert all(np.array_equal(seen[k], seen[k + 5]) for k in range(5))
    assert evaluations[0].metrics["rows"] == [30, len(data.split.folds[0].train)]


def test_a_row_cap_of_ordered_rows_takes_the_latest() -> None:
    data = snapshot(100, ordered=True)
    Recorder.seen.clear()

    list(Evaluation(Trainer(data, R2), form_of(Recorder, most_rows=12), {"rounds": 1}, 1).scores())

    for (_, x, _), fold in zip(Recorder.seen, data.split.folds, strict=True):
        np.testing.assert_array_equal(x, data.X[fold.train[-12:]])


def test_a_model_that_is_not_capped_records_no_rows() -> None:
    data = snapshot()
    evaluation = Evaluation(Trainer(data, R2), form_of(Recorder), {"rounds": 1}, 1)
    folds = list(evaluation.scores())
    assert evaluation.metrics == {"folds": folds}


def test_a_long_trial_shares_what_is_left_of_the_time_between_its_folds() -> None:
    data = snapshot()
    evaluation = Evaluation(
        Trainer(data, R2), form_of(Grower), {"rounds": 1000}, 1, seconds_left=0.5
    )
    begun = time.monotonic()

    folds = list(evaluation.scores())

    assert len(folds) == 5
    assert time.monotonic() - begun < 2.0  # 50 s without the clock
    assert evaluation.metrics["cut_short"] == 5
    assert all(1 < rounds < 1000 for rounds in evaluation.metrics["rounds"])


def test_a_trial_whose_time_is_up_between_two_folds_ends_there() -> None:
    class Slow(Recorder):
        def fit(self, X: Any, y: Any) -> None:
            super().fit(X, y)
            deadline = time.monotonic() + 0.2
            while time.monotonic() < deadline:
                pass

    globals()["Slow"] = Slow
    data = snapshot()
    evaluation = Evaluation(Trainer(data, R2), form_of(Slow), {"rounds": 1}, 1, seconds_left=0.3)

    with pytest.raises(OutOfTime, match="^time was up after 2 of 5 folds$"):
        list(evaluation.scores())

    assert len(evaluation.metrics["folds"]) == 2


def test_rounds_are_heard_in_units_of_the_metric() -> None:
    data = snapshot()
    heard: list[tuple[int, int, float]] = []
    evaluation = Evaluation(
        Trainer(data, METRICS["mae"]),
        form_of(Grower, columns="scaled"),
        {"rounds": 20},
        1,
        listen=lambda *what: heard.append(what),
    )

    folds = list(evaluation.scores())

    assert [(fold, round_) for fold, round_, _ in heard[:4]] == [(0, 10), (0, 20), (1, 10), (1, 20)]
    assert heard[1][2] == pytest.approx(folds[0])


def test_a_refit_trains_the_mean_of_the_rounds_that_the_folds_found() -> None:
    data = snapshot(90, ordered=True)
    trainer = Trainer(data, R2)
    form = form_of(Grower)
    evaluation = Evaluation(trainer, form, {"rounds": 7}, 1)
    list(evaluation.scores())
    Recorder.seen.clear()

    trainer.refit(form, {"rounds": 7}, 1, data.split.search, mean_rounds(evaluation.metrics))

    assert Recorder.seen == [("rounds", len(data.split.search), 7)]


@pytest.mark.parametrize("metrics", [{}, {"folds": [1.0]}, {"rounds": []}])
def test_without_rounds_there_is_no_mean_of_them(metrics: dict[str, Any]) -> None:
    assert mean_rounds(metrics) is None


def test_the_same_seed_gives_the_same_scores_and_another_one_others() -> None:
    data = snapshot()
    first, again, other = (scores("random_forest", data, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_prediction_that_is_not_finite_is_no_score(bad: float) -> None:
    with pytest.raises(ScoreError, match="^2 of 3 predictions are not finite$"):
        check_predictions(np.array([1.0, bad, bad]), 0.0, 1.0)


def test_an_absurd_prediction_is_no_score() -> None:
    class Absurd(Recorder):
        def predict(self, X: Any) -> Any:
            return np.full(len(X), 3.7e16)

    globals()["Absurd"] = Absurd
    evaluation = Evaluation(Trainer(snapshot(), R2), form_of(Absurd), {"rounds": 1}, 1)
    with pytest.raises(ScoreError, match=r"predictions reach 3\.7e\+16"):
        list(evaluation.scores())


def test_a_model_that_has_not_converged_is_quiet_and_other_warnings_are_not() -> None:
    class Noisy(Recorder):
        category: type[Warning] = ConvergenceWarning

        def fit(self, X: Any, y: Any) -> None:
            warnings.warn("look", self.category, stacklevel=1)
            super().fit(X, y)

    globals()["Noisy"] = Noisy
    list(Evaluation(Trainer(snapshot(), R2), form_of(Noisy), {"rounds": 1}, 1).scores())

    Noisy.category = RuntimeWarning
    with pytest.warns(RuntimeWarning, match="look"):
        list(Evaluation(Trainer(snapshot(), R2), form_of(Noisy), {"rounds": 1}, 1).scores())


def test_a_category_that_training_never_saw_is_no_error() -> None:
    data = snapshot(categories=3)
    unseen = data.X[:2].copy()
    unseen[:, -1] = [99.0, np.nan]
    assert np.isfinite(fold_model("ridge", data).predict(unseen)).all()


@pytest.mark.parametrize("name", ["ridge", "random_forest", "lightgbm"])
def test_columns_without_a_single_value_are_no_error(name: str) -> None:
    data = snapshot(200, columns=4, categories=3)
    X = data.X.copy()
    X[:, 1] = X[:, 3] = np.nan
    assert min(scores(name, replace(data, X=X))) > 0.5


def test_data_of_categories_alone_can_be_learned_from() -> None:
    data = snapshot(columns=1, categories=4)
    assert min(scores("ridge", replace(data, y=data.X[:, 0] ** 2))) > 0.9


@pytest.mark.parametrize("name", ["random_forest", "ridge", "linear_svr", "lightgbm"])
@pytest.mark.parametrize("k", [2, 3])
def test_classifiers_give_shares_of_classes_with_or_without_probabilities(
    name: str, k: int
) -> None:
    data = classes(k=k)
    form, params = defaults(name, data)
    model = Trainer(data, ACCURACY).fit_fold(form, params, 1, 0).model

    shares = model.predict(data.X[data.split.held_out])

    assert shares.shape == (len(data.split.held_out), k)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert min(scores(name, data)) > 0.6


def test_a_metric_of_probabilities_gets_calibrated_ones_where_a_model_has_none() -> None:
    data = classes(k=2)
    form, params = defaults("linear_svr", data)

    votes = Trainer(data, ACCURACY).fit_fold(form, params, 1, 0).predicted
    odds = Trainer(data, METRICS["log_loss"]).fit_fold(form, params, 1, 0)

    assert set(np.unique(votes)) == {0.0, 1.0}
    assert 0.0 < odds.predicted.min() < 0.5
    assert odds.score < 0.5


def test_a_class_that_a_fold_never_trained_on_has_no_share() -> None:
    data = classes(k=3)
    fold = data.split.folds[0]
    known = fold.train[data.y[fold.train] < 2]
    data = one_fold(data, replace(fold, train=known))
    form, params = defaults("random_forest", data)

    shares = Trainer(data, ACCURACY).fit_fold(form, params, 1, 0).predicted

    assert shares.shape[1] == 3
    assert (shares[:, 2] == 0).all()


def test_a_fold_of_one_class_predicts_that_class() -> None:
    data = classes(k=2)
    fold = data.split.folds[0]
    data = one_fold(data, replace(fold, train=fold.train[data.y[fold.train] == 1]))
    for name in ("linear_svr", "elastic_net", "lightgbm"):
        form, params = defaults(name, data)
        shares = Trainer(data, ACCURACY).fit_fold(form, params, 1, 0).predicted
        np.testing.assert_array_equal(shares, np.tile([0.0, 1.0], (len(fold.valid), 1)))


def test_a_class_of_two_rows_is_too_few_to_calibrate_and_its_votes_count() -> None:
    data = classes(k=2)
    fold = data.split.folds[0]
    ones = fold.train[data.y[fold.train] == 1]
    rare = np.sort(np.concatenate([fold.train[data.y[fold.train] == 0], ones[:2]]))
    data = one_fold(data, replace(fold, train=rare))
    form, params = defaults("linear_svr", data)
    votes = Trainer(data, METRICS["log_loss"]).fit_fold(form, params, 1, 0).predicted
    assert set(np.unique(votes)) <= {0.0, 1.0}


def test_a_fitted_model_survives_being_pickled() -> None:
    data = snapshot(categories=3)
    for name in ("ridge", "lightgbm", "random_forest"):
        model = fold_model(name, data)
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.predict(data.X), model.predict(data.X))


def test_baselines_are_the_constants_that_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.array([0.0, 1.0, 2.0, 9.0, 4.0, 6.0])
    rows = [np.array(r) for r in ([0, 1, 2, 3], [4, 5], [0, 1], [2, 3], [2, 3], [0, 1])]
    data = snapshot(20)
    split = replace(
        data.split, search=rows[0], held_out=rows[1], folds=(Fold(*rows[2:4]), Fold(*rows[4:6]))
    )
    data = replace(data, X=np.zeros((6, 1)), y=y, split=split)

    scored = {name: both for name, *both in baselines.score_baselines(data, METRICS["mae"])}

    # Fold 1 learns 0.5 from 0, 1 and is scored on 2, 9; fold 2 learns 5.5 and is scored on 0, 1.
    assert scored["mean"] == [pytest.approx((5.0 + 5.0) / 2), pytest.approx(2.0)]
    assert scored["median"][1] == pytest.approx((2.5 + 4.5) / 2)
