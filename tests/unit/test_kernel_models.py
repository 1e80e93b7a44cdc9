"""Kernels, neighbours, processes and the network: every set fits, in bounded time, and quietly."""

from __future__ import annotations

import pickle
import time
import warnings
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KNeighborsRegressor
from sklearn.svm import SVC, SVR

from engines.models.learner import FoldView, Watch
from engines.models.sklearn import gaussian, kernels, mlp, neighbors, relevance
from engines.models.sklearn.declare import kernels as declared
from engines.models.spec import Form, ModelSpec

FORMS = [
    pytest.param(spec, task, id=f"{spec.name}-{task}")
    for spec in declared.MODELS
    for task in spec.forms
]
SHAPES = ((12, 1), (80, 5), (60, 200))
MACHINES = (kernels.SupportVectorRegressor, kernels.NuSupportVectorRegressor)


def table(rows: int, columns: int, task: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Standardised columns, and a standardised target or three classes, one of them rare."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, columns))
    y = np.sin(2.0 * X[:, 0]) + 0.1 * rng.normal(size=rows)
    if task == "regression":
        return X, (y - y.mean()) / y.std()
    codes = (y > np.median(y)).astype(np.float64)
    codes[:2] = 2.0
    return X, codes


def view(X: np.ndarray, y: np.ndarray, task: str, cache: Any = None) -> FoldView:
    cut = max(2, len(X) // 4)
    return FoldView(
        index=0,
        X=X[:-cut],
        y=y[:-cut],
        X_valid=X[-cut:],
        y_valid=y[-cut:],
        categories={},
        classes=3 if task == "classification" else 0,
        cache={} if cache is None else cache,
    )


def built(form: Form, params: dict[str, Any]) -> Any:
    seed = {form.seed_argument: 3} if form.seed_argument else {}
    return form.load_class()(**form.fixed, **form.space.arguments(params), **seed)


def trained(estimator: Any, fold: FoldView, watch: Watch | None = None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)  # as whoever drives the models does
        if hasattr(estimator, "fit_watched"):
            return estimator.fit_watched(fold, watch or Watch())
        return estimator.fit(fold.X, fold.y)


def answers(estimator: Any, X: np.ndarray) -> np.ndarray:
    ask = getattr(estimator, "predict_proba", estimator.predict)
    return np.asarray(ask(X))


def samples(form: Form, rows: int, columns: int, count: int) -> list[dict[str, Any]]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=columns))
    facts = {"train_rows": rows, "columns": columns, "wide_columns": columns, "rarest_class": 2}
    space = form.space.bind(facts)
    return [space.suggest(study.ask()) for _ in range(count)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize(("spec", "task"), FORMS)
def test_every_set_of_the_space_fits_and_predicts_finite_numbers(
    spec: ModelSpec, task: str, shape: tuple[int, int]
) -> None:
    form = spec.forms[task]  # type: ignore[index]
    fold = view(*table(*shape, task), task)
    facts = {"train_rows": len(fold.y), "columns": shape[1]}
    fixed = [form.space.bind(facts).clip(p) for p in (form.defaults, *form.portfolio)]

    for params in (*fixed, *samples(form, len(fold.y), shape[1], 8)):
        model = built(form, params)
        model._validate_params()
        watch = Watch(deadline=time.monotonic() + 0.2)  # a network would take its 300 epochs
        predicted = answers(trained(model, fold, watch), fold.X_valid)
        assert np.isfinite(predicted).all(), params
        assert len(predicted) == len(fold.y_valid)


@pytest.mark.parametrize(("spec", "task"), FORMS)
def test_defaults_beat_a_constant_on_a_curve_among_noise(spec: ModelSpec, task: str) -> None:
    form = spec.forms[task]  # type: ignore[index]
    X, y = table(240, 3, task, seed=1)
    fold = view(X, y, task)

    predicted = trained(built(form, form.defaults), fold).predict(fold.X_valid)

    if task == "classification":
        assert np.mean(predicted == fold.y_valid) > 0.6
    else:
        least = 0.1 if spec.name == "linear_svr" else 0.4
        assert 1 - np.mean((predicted - fold.y_valid) ** 2) / np.var(fold.y_valid) > least


@pytest.mark.parametrize(("spec", "task"), FORMS)
def test_the_same_seed_gives_the_same_model_also_after_a_copy_and_a_pickle(
    spec: ModelSpec, task: str
) -> None:
    form = spec.forms[task]  # type: ignore[index]
    fold = view(*table(60, 4, task), task)
    model = built(form, form.defaults)
    asked = model.get_params()

    trained(model, fold)

    assert model.get_params() == asked
    first = answers(model, fold.X_valid)
    assert np.array_equal(first, answers(trained(clone(model), fold), fold.X_valid))
    assert np.array_equal(first, answers(pickle.loads(pickle.dumps(model)), fold.X_valid))


@pytest.mark.parametrize(
    "spec", [s for s in declared.MODELS if "classification" in s.forms], ids=lambda s: s.name
)
def test_rows_of_one_class_are_answered_with_that_class(spec: ModelSpec) -> None:
    form = spec.forms["classification"]
    X, _ = table(30, 3, "classification")
    fold = view(X, np.ones(30), "classification")

    model = trained(built(form, form.defaults), fold)

    assert (model.predict(fold.X_valid) == 1.0).all()
    assert list(model.classes_) == [1.0]


@pytest.mark.parametrize("spec", declared.MODELS, ids=lambda s: s.name)
def test_a_target_of_one_value_is_no_error(spec: ModelSpec) -> None:
    form = spec.forms["regression"]
    X, _ = table(30, 3, "regression")

    model = trained(built(form, form.defaults), view(X, np.zeros(30), "regression"))

    assert np.abs(model.predict(X)).max() < 0.5


@pytest.mark.parametrize("kernel", ["rbf", "linear", "poly", "sigmoid"])
def test_predictions_are_those_of_scikit_learn(kernel: str) -> None:
    X, y = table(80, 4, "regression")
    own = kernels.SupportVectorRegressor(kernel=kernel, gamma=0.5, coef0=0.2, degree=2).fit(X, y)
    theirs = SVR(kernel=kernel, gamma=0.5 / (4 * X.var()), coef0=0.2, degree=2).fit(X, y)
    probe = X[:30] * 0.9

    np.testing.assert_allclose(own.predict(probe), theirs.predict(probe), rtol=1e-6, atol=1e-8)


def test_gamma_means_the_same_however_often_the_columns_are_repeated() -> None:
    X, y = table(80, 3, "regression")

    few = kernels.SupportVectorRegressor(gamma=1.0).fit(X, y).predict(X)
    many = kernels.SupportVectorRegressor(gamma=1.0).fit(np.tile(X, 20), y).predict(np.tile(X, 20))

    np.testing.assert_allclose(few, many, rtol=1e-6)


@pytest.mark.parametrize("machine", MACHINES)
def test_steps_are_bounded_where_a_kernel_never_converges(machine: Any) -> None:
    X, y = table(280, 10, "regression")
    begun = time.process_time()

    model = machine(kernel="poly", C=2.0**15, gamma=60.0, degree=4, coef0=-1.0).fit(X, y)

    assert time.process_time() - begun < 8.0
    assert int(np.max(model.n_iter_)) <= 300 * 280
    # And far outside the known rows the answer stays within one range of the known targets.
    far = model.predict(X * 100.0)
    assert far.max() <= 2 * y.max() - y.min() + 1e-9
    assert far.min() >= 2 * y.min() - y.max() - 1e-9


@pytest.mark.parametrize("machine", MACHINES)
def test_a_deadline_cuts_the_steps_and_is_told(machine: Any) -> None:
    fold = view(*table(400, 5, "regression"), "regression")
    over, early = Watch(deadline=time.monotonic() - 1), Watch(deadline=time.monotonic() + 100)

    cut = trained(machine(C=1000.0, gamma=4.0), fold, over)
    whole = trained(machine(C=1.0), fold, early)

    assert over.cut_short
    assert int(np.max(cut.n_iter_)) == 1
    assert not early.cut_short
    assert int(np.max(whole.n_iter_)) > 1


@given(st.lists(st.integers(1, 500), min_size=2, max_size=6))
def test_the_largest_nu_is_feasible_for_every_pair_of_classes(counts: list[int]) -> None:
    nu = kernels.largest_nu(counts)

    # libsvm's own test of a pair, and next to the bound.
    pairs = [(a, b) for i, a in enumerate(counts) for b in counts[i + 1 :]]
    assert all(nu * (a + b) / 2 <= min(a, b) for a, b in pairs)
    assert any(nu * 1.00001 * (a + b) / 2 > min(a, b) for a, b in pairs)


@settings(deadline=None, max_examples=25)
@given(
    kernel=st.sampled_from(relevance.KERNELS),
    seed=st.integers(0, 1000),
    columns=st.integers(1, 4),
    targets=st.integers(1, 3),
)
def test_the_gradient_of_the_likelihood_is_its_derivative(
    kernel: str, seed: int, columns: int, targets: int
) -> None:
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(15, columns)), rng.normal(size=(15, targets))
    theta = rng.normal(size=columns + 2) * 0.5

    error = check_grad(
        lambda t: relevance.log_likelihood(t, X, Y, kernel)[0],
        lambda t: relevance.log_likelihood(t, X, Y, kernel)[1],
        theta,
    )

    assert error < 1e-4 * (1 + abs(relevance.log_likelihood(theta, X, Y, kernel)[0]))


