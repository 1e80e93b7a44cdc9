"""The boosting libraries behind one interface: rounds, time, reports, categories, odd targets."""

from __future__ import annotations

import importlib.util
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from sklearn.base import clone

from engines.models.ensemble.rounds import MOST_ROUNDS, Boosted, Codes, Numbers, varies
from engines.models.learner import Floats, FoldView, Watch
from engines.models.spec import Form, ModelSpec, Task

LIBRARIES = ("lightgbm", "xgboost", "catboost")
SIZE_OF = {"xgboost": "max_depth", "catboost": "depth"}


def specs() -> dict[str, ModelSpec]:
    from engines.models.ensemble.declare import MODELS

    return {spec.name: spec for spec in MODELS}


def form(library: str, task: Task = "regression") -> Form:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"needs {library}")
    return specs()[library].forms[task]


def build(
    library: str,
    task: Task = "regression",
    categories: dict[int, int] | None = None,
    seed: int = 3,
    **params: Any,
) -> Boosted:
    declared = form(library, task)
    arguments = {**declared.fixed, **declared.defaults, "seed": seed, **params}
    return declared.load_class()(**arguments, categories=categories or {})


def wave(rows: int = 240, columns: int = 4, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (rows, columns))
    return X, np.sin(2 * X[:, 0]) + X[:, -1] ** 2 + rng.normal(0, 0.2, rows)


def fold_of(X: Floats, y: Floats, classes: int = 0, **more: Any) -> FoldView:
    cut = len(y) * 3 // 4
    return FoldView(0, X[:cut], y[:cut], X[cut:], y[cut:], more.get("categories", {}), classes)


def three_classes(rows: int = 240) -> tuple[Floats, Floats]:
    X, y = wave(rows)
    return X, np.digitize(y, [0.5, 1.8]).astype(np.float64)


