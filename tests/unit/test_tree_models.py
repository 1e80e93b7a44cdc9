"""Trees, forests and boosting: as many rounds as it takes, no later than the deadline."""

from __future__ import annotations

import pickle
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from sklearn import ensemble
from sklearn.base import clone

from engines.models.learner import FoldView, Watch
from engines.models.sklearn import adaboost, boosting, trees
from engines.models.sklearn.declare.trees import MODELS
from engines.models.spec import Form

FORMS = {
    f"{spec.name} {task}": (task, form) for spec in MODELS for task, form in spec.forms.items()
}
GROWN = [name for name in FORMS if name.split()[0] in ("random_forest", "extra_trees", "bagging")]
WATCHED = [name for name in FORMS if hasattr(FORMS[name][1].load_class(), "fit_watched")]


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def rows(
    count: int = 160, columns: int = 4, classes: int = 0, *, noise: float = 0.3, seed: int = 0
) -> FoldView:
    """A smooth target and noise; four fifths train. Classes are equal parts of it."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(count, columns))
    y = np.sin(2 * X[:, 0]) + X[:, -1] + noise * random.normal(size=count)
    if classes:
        y = np.digitize(y, np.quantile(y, np.arange(1, classes) / classes)).astype(float)
    cut = count * 4 // 5
    return FoldView(0, X[:cut], y[:cut], X[cut:], y[cut:], {}, classes)


def of_task(task: str, **shape: Any) -> FoldView:
    return rows(classes=3 if task == "classification" else 0, **shape)


def build(form: Form, fold: FoldView, params: dict[str, Any] | None = None, **more: Any) -> Any:
    facts = {
        "train_rows": len(fold.X),
        "columns": fold.X.shape[1],
        "wide_columns": fold.X.shape[1],
        "rarest_class": 1,
    }
    chosen = form.space.bind(facts).clip(form.defaults if params is None else params)
    arguments = {**form.fixed, **form.space.arguments(chosen), **more}
    if form.seed_argument:
        arguments[form.seed_argument] = 7
    if form.columns == "raw":
        arguments["categories"] = fold.categories
    return form.load_class()(**arguments)


def brief(form: Form) -> dict[str, int]:
    """Fewer rounds at most than there would be."""
    return {name: 40 for name in ("n_estimators", "max_iter") if name in form.fixed}


def train(model: Any, fold: FoldView, watch: Watch | None = None) -> Any:
    if hasattr(model, "fit_watched"):
        return model.fit_watched(fold, watch or Watch())
    return model.fit(fold.X, fold.y)


def says(model: Any, X: Any, classes: int) -> Any:
    if not classes:
        return model.predict(X)
    wide = np.zeros((len(X), classes))
    wide[:, model.classes_.astype(int)] = model.predict_proba(X)
    return wide


def gone() -> Watch:
    return Watch(time.monotonic() - 1.0)


# -- every form ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(("count", "columns"), [(15, 1), (60, 5), (50, 200)])
def test_random_parameters_fit_rows_of_any_shape(name: str, count: int, columns: int) -> None:
    task, form = FORMS[name]
    fold = of_task(task, count=count, columns=columns)
    if task == "regression":
        fold.y -= 100.0
    space = form.space.bind({"train_rows": len(fold.X), "columns": columns})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=columns))
    for _ in range(2):
        model = build(form, fold, space.suggest(study.ask()), **brief(form))
        said = says(train(model, fold), fold.X_valid, fold.classes)
        assert np.isfinite(said).all()
        if fold.classes:
            assert np.allclose(said.sum(axis=1), 1.0)


@pytest.mark.parametrize("name", FORMS)
def test_every_suggested_set_can_be_trained(name: str) -> None:
    task, form = FORMS[name]
    fold = of_task(task)
    for params in (form.defaults, *form.portfolio):
        model = train(build(form, fold, params), fold)
        said = says(model, fold.X_valid, fold.classes)
        if fold.classes:
            assert np.mean(said.argmax(axis=1) == fold.y_valid) > 0.4
        else:
            assert np.mean((said - fold.y_valid) ** 2) < 0.8 * np.var(fold.y_valid)


@pytest.mark.parametrize("name", FORMS)
def test_a_model_is_its_seed_and_survives_copying(name: str) -> None:
    task, form = FORMS[name]
    fold = of_task(task)
    first, second = (train(clone(build(form, fold, **brief(form))), fold) for _ in range(2))
    kept = pickle.loads(pickle.dumps(first))
    said = says(first, fold.X_valid, fold.classes)
    assert np.array_equal(said, says(second, fold.X_valid, fold.classes))
    assert np.array_equal(said, says(kept, fold.X_valid, fold.classes))


@pytest.mark.parametrize("name", [name for name in FORMS if "classification" in name])
def test_a_fold_may_lack_classes(name: str) -> None:
    _, form = FORMS[name]
    fold = rows(classes=3)
    fold.y[fold.y == 1.0] = 2.0  # class 1 is left in the validation rows only
    model = train(build(form, fold), fold)
    assert list(model.classes_) == [0.0, 2.0]
    assert says(model, fold.X_valid, 3)[:, 1].max() == 0.0

    fold.y[:] = 2.0
    fold.y_valid[:] = 1.0  # and now no validation row can be scored
    model = train(build(form, fold), fold)
    assert np.array_equal(says(model, fold.X_valid, 3)[0], [0.0, 0.0, 1.0])
    assert set(model.predict(fold.X_valid)) == {2.0}


@pytest.mark.parametrize("name", [name for name in FORMS if FORMS[name][1].columns != "scaled"])
def test_numbers_beyond_float32_are_cut_not_refused(name: str) -> None:
    task, form = FORMS[name]
    fold = of_task(task)
    fold.X[0, 0], fold.X_valid[0, 0] = 1e300, -1e300
    assert np.isfinite(says(train(build(form, fold), fold), fold.X_valid, fold.classes)).all()


@pytest.mark.parametrize("name", WATCHED)
def test_training_ends_at_the_deadline_with_what_there_is(name: str) -> None:
    task, form = FORMS[name]
    fold = of_task(task)
    watch = gone()
    model = train(build(form, fold), fold, watch)
    assert watch.cut_short
    assert model.rounds_ <= 20
    assert np.isfinite(says(model, fold.X_valid, fold.classes)).all()


@pytest.mark.parametrize("name", WATCHED)
def test_training_that_came_to_its_end_was_not_cut(name: str) -> None:
    task, form = FORMS[name]
    watch = Watch(time.monotonic() + 600.0)
    train(build(form, of_task(task), **brief(form)), of_task(task), watch)
    assert not watch.cut_short


REPORTING = [name for name in WATCHED if not name.startswith("ada_boost")]


@pytest.mark.parametrize("name", REPORTING)
def test_the_pruner_hears_what_the_model_says(name: str) -> None:
    task, form = FORMS[name]
    fold = of_task(task)
    if fold.classes:
        fold.y[fold.y == 1.0] = 2.0  # the columns of what is told are classes of the data
    heard: dict[int, Any] = {}
    model = train(build(form, fold, **brief(form)), fold, Watch(listen=heard.__setitem__))
    assert heard
    if model.rounds_ in heard:
        said = says(model, fold.X_valid, fold.classes)
        assert heard[model.rounds_] == pytest.approx(said, abs=1e-9)
    expected = (len(fold.X_valid), 3) if fold.classes else (len(fold.X_valid),)
    assert {said.shape for said in heard.values()} == {expected}


@pytest.mark.parametrize("name", REPORTING)
def test_a_pruned_trial_ends_inside_the_training(name: str) -> None:
    task, form = FORMS[name]
    calls = []

    def prune(round_: int, said: Any) -> None:
        calls.append(round_)
        raise optuna.TrialPruned

    with pytest.raises(optuna.TrialPruned):
        train(build(form, of_task(task)), of_task(task), Watch(listen=prune))
    assert len(calls) == 1


@pytest.mark.parametrize("name", REPORTING)
def test_a_refit_trains_the_rounds_it_was_told(name: str) -> None:
    task, form = FORMS[name]
    fold = of_task(task)
    found = train(build(form, fold, **brief(form)), fold)
    again = build(form, fold).fit_rounds(fold.X, fold.y, found.rounds_)
    assert again.rounds_ == found.rounds_
    said, before = (says(model, fold.X_valid, fold.classes) for model in (again, found))
    assert said == pytest.approx(before, abs=1e-9)
    rate = form.defaults.get("learning_rate")
    plain = trees.PLAIN if rate is None else boosting.plain_rounds(rate)
    assert build(form, fold).fit(fold.X, fold.y).rounds_ == plain


# -- forests -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GROWN)
def test_trees_grown_by_the_handful_are_those_grown_at_once(name: str) -> None:
    task, form = FORMS[name]
    fold = of_task(task)
    model = train(build(form, fold), fold)
    at_once = build(form, fold, n_estimators=model.rounds_)
    at_once.fit_rounds = None  # scikit-learn's own training of so many trees
    with trees.changed(at_once, **at_once._bounds(len(fold.X))):
        super(trees._Grown, at_once).fit(trees.narrow(fold.X), fold.y)
    said, other = (says(m, fold.X_valid, fold.classes) for m in (model, at_once))
    assert said == pytest.approx(other, abs=1e-12)


def test_just_those_that_average_their_trees_may_be_cut_short() -> None:
    assert {name for name, (_, form) in FORMS.items() if form.averages} == set(GROWN)


@pytest.mark.parametrize("name", GROWN)
def test_no_tree_is_grown_twice(name: str) -> None:
    task, form = FORMS[name]
    fold = of_task(task)
    model = build(form, fold, n_estimators=30)
    seen: list[list[Any]] = []
    model.fit_watched(fold, Watch(listen=lambda *_: seen.append(list(model.estimators_))))
    assert len(seen) > 1
    for before in seen:
        kept = model.estimators_[: len(before)]
        assert all(tree is other for tree, other in zip(before, kept, strict=True))


def test_a_noisy_target_needs_fewer_trees_than_a_clear_one() -> None:
    def grown(noise: float) -> int:
        fold = rows(400, noise=noise)
        model = trees.RandomForestRegressor(250, random_state=1)
        return int(model.fit_watched(fold, Watch()).rounds_)

    assert trees.FEWEST <= grown(5.0) < grown(0.05) <= 250


def test_what_more_trees_would_gain_is_what_the_rule_says() -> None:
    """R(T) = R(inf) + V / T: the forest that stopped is as far from a large one as it promised."""
    fold = rows(300, noise=0.3)
    gaps = []
    large = ensemble.ExtraTreesRegressor(800, random_state=100).fit(fold.X, fold.y)
    least = np.mean((large.predict(fold.X_valid) - fold.y_valid) ** 2)
    for seed in range(8):
        small = trees.ExtraTreesRegressor(250, random_state=seed).fit_watched(fold, Watch())
        error = np.mean((small.predict(fold.X_valid) - fold.y_valid) ** 2)
        assert small.rounds_ < 250
        gaps.append(error / least - 1.0)
    assert 0.0 < np.mean(gaps) < 2 * trees.SETTLED


@pytest.mark.parametrize("name", GROWN)
def test_trees_take_no_more_memory_than_they_may(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "MOST_BYTES", 60_000)
    task, form = FORMS[name]
    fold = of_task(task, count=400, noise=0.01)
    model = train(build(form, fold, n_estimators=250), fold)
    sizes = [len(pickle.dumps(tree.tree_)) for tree in model.estimators_]
    assert sum(sizes[:-10]) < 1.2 * 60_000
    assert len(sizes) < 40


def test_leaves_grow_with_the_rows() -> None:
    assert [trees.least_leaf(n) for n in (1, 20_000, 20_001, 50_000)] == [1, 1, 2, 3]


def test_a_small_part_of_few_rows_is_no_warning() -> None:
    fold = rows(15)
    for model in (
        trees.RandomForestRegressor(20, max_samples=0.05),
        trees.BaggingRegressor(20, max_samples=0.05, bootstrap=False),
    ):
        model.fit_watched(fold, Watch())


# -- boosting ------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("kind", ["Gradient", "HistGradient"])
def test_boosting_keeps_the_best_round(kind: str, classes: int) -> None:
    fold = rows(200, classes=classes, noise=1.0)
    task = "Classifier" if classes else "Regressor"
    model = getattr(boosting, f"{kind}Boosting{task}")(random_state=1, learning_rate=0.4)
    model.fit_watched(fold, Watch())

    def told(rounds: int) -> Any:
        return says(clone(model).fit_rounds(fold.X, fold.y, rounds), fold.X_valid, classes)

    def loss(rounds: int) -> float:
        said = told(rounds)
        if not classes:
            return float(np.mean((said - fold.y_valid) ** 2))
        return float(-np.mean(np.log(said[np.arange(len(said)), fold.y_valid.astype(int)])))

    best = model.rounds_
    others = {1, best // 2, best - 1, best + 1, best + 5} - {0, best}
    assert all(loss(best) < loss(rounds) for rounds in others)
    assert says(model, fold.X_valid, classes) == pytest.approx(told(best), abs=1e-9)


def test_patience_and_rounds_follow_the_learning_rate() -> None:
    rates = (0.5, 0.1, 0.01)
    assert [boosting.patience(rate) for rate in rates] == [15, 40, 150]
    assert [boosting.plain_rounds(rate) for rate in rates] == [30, 150, 1000]


def categories(codes: int, count: int = 1200) -> FoldView:
    """The target is one value a code, without any order; a fifth of the codes is missing."""
    random = np.random.default_rng(3)
    code = random.integers(0, codes, count).astype(float)
    y = random.normal(size=codes)[code.astype(int)] + 0.1 * random.normal(size=count)
    X = np.column_stack([random.normal(size=count), code])
    X[random.random(count) < 0.2, 1] = np.nan
    cut = count * 4 // 5
    return FoldView(0, X[:cut], y[:cut], X[cut:], y[cut:], {1: codes}, 0)


def test_categories_are_split_as_sets_not_as_numbers() -> None:
    fold = categories(40)
    errors = []
    for known in (fold.categories, None):
        model = boosting.HistGradientBoostingRegressor(
            categories=known, max_leaf_nodes=4, max_iter=15, random_state=1
        ).fit_watched(fold, Watch())
        errors.append(np.mean((model.predict(fold.X_valid) - fold.y_valid) ** 2))
    assert errors[0] < 0.8 * errors[1]


def test_more_categories_than_bins_count_as_numbers() -> None:
    fold = categories(600)
    model = boosting.HistGradientBoostingRegressor(categories={1: 600}, random_state=1)
    said = model.fit_watched(fold, Watch()).predict(fold.X_valid)
    plain = boosting.HistGradientBoostingRegressor(random_state=1)
    assert np.array_equal(said, plain.fit_watched(fold, Watch()).predict(fold.X_valid))


def test_codes_and_columns_that_training_never_saw_are_missing_ones() -> None:
    fold = categories(12)
    fold.X[:, 0] = np.nan
    fold.X_valid[:, 1] = 99.0
    model = boosting.HistGradientBoostingRegressor(categories={0: 3, 1: 12}, random_state=1)
    said = model.fit_watched(fold, Watch()).predict(fold.X_valid)
    fold.X_valid[:, 0], fold.X_valid[:, 1] = np.nan, np.nan
    assert np.array_equal(said, model.predict(fold.X_valid))


def test_a_deadline_makes_chunks_and_changes_no_round() -> None:
    fold = rows(300, noise=1.0)
    free, pressed = (
        boosting.HistGradientBoostingRegressor(random_state=1).fit_watched(fold, watch)
        for watch in (Watch(), Watch(time.monotonic() + 600.0))
    )
    assert free.rounds_ == pressed.rounds_
    said, other = (model.predict(fold.X_valid) for model in (free, pressed))
    assert said == pytest.approx(other, abs=1e-9)


# -- AdaBoost ------------------------------------------------------------------------------


def test_adaboost_ends_between_two_trees_when_time_is_up() -> None:
    fold = rows(4000, 10)
    begun = time.monotonic()
    watch = Watch(begun + 0.3)
    model = adaboost.AdaBoostRegressor(n_estimators=5000, max_depth=8, random_state=1)
    model.fit_watched(fold, watch)
    assert watch.cut_short
    assert 1 <= model.rounds_ == len(model.estimators_) < 5000
    assert np.mean((model.predict(fold.X_valid) - fold.y_valid) ** 2) < np.var(fold.y_valid)


def test_a_first_tree_no_better_than_chance_is_the_model() -> None:
    fold = rows(100, classes=2)
    fold.X[:] = 1.0
    fold.y[:] = np.arange(len(fold.y)) % 2
    model = adaboost.AdaBoostClassifier(random_state=1).fit_watched(fold, Watch())
    assert model.rounds_ == 1
    assert model.predict_proba(fold.X_valid).sum(axis=1) == pytest.approx(1.0)