@pytest.mark.parametrize("classes", [False, True])
def test_the_column_that_matters_is_stretched_and_noise_is_not(classes: bool) -> None:
    X, y = table(250, 6, "classification" if classes else "regression")
    cache: dict[Any, Any] = {}

    weights = relevance.column_weights(X, y, 1.0, cache, classes=classes)

    assert weights.argmax() == 0
    assert weights[0] > 3 * weights[1:].max()
    assert np.mean(weights**2) == pytest.approx(1.0)
    assert len(cache) == 1
    assert np.array_equal(weights, relevance.column_weights(X, y, 1.0, cache, classes=classes))
    assert (relevance.column_weights(X, y, 0.0, None, classes=classes) == 1.0).all()


def test_machines_and_neighbours_of_a_fold_learn_the_scales_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fold = view(*table(80, 4, "regression"), "regression")
    asked = []
    real = relevance.learn_scales
    monkeypatch.setattr(relevance, "learn_scales", lambda *a, **k: asked.append(1) or real(*a, **k))

    trained(kernels.SupportVectorRegressor(relevance=1.0), fold)
    trained(kernels.ScaledKernelRidge(relevance=0.5), fold)
    trained(neighbors.StretchedNeighborsRegressor(relevance=0.5), fold)

    assert len(asked) == 1