@pytest.mark.parametrize("library", LIBRARIES)
def test_training_stops_early_and_keeps_the_best_round(library: str) -> None:
    fold = fold_of(*wave())

    model = build(library).fit_watched(fold, Watch())

    def loss(rounds: int) -> float:
        other = build(library).fit_rounds(fold.X, fold.y, rounds)
        return float(np.mean((other.predict(fold.X_valid) - fold.y_valid) ** 2))

    kept = float(np.mean((model.predict(fold.X_valid) - fold.y_valid) ** 2))
    assert 1 < model.rounds_ < MOST_ROUNDS
    assert kept == pytest.approx(loss(model.rounds_), rel=1e-6)
    assert kept <= min(loss(model.rounds_ // 2), loss(model.rounds_ + 5), loss(1))


@pytest.mark.parametrize("library", LIBRARIES)
def test_it_learns_more_than_the_mean(library: str) -> None:
    fold = fold_of(*wave(600))

    watched = build(library).fit_watched(fold, Watch())
    plain = build(library).fit(fold.X, fold.y)

    for model in (watched, plain):
        away = model.predict(fold.X_valid) - fold.y_valid
        assert np.var(away) < 0.25 * np.var(fold.y_valid)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_deadline_ends_the_training_within_a_round(library: str) -> None:
    fold = fold_of(*wave())
    late = Watch(deadline=time.monotonic() - 1.0)

    model = build(library).fit_watched(fold, late)

    assert late.cut_short
    assert model.rounds_ == 1
    assert np.isfinite(model.predict(fold.X_valid)).all()
    in_time = Watch(deadline=time.monotonic() + 3600.0)
    build(library).fit_watched(fold, in_time)
    assert not in_time.cut_short


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_reported_is_what_so_many_rounds_predict(library: str) -> None:
    X, y = wave()
    fold = fold_of(X, 1000.0 + 50.0 * y)
    heard: dict[int, Floats] = {}

    build(library).fit_watched(fold, Watch(listen=lambda n, p: heard.update({n: p.copy()})))

    assert list(heard) == list(range(10, 10 * len(heard) + 1, 10))
    for rounds in (10, 30):
        model = build(library).fit_rounds(fold.X, fold.y, rounds)
        np.testing.assert_allclose(model.predict(fold.X_valid), heard[rounds], rtol=1e-5)


@pytest.mark.parametrize("library", LIBRARIES)
def test_listening_changes_nothing(library: str) -> None:
    fold = fold_of(*wave())

    alone = build(library).fit_watched(fold, Watch())
    heard = build(library).fit_watched(fold, Watch(listen=lambda n, p: None, every=1))

    assert alone.rounds_ == heard.rounds_
    np.testing.assert_array_equal(alone.predict(fold.X_valid), heard.predict(fold.X_valid))


class Passing(Watch):
    """Time is up when it is asked so many times."""

    def __init__(self, asked: int) -> None:
        super().__init__(keeps=True)
        self.asked = asked

    def is_over(self) -> bool:
        self.asked -= 1
        return self.asked <= 0


@pytest.mark.parametrize(("rate", "rounds"), [(0.1, [1, 6, 11]), (0.25, [1, 3, 5]), (1.0, [1, 2])])
def test_catboost_is_looked_at_every_few_rounds_and_asked_for_the_time_in_each(
    rate: float, rounds: list[int]
) -> None:
    watch = Passing(asked=rounds[-1] + (rate < 1))

    model = build("catboost", learning_rate=rate).fit_watched(fold_of(*wave()), watch)

    assert [round_ for round_, _ in watch.course] == rounds
    assert watch.cut_short
    assert model.rounds_ in rounds


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_a_report_raises_comes_out_unchanged(library: str) -> None:
    told: list[int] = []

    def prune(rounds: int, predicted: Floats) -> None:
        told.append(rounds)
        raise optuna.TrialPruned("behind")

    with pytest.raises(optuna.TrialPruned, match="behind"):
        build(library).fit_watched(fold_of(*wave()), Watch(listen=prune))

    assert told == [10]


@pytest.mark.parametrize("library", LIBRARIES)
def test_rows_are_binned_once_for_all_trials_of_a_fold(library: str) -> None:
    fold = fold_of(*wave())
    build(library).fit_watched(fold, Watch())
    first = dict(fold.cache)
    fold.X, fold.X_valid = np.full_like(fold.X, 7.0), fold.X_valid.copy()
    fold.X[0] = 8.0  # What is binned anew would be of these rows, which tell nothing.

    again = build(library, learning_rate=0.2).fit_watched(fold, Watch())

    assert first.keys() == fold.cache.keys()
    assert all(fold.cache[key] is value for key, value in first.items())
    assert np.ptp(again.predict(fold.X_valid)) > 0.5


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_trials_before_leave_no_trace_in_the_shared_rows(library: str, task: Task) -> None:
    X, y = wave() if task == "regression" else three_classes()
    classes = 0 if task == "regression" else 3
    space, declared = form(library, task).space, form(library, task)
    shared = fold_of(X, y, classes)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=5))
    sets = [space.bind({"train_rows": len(shared.y)}).suggest(study.ask()) for _ in range(3)]

    for params in (*sets, declared.defaults):
        params = {**params, "learning_rate": max(params["learning_rate"], 0.3)}
        mine = build(library, task, **params).fit_watched(shared, Watch())
        fresh = build(library, task, **params).fit_watched(fold_of(X, y, classes), Watch())
        assert mine.rounds_ == fresh.rounds_
        np.testing.assert_array_equal(mine.predict(X), fresh.predict(X))


def test_a_column_that_one_trial_can_not_split_is_there_for_the_next() -> None:
    X, _ = wave(400)
    X[:, 1] = np.arange(400) % 40 == 0
    fold = fold_of(X, 5.0 * X[:, 1])
    build("lightgbm", min_data_in_leaf=30).fit_watched(fold, Watch())

    model = build("lightgbm", min_data_in_leaf=1).fit_watched(fold, Watch())

    assert np.var(model.predict(X) - 5.0 * X[:, 1]) < 0.1 * np.var(5.0 * X[:, 1])


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_seed_makes_a_model_and_another_seed_another(library: str) -> None:
    fold = fold_of(*wave())

    def predictions(seed: int) -> Floats:
        model = build(library, seed=seed).fit_watched(fold_of(fold.X, fold.y), Watch())
        return model.predict(fold.X_valid)

    np.testing.assert_array_equal(predictions(3), predictions(3))
    assert (predictions(3) != predictions(4)).any()


