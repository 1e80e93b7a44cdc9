"""Every declared model: what the tree says of it, small data, an easy pattern, and its name."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest

from engines.data.scoring import METRICS
from engines.data.snapshot import Snapshot
from engines.errors import BadInput, PackageMissing
from engines.models import catalogue
from engines.models.fit import Trainer
from engines.models.spec import FAMILIES, TASKS, Form
from engines.search.space import Choice, Float, Int
from tests.unit.building import snapshot

NAMES = list(catalogue.models())
REGRESSORS = {
    "random_forest",
    "gradient_boosting",
    "extra_trees",
    "decision_tree",
    "ada_boost",
    "bagging",
    "hist_gradient_boosting",
    "ridge",
    "lasso",
    "elastic_net",
    "bayesian_ridge",
    "ard_regression",
    "huber",
    "theil_sen",
    "ransac",
    "passive_aggressive",
    "svr",
    "nu_svr",
    "linear_svr",
    "k_neighbors",
    "radius_neighbors",
    "mlp_regressor",
    "gaussian_process",
    "kernel_ridge",
    "extra_tree",
    "orthogonal_matching_pursuit",
    "lasso_lars",
    "lars",
    "sgd",
    "tweedie",
    "poisson",
    "gamma",
    "quantile",
    "pls",
    "dummy",
    "isotonic",
}
WITHOUT_CLASSES = {
    "bayesian_ridge",
    "ard_regression",
    "huber",
    "theil_sen",
    "ransac",
    "orthogonal_matching_pursuit",
    "lasso_lars",
    "lars",
    "tweedie",
    "poisson",
    "gamma",
    "quantile",
    "pls",
    "isotonic",
    "kernel_ridge",
}
TABULAR = [name for name in NAMES if "trading" not in catalogue.models()[name].forms]
CASES = [
    (name, task) for name in TABULAR for task in TASKS if task in catalogue.models()[name].forms
]
BLIND = {"dummy"}
"""Models that look at no column."""

WEAK = {"extra_tree": 0.15}
"""What is expected of a single tree with random cuts: parts of forests, not models."""

# Of windows 26 rows score: eight seeds give it from 0.77 to 0.88.
WEAK_CLASSES = {"cnn": 0.7}


def _marks(name: str, task: str) -> tuple:
    """A network of windows as a classifier is the same network with another end."""
    windows = catalogue.models()[name].forms[task].windows  # type: ignore[index]
    return (pytest.mark.slow,) if windows and task == "classification" else ()


by_case = pytest.mark.parametrize(
    ("name", "task"),
    [pytest.param(n, t, id=f"{n}-{t}", marks=_marks(n, t)) for n, t in CASES],
)
by_name = pytest.mark.parametrize("name", NAMES)


def installed(name: str, task: str) -> Form:
    spec = catalogue.models()[name]
    if spec.reason_missing is not None:
        pytest.skip(spec.reason_missing)
    return spec.forms[task]  # type: ignore[index]


def briefly(form: Form) -> Form:
    """The same with a few epochs only, where it is a network."""
    return replace(form, fixed={**form.fixed, "max_epochs": 5}) if form.resumes else form


def trainer(data: Snapshot, task: str) -> Trainer:
    """For numbers, made positive, or for whether they are above their median."""
    if task == "regression":
        shifted = replace(data, y=data.y - data.y.min() + 1.0)
        return Trainer(shifted, METRICS["r2"])
    above = (data.y > np.median(data.y)).astype(np.float64)
    classes = replace(data, y=above, task="classification", classes=("no", "yes"))
    return Trainer(classes, METRICS["accuracy"])


def bound_defaults(form: Form, data: Snapshot) -> dict:
    columns = data.X.shape[1]
    facts = {
        "train_rows": data.train_rows,
        "rarest_class": data.train_rows // 3,
        "columns": columns,
        "wide_columns": columns + 3 * len(data.categories),
        "context_rows": max(1, data.train_rows // 4),
    }
    return form.space.bind(facts).clip(form.defaults)


def test_the_tree_has_every_regressor_of_scikit_learn_and_the_three_boosters() -> None:
    families = catalogue.families()

    assert {spec.name for spec in families["sklearn"]} == REGRESSORS
    assert len(REGRESSORS) == 36
    assert {spec.name for spec in families["ensemble"]} == {"xgboost", "lightgbm", "catboost"}


def test_models_classify_where_they_have_a_counterpart() -> None:
    without = {name for name in TABULAR if "classification" not in catalogue.models()[name].forms}

    assert without == WITHOUT_CLASSES
    assert all("regression" in catalogue.models()[name].forms for name in TABULAR)


@pytest.mark.parametrize(
    ("rows", "columns", "ordered"),
    [(20, 1, False), (20, 3, False), (60, 2, True)],
    ids=["one-column", "wide", "ordered"],
)
@by_case
def test_models_train_without_a_warning_on_few_rows(
    name: str, task: str, rows: int, columns: int, ordered: bool
) -> None:
    form = briefly(installed(name, task))
    ordered = ordered or form.windows
    data = snapshot(rows, columns, categories=3 if columns > 1 else 0, ordered=ordered)
    gaps = np.random.default_rng(3).random(data.X.shape) < 0.1
    gaps[0] = False
    data.X[gaps] = np.nan
    about = trainer(data, task)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = about.fit_fold(form, bound_defaults(form, data), 3, about.folds - 1)

    assert np.isfinite(outcome.predicted).all()
    assert np.isfinite(outcome.score)


@by_case
def test_every_model_finds_an_easy_pattern_with_its_defaults_and_says_nothing(
    name: str, task: str, capfd: pytest.CaptureFixture[str]
) -> None:
    form = installed(name, task)
    data = snapshot(200, 3, categories=3, ordered=form.windows)
    about = trainer(data, task)

    # Windows are read from the longest past.
    fold = about.folds - 1 if form.windows else 0
    outcome = about.fit_fold(form, bound_defaults(form, data), 3, fold)

    if name in BLIND:
        assert outcome.score < 0.65
    elif task == "regression":
        assert outcome.score > WEAK.get(name, 0.4)
    else:
        assert outcome.score > WEAK_CLASSES.get(name, 0.8)
    assert capfd.readouterr() == ("", "")


@by_case
def test_a_fitted_model_predicts_the_same_after_pickling_and_in_another_fit(
    name: str, task: str
) -> None:
    form = briefly(installed(name, task))
    data = snapshot(40, 2)
    params = bound_defaults(form, data)

    first = trainer(data, task).fit_fold(form, params, 3, 0).model
    second = trainer(data, task).fit_fold(form, params, 3, 0).model

    expected = first.predict(data.X)
    assert np.array_equal(pickle.loads(pickle.dumps(first)).predict(data.X), expected)
    assert np.array_equal(second.predict(data.X), expected)


@by_case
def test_a_model_is_built_for_one_thread(name: str, task: str) -> None:
    form = installed(name, task)

    given = form.load_class()(**form.fixed, **form.space.arguments(form.defaults)).get_params()

    for argument in ("n_jobs", "thread_count", "nthread", "num_threads"):
        assert given.get(argument, 1) in (1, None), argument


@by_name
def test_a_declaration_says_what_the_tree_needs(name: str) -> None:
    spec = catalogue.models()[name]

    assert spec.name == name == name.lower()
    assert spec.family in FAMILIES
    assert 0 < len(spec.summary) <= 60
    assert "\n" not in spec.summary
    assert 1 <= spec.trials <= 100
    for form in spec.forms.values():
        assert 0 <= form.prior <= 1
        assert form.cost.of(1000, 10) > 0
        assert form.cost.of(100_000, 10) >= form.cost.of(1000, 10)
        assert form.most_rows is None or form.most_rows >= 500
        for parameter in form.space.parameters.values():
            assert isinstance(parameter, Choice | Float | Int)


@pytest.mark.parametrize(
    ("name", "target_min", "reason"),
    [
        ("gamma", 0.0, "the target has values down to 0; this model needs > 0"),
        ("gamma", -2.0, "the target has negative values; this model needs > 0"),
        ("gamma", 0.1, None),
        ("poisson", -0.1, "the target has negative values; this model needs >= 0"),
        ("poisson", 0.0, None),
        ("tweedie", -0.1, "the target has negative values; this model needs >= 0"),
        ("tweedie", 0.0, None),
        ("ridge", -0.1, None),
    ],
)
def test_a_model_that_the_target_rules_out_says_why(
    name: str, target_min: float, reason: str | None
) -> None:
    facts = {"target_min": target_min, "wide_columns": 5, "columns": 5, "ordered": True}

    assert catalogue.models()[name].reason_unfit("regression", facts) == reason


def test_a_network_of_windows_asks_for_rows_in_order() -> None:
    lstm = catalogue.models()["lstm"]

    assert lstm.reason_unfit("regression", {"ordered": True}) is None
    assert lstm.reason_unfit("regression", {"ordered": False}) == (
        "the rows have no time order (--time-column); this model reads windows of them"
    )


def test_a_model_without_a_classifier_says_so() -> None:
    assert catalogue.models()["lars"].reason_unfit("classification", {}) == "does no classification"


@pytest.mark.parametrize(
    ("name", "most"), [("theil_sen", 50), ("ard_regression", 500), ("quantile", 300)]
)
def test_a_model_that_is_too_slow_for_many_columns_says_why(name: str, most: int) -> None:
    spec = catalogue.models()[name]

    assert spec.reason_unfit("regression", {"wide_columns": most}) is None
    assert spec.reason_unfit("regression", {"wide_columns": 5000}) == (
        f"5,000 columns; this model takes at most {most:,}"
    )


@pytest.mark.parametrize(
    "word", ["random_forest", "RandomForest", "random-forest", "RANDOM FOREST"]
)
def test_a_model_is_found_however_it_is_typed(word: str) -> None:
    assert catalogue.find(word).name == "random_forest"


def test_an_unknown_model_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(BadInput, match="^No model `lightbgm`: did you mean lightgbm"):
        catalogue.select(["ridge", "lightbgm"])
    with pytest.raises(BadInput, match=r"^No model `qqqqqq`\.$"):
        catalogue.find("qqqqqq")


def test_selectors_name_each_model_once_in_the_order_typed() -> None:
    chosen = [spec.name for spec in catalogue.select(["svr", "sklearn", "SVR", "xgboost"])]

    assert chosen[0] == "svr"
    assert chosen[-1] == "xgboost"
    assert len(chosen) == len(set(chosen)) == 1 + len(catalogue.families()["sklearn"])


def test_a_group_leaves_out_what_is_missing_and_a_name_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HYPERION_HIDE_PACKAGES", "catboost,xgboost")

    names = {spec.name for spec in catalogue.select(["all"])}

    assert names == set(NAMES) - {"catboost", "xgboost"}
    with pytest.raises(PackageMissing, match="^catboost needs catboost: pip install"):
        catalogue.select(["ridge", "catboost"])
    monkeypatch.setenv("HYPERION_HIDE_PACKAGES", "catboost,xgboost,lightgbm")
    with pytest.raises(PackageMissing, match="^ensemble: needs xgboost: pip install"):
        catalogue.select(["ensemble"])