def test_stretched_columns_help_neighbours_among_noise() -> None:
    X, y = table(300, 8, "regression")
    fold = view(X, y, "regression")

    plain = KNeighborsRegressor(8).fit(fold.X, fold.y).predict(fold.X_valid)
    model = trained(neighbors.StretchedNeighborsRegressor(8, relevance=1.0), fold)

    def error(p: np.ndarray) -> float:
        return float(np.mean((p - fold.y_valid) ** 2))

    assert error(model.predict(fold.X_valid)) < 0.5 * error(plain)


def test_a_row_that_nobody_is_near_gets_its_nearest_row_s_answer() -> None:
    X = np.array([[0.0], [0.1], [0.2], [5.0]])
    y = np.array([1.0, 2.0, 3.0, 9.0])
    model = neighbors.ReachingNeighborsRegressor(1, quantile=0.0, weights="uniform").fit(X, y)
    voter = neighbors.ReachingNeighborsClassifier(1, quantile=0.0).fit(X, np.array([0, 0, 1, 1.0]))

    assert model.predict(np.array([[100.0], [0.1]])).tolist() == [9.0, 2.0]
    assert voter.predict_proba(np.array([[100.0]])).tolist() == [[0.0, 1.0]]


def test_the_radius_holds_as_many_rows_as_asked_for() -> None:
    X = np.linspace(0.0, 1.0, 101)[:, None]

    model = neighbors.ReachingNeighborsRegressor(10, quantile=0.5).fit(X, X[:, 0])

    assert model.radius_ == pytest.approx(0.05)  # five on either side