@pytest.mark.parametrize("library", LIBRARIES)
def test_two_classes_and_three_have_probabilities(library: str) -> None:
    X, codes = three_classes(400)
    for y in (codes, np.minimum(codes, 1.0)):
        fold = fold_of(X, y, classes=int(y.max()) + 1)

        model = build(library, "classification").fit_watched(fold, Watch())

        chances = model.predict_proba(fold.X_valid)
        assert chances.shape == (len(fold.y_valid), fold.classes)
        np.testing.assert_allclose(chances.sum(axis=1), 1.0, atol=1e-5)
        assert (chances >= 0).all()
        assert np.mean(model.predict(fold.X_valid) == fold.y_valid) > 0.75


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_class_that_training_rows_lack_is_no_trouble(library: str) -> None:
    X, y = three_classes()
    heard: list[Floats] = []
    fold = fold_of(X, y + 1.0, classes=5)  # Codes 1, 2, 3 of 0..4, and 2 only to validate.
    keep = fold.y != 2.0
    fold.X, fold.y = fold.X[keep], fold.y[keep]

    model = build(library, "classification").fit_watched(
        fold, Watch(listen=lambda n, p: heard.append(p))
    )

    assert model.classes_.tolist() == [1.0, 3.0]
    assert model.predict_proba(X).shape == (len(X), 2)
    assert set(model.predict(X)) == {1.0, 3.0}
    assert heard[0].shape == (len(fold.y_valid), 5)
    assert (heard[0][:, [0, 2, 4]] == 0).all()


@pytest.mark.parametrize("library", LIBRARIES)
def test_validation_rows_of_unseen_classes_only_are_no_trouble(library: str) -> None:
    X, y = three_classes()
    fold = fold_of(X, y, classes=3)
    fold.y, fold.y_valid = np.minimum(fold.y, 1.0), np.full_like(fold.y_valid, 2.0)

    model = build(library, "classification").fit_watched(fold, Watch())

    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("library", LIBRARIES)
def test_nothing_to_learn_is_the_mean_or_the_shares(library: str) -> None:
    X, y = wave()
    flat = np.full_like(X, np.nan)
    flat[:, 0] = 4.0

    one_value = build(library).fit_watched(fold_of(X, np.full(len(y), 0.1)), Watch())
    no_column = build(library).fit_watched(fold_of(flat, y), Watch())
    one_class = build(library, "classification").fit(X, np.full(len(y), 2.0))
    shares = build(library, "classification").fit_rounds(flat, np.repeat([0.0, 1.0], [60, 180]), 9)

    assert (one_value.predict(X) == 0.1).all()
    np.testing.assert_allclose(no_column.predict(X), np.mean(y[: len(y) * 3 // 4]))
    assert one_class.predict_proba(X).tolist() == [[1.0]] * len(X)
    assert one_class.predict(X).tolist() == [2.0] * len(X)
    np.testing.assert_allclose(shares.predict_proba(X[:2]), [[0.25, 0.75]] * 2)
    assert one_value.rounds_ == no_column.rounds_ == one_class.rounds_ == shares.rounds_ == 0


@pytest.mark.parametrize("library", LIBRARIES)
def test_categories_are_codes_and_not_numbers(library: str) -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 40, 900).astype(np.float64)
    y = np.where(codes % 2 == 0, 1.0, -1.0) + rng.normal(0, 0.1, 900)
    X = np.column_stack([rng.normal(size=900), codes, rng.normal(size=900)])
    X[::9, 1], y[::9] = np.nan, 3.0
    small = {"num_leaves": 4} if library == "lightgbm" else {SIZE_OF[library]: 2}

    def error(categories: dict[int, int]) -> float:
        model = build(library, categories=categories, learning_rate=0.3, **small)
        fitted = model.fit_rounds(X, y, 10)
        return float(np.mean((fitted.predict(X) - y) ** 2))

    assert error({1: 40}) < 0.5 * error({})


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_missing_code_is_a_code_and_one_never_seen_is_no_trouble(library: str) -> None:
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.normal(size=400), rng.integers(0, 5, 400).astype(np.float64)])
    y = np.where(X[:, 1] == 2, 1.0, -1.0)
    X[::4, 1], y[::4] = np.nan, 3.0
    fold = fold_of(X, y, categories={1: 9})
    fold.X_valid[:5, 1] = 7.0

    model = build(library, categories={1: 9}).fit_watched(fold, Watch())

    missing, seen, never = model.predict(np.array([[0.0, np.nan], [0.0, 2.0], [0.0, 8.0]]))
    assert missing == pytest.approx(3.0, abs=0.5)
    assert seen == pytest.approx(1.0, abs=0.5)
    assert -2.0 < never < 4.0


@pytest.mark.parametrize("library", LIBRARIES)
def test_rows_with_categories_only_can_be_learned(library: str) -> None:
    rng = np.random.default_rng(1)
    X = rng.integers(0, 4, (200, 2)).astype(np.float64)
    fold = fold_of(X, X[:, 0] % 2, categories={0: 4, 1: 4})

    model = build(library, categories=fold.categories).fit_watched(fold, Watch())

    assert np.mean((model.predict(X) - X[:, 0] % 2) ** 2) < 0.05


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_unit_and_the_offset_of_a_target_do_not_matter(library: str) -> None:
    X, y = wave()
    plain = build(library).fit_watched(fold_of(X, y), Watch())

    for unit, offset in ((1e-9, 0.0), (3.0, 1e7), (1e200, 0.0)):
        other = build(library).fit_watched(fold_of(X, y * unit + offset), Watch())
        assert np.var((other.predict(X) - offset) / unit - plain.predict(X)) < 0.01 * np.var(y)


@pytest.mark.parametrize("library", LIBRARIES)
def test_huge_and_missing_values_and_few_rows_are_learned_from(library: str) -> None:
    X, y = wave(12, columns=2)
    X[0, 0], X[1, 0], X[2, 1] = 1e300, -1e300, np.nan

    model = build(library).fit_watched(fold_of(X, y), Watch())

    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_pickle_holds_the_model_and_not_the_rows(library: str, task: Task) -> None:
    X, y = wave(6000, 10) if task == "regression" else three_classes(6000)
    fold = fold_of(X, y, classes=0 if task == "regression" else 3)
    model = build(library, task, learning_rate=0.3).fit_watched(
        fold, Watch(deadline=time.monotonic())
    )

    pickled = pickle.dumps(model)

    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.rounds_ == model.rounds_
    assert len(pickled) < 0.2 * X.nbytes


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_it_is_silent_and_leaves_no_file(
    library: str,
    task: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    X, y = wave(40) if task == "regression" else three_classes(40)

    model = build(library, task).fit_watched(fold_of(X, y, classes=3), Watch())
    model.predict(X)
    build(library, task).fit(X, y)

    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_clone_has_the_parameters_and_nothing_learned(library: str, task: Task) -> None:
    X, y = wave() if task == "regression" else three_classes()
    model = build(library, task).fit_rounds(X, y, 5)

    copied = clone(model)

    assert copied.get_params() == model.get_params()
    assert not hasattr(copied, "rounds_")


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_samples_of_the_space_train_on_rows_of_any_shape(library: str, task: Task) -> None:
    declared = form(library, task)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for rows, columns in ((8, 1), (60, 40)):
        X, y = wave(rows, columns)
        y = y if task == "regression" else np.digitize(y, [0.5, 1.8]).astype(np.float64)
        space = declared.space.bind({"train_rows": rows * 3 // 4, "columns": columns})
        assert space.contains(space.clip(declared.defaults))
        for _ in range(6):
            params = {**space.suggest(study.ask()), "seed": 1}
            model = declared.load_class()(**declared.fixed, **params).fit_rounds(X, y, 5)
            assert np.isfinite(model.predict(X)).all()


def test_the_sets_of_a_portfolio_differ_and_reach_the_estimator() -> None:
    for spec in specs().values():
        if importlib.util.find_spec(spec.package) is None:
            continue
        for declared in spec.forms.values():
            sets = [declared.defaults, *declared.portfolio]
            assert len({tuple(sorted(one.items())) for one in sets}) == len(sets) >= 3
            known = set(declared.load_class()().get_params())
            assert set(declared.space.parameters) | set(declared.fixed) | {"seed"} <= known
            assert declared.columns == "raw"
            assert declared.seed_argument == "seed"


def test_the_scale_of_numbers_survives_extremes() -> None:
    for y in ([1e300, -1e300, 0.0], [1e-300, 2e-300], [5.0, 5.0]):
        target = Numbers.of(np.array(y))
        if target.settled:
            assert target.constant(2).tolist() == [5.0, 5.0]
            continue
        coded = target.encode(np.array(y))
        assert coded.std() == pytest.approx(1.0)
        np.testing.assert_allclose(target.decode(coded), y, rtol=1e-9, atol=1e-312)


def test_log_loss_is_that_of_the_classes_that_were_seen() -> None:
    target = Codes.of(np.array([1.0, 1.0, 4.0]))

    coded = target.encode(np.array([4.0, 0.0, 1.0]))

    assert coded.tolist() == [1.0, -1.0, 0.0]
    loss = target.loss(coded, np.array([0.5, 0.9, 0.2]))
    assert loss == pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2)
    assert target.loss(np.array([-1.0]), np.array([0.9])) == 0.0


def test_a_column_varies_if_it_has_two_values_one_of_them_missing_perhaps() -> None:
    missing = np.nan
    assert varies(np.array([[1.0, 0.0], [1.0, 2.0]]))
    assert varies(np.array([[1.0], [missing]]))
    assert varies(np.array([[missing], [1.0]]))
    assert not varies(np.array([[1.0, missing], [1.0, missing]]))