def test_a_process_finds_the_scale_of_each_column() -> None:
    X, y = table(200, 4, "regression")

    model = gaussian.ScaledProcessRegressor().fit(X, y)

    assert model.lengths_[0] < 0.3 * model.lengths_[1:].min()
    assert np.mean((model.predict(X) - y) ** 2) < 0.1


def test_a_network_stops_early_keeps_its_best_weights_and_reports() -> None:
    X, y = table(300, 10, "regression")
    fold = view(X, y, "regression")
    heard: list[tuple[int, float]] = []

    def listen(round_: int, predicted: np.ndarray) -> None:
        heard.append((round_, float(np.mean((predicted - fold.y_valid) ** 2))))

    model = mlp.WatchedMLPRegressor((64,), learning_rate_init=0.02, random_state=0)
    trained(model, fold, Watch(None, listen, every=1))

    best = min(heard, key=lambda told: told[1])
    assert model.rounds_ == best[0] < heard[-1][0]
    assert np.mean((model.predict(fold.X_valid) - fold.y_valid) ** 2) == pytest.approx(best[1])


def test_a_network_ends_when_time_is_over_and_when_a_pruner_says_so() -> None:
    fold = view(*table(400, 4, "regression"), "regression")
    watch = Watch(deadline=time.monotonic() - 1)

    model = trained(mlp.WatchedMLPRegressor(random_state=0), fold, watch)

    assert watch.cut_short
    assert model.rounds_ == 1

    def stop(round_: int, predicted: np.ndarray) -> None:
        raise optuna.TrialPruned

    with pytest.raises(optuna.TrialPruned):
        trained(mlp.WatchedMLPRegressor(random_state=0), fold, Watch(None, stop, every=1))


def test_a_network_of_so_many_rounds_is_the_one_that_was_watched_for_so_long() -> None:
    fold = view(*table(500, 4, "regression"), "regression")
    watched = trained(mlp.WatchedMLPRegressor((16,), random_state=0), fold)

    again = mlp.WatchedMLPRegressor((16,), random_state=0)
    again.fit_rounds(fold.X, fold.y, watched.rounds_)

    np.testing.assert_array_equal(again.predict(fold.X), watched.predict(fold.X))


def test_reported_chances_are_as_wide_as_all_classes() -> None:
    X, y = table(80, 3, "classification")
    fold = view(X, np.where(y == 1.0, 2.0, 0.0), "classification")  # nobody is of class 1
    told: list[np.ndarray] = []

    model = mlp.WatchedMLPClassifier((8,), random_state=0)
    trained(model, fold, Watch(None, lambda _, p: told.append(p), every=1))

    assert told[0].shape == (len(fold.y_valid), 3)
    assert (told[0][:, 1] == 0.0).all()
    np.testing.assert_allclose(told[0].sum(axis=1), 1.0)


def test_a_classifier_without_stretching_votes_as_scikit_learn_s() -> None:
    X, y = table(90, 3, "classification")

    own = kernels.SupportVectorClassifier(gamma=1.0).fit(X, y)

    assert np.array_equal(own.predict(X), SVC(gamma="scale").fit(X, y).predict(X))
