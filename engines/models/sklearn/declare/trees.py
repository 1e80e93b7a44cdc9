"""Trees, forests and boosted trees of scikit-learn: spaces and known-good defaults, as data.

Forests grow as many trees as it takes and boosting as many rounds as the validation rows ask for
(`engines/models/sklearn/trees.py`, `boosting.py`): neither number is searched.
"""

from __future__ import annotations

from typing import Any

from engines.models.spec import Cost, Form, ModelSpec
from engines.search.space import Choice, Float, Int, Parameter, Space

# Costs are those of the first set with as many trees or rounds as it took, on 1,000 and 4,000 rows
# and on 10 and 40 columns; powers of the rows are rounded towards what 40,000 rows took.

_TREES = "engines.models.sklearn.trees"
_BOOSTING = "engines.models.sklearn.boosting"
_ADABOOST = "engines.models.sklearn.adaboost"

_LEAF = Int(1, 80, log=True, at_most="train_rows")
"""Rows of a leaf, as TabRepo searches them. A leaf of all rows is a constant: it is valid."""

_IMPURITY = Choice(("gini", "entropy"))

# -- forests -------------------------------------------------------------------------------

# max_features: FLAML goes down to the root of the number of columns, a tenth of a hundred.
_FOREST: dict[str, Parameter] = {
    "max_features": Float(0.05, 1.0),
    "min_samples_leaf": _LEAF,
}
_RANDOM_FOREST: dict[str, Parameter] = {
    **_FOREST,
    "bootstrap": Choice((True, False)),
    "max_samples": Float(0.3, 1.0, when={"bootstrap": (True,)}),
}
_EXTRA_TREES: dict[str, Parameter] = {**_FOREST, "bootstrap": Choice((False, True))}


def _forests(sets: tuple[tuple[float, int], ...], **more: Any) -> list[dict[str, Any]]:
    return [{"max_features": part, "min_samples_leaf": leaf, **more} for part, leaf in sets]


# (max_features, min_samples_leaf) from AutoGluon's portfolio of 2023, which was learned from
# TabRepo (Salinas and Erickson 2023, arXiv 2311.02971), and scikit-learn's own defaults, which
# stand last because they cost most. A leaf of one row is best without noise, for shares it is not.
# Trees of all rows, which differ by their columns alone, are another kind of forest.
_DRAWN: dict[str, Any] = {"bootstrap": True, "max_samples": 1.0}
_RF_SETS = [
    *_forests(((0.75, 1),), **_DRAWN),
    *_forests(((0.4, 1),), bootstrap=False),
    *_forests(((0.75, 5), (0.33, 1), (1.0, 1)), **_DRAWN),
]
_RF_CLASS_SETS = _forests(((0.75, 2), (0.33, 5), (0.33, 1), (1.0, 1)), **_DRAWN)
_XT_SETS = _forests(((0.75, 1), (1.0, 4), (0.75, 2), (0.33, 1), (1.0, 1)), bootstrap=False)


def _with(sets: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    return [{**params, **more} for params in sets]


def _forest(
    build: str,
    space: dict[str, Parameter],
    sets: list[dict[str, Any]],
    cost: Cost,
    most_rows: int,
    prior: float,
) -> Form:
    return Form(
        build=f"{_TREES}:{build}",
        seed_argument="random_state",
        fixed={"n_estimators": 250, "n_jobs": 1},
        space=Space(space),
        defaults=sets[0],
        portfolio=tuple(sets[1:]),
        cost=cost,
        most_rows=most_rows,
        averages=True,
        joint=True,
        prior=prior,
    )


_FORESTS = (
    ModelSpec(
        name="random_forest",
        family="sklearn",
        summary="bagged trees: robust, hard to get wrong",
        forms={
            "regression": _forest(
                "RandomForestRegressor",
                _RANDOM_FOREST,
                _RF_SETS,
                Cost(0.31, 0.95, 0.7),
                50_000,
                0.6,
            ),
            "classification": _forest(
                "RandomForestClassifier",
                {**_RANDOM_FOREST, "criterion": _IMPURITY},
                _with(_RF_CLASS_SETS, criterion="gini"),
                Cost(0.23, 0.95, 0.7),
                50_000,
                0.6,
            ),
        },
    ),
    ModelSpec(
        name="extra_trees",
        family="sklearn",
        summary="trees with random cuts: faster, smoother than a forest",
        forms={
            "regression": _forest(
                "ExtraTreesRegressor", _EXTRA_TREES, _XT_SETS, Cost(0.28, 0.75, 0.6), 100_000, 0.7
            ),
            "classification": _forest(
                "ExtraTreesClassifier",
                {**_EXTRA_TREES, "criterion": _IMPURITY},
                _with(_XT_SETS, criterion="gini"),
                Cost(0.13, 0.8, 0.5),
                100_000,
                0.7,
            ),
        },
    ),
)

_BAGGING: dict[str, Parameter] = {
    "max_samples": Float(0.2, 1.0),
    "max_features": Float(0.2, 1.0),
    "bootstrap": Choice((True, False)),
    "min_samples_leaf": _LEAF,
}
_BAGGING_DEFAULTS: dict[str, Any] = {
    "max_samples": 1.0,
    "max_features": 0.8,
    "bootstrap": True,
    "min_samples_leaf": 2,
}


def _bagging(build: str, cost: Cost) -> Form:
    return Form(
        build=f"{_TREES}:{build}",
        seed_argument="random_state",
        fixed={"n_estimators": 250},
        space=Space(_BAGGING),
        defaults=_BAGGING_DEFAULTS,
        cost=cost,
        most_rows=50_000,
        averages=True,
        prior=0.4,
    )


_BAGGED = ModelSpec(
    name="bagging",
    family="sklearn",
    summary="full trees, each on rows and columns of its own",
    forms={
        "regression": _bagging("BaggingRegressor", Cost(0.52, 0.9, 0.6)),
        "classification": _bagging("BaggingClassifier", Cost(0.33, 0.95, 0.7)),
    },
)

# -- boosting ------------------------------------------------------------------------------

# Ranges of FLAML and auto-sklearn, put together; the number of rounds follows the rate.
_GRADIENT: dict[str, Parameter] = {
    "learning_rate": Float(0.01, 0.5, log=True),
    "max_depth": Int(1, 10),
    "min_samples_leaf": _LEAF,
    "subsample": Float(0.3, 1.0),
    "max_features": Float(0.1, 1.0),
}


def _gradient(
    rate: float, depth: int, leaf: int, subsample: float, features: float
) -> dict[str, Any]:
    return {
        "learning_rate": rate,
        "max_depth": depth,
        "min_samples_leaf": leaf,
        "subsample": subsample,
        "max_features": features,
    }


# Rows and columns drawn at random (Friedman 2002, "Stochastic gradient boosting") pay for deeper
# trees: on eight public sets the first had 0.945 of the RMSE of scikit-learn's defaults, the third
# set here, which got their rounds in the same way.
_GRADIENT_SETS = (
    _gradient(0.05, 5, 5, 0.6, 0.4),
    _gradient(0.2, 2, 1, 0.7, 0.5),
    _gradient(0.1, 3, 1, 1.0, 1.0),
    _gradient(0.05, 8, 10, 0.5, 0.3),
)

_HISTOGRAM: dict[str, Parameter] = {
    "learning_rate": Float(0.01, 0.5, log=True),
    "max_leaf_nodes": Int(3, 255, log=True),
    "min_samples_leaf": Int(1, 200, log=True, at_most="train_rows"),
    "l2_regularization": Float(1e-8, 100.0, log=True),
    "max_features": Float(0.2, 1.0),
}


def _histogram(
    rate: float, leaves: int, leaf: int, penalty: float, features: float
) -> dict[str, Any]:
    return {
        "learning_rate": rate,
        "max_leaf_nodes": leaves,
        "min_samples_leaf": leaf,
        "l2_regularization": penalty,
        "max_features": features,
    }


# scikit-learn's own defaults are the third; the last follows the tuned defaults of LightGBM in
# pytabkit (Holzmüller, Grinsztajn and Steinwart 2024, arXiv 2407.04491).
_HISTOGRAM_SETS = (
    _histogram(0.1, 15, 10, 1e-3, 0.5),
    _histogram(0.1, 6, 10, 1e-3, 0.5),
    _histogram(0.1, 31, 20, 1e-8, 1.0),
    _histogram(0.05, 31, 20, 1e-8, 0.5),
    _histogram(0.05, 100, 5, 1.0, 0.7),
)

_ADABOOST_SPACE: dict[str, Parameter] = {
    "n_estimators": Int(10, 200, log=True),
    "learning_rate": Float(0.01, 2.0, log=True),
    "max_depth": Int(1, 12),
    "min_samples_leaf": Int(1, 20, log=True, at_most="train_rows"),
}

_BOOSTED = (
    ModelSpec(
        name="gradient_boosting",
        family="sklearn",
        summary="boosted trees with exact splits: for small data",
        forms={
            "regression": Form(
                build=f"{_BOOSTING}:GradientBoostingRegressor",
                seed_argument="random_state",
                fixed={"n_estimators": 1000},
                space=Space(_GRADIENT),
                defaults=_GRADIENT_SETS[0],
                portfolio=_GRADIENT_SETS[1:],
                cost=Cost(0.76, 0.9, 0.3),
                most_rows=25_000,
                prior=0.7,
            ),
            "classification": Form(
                build=f"{_BOOSTING}:GradientBoostingClassifier",
                seed_argument="random_state",
                fixed={"n_estimators": 1000},
                space=Space(_GRADIENT),
                defaults=_GRADIENT_SETS[0],
                portfolio=_GRADIENT_SETS[1:],
                cost=Cost(0.61, 1.1, 0.4),
                most_rows=25_000,
                prior=0.7,
            ),
        },
    ),
    ModelSpec(
        name="hist_gradient_boosting",
        family="sklearn",
        summary="boosted trees on binned columns: fast on large data",
        forms={
            "regression": Form(
                build=f"{_BOOSTING}:HistGradientBoostingRegressor",
                seed_argument="random_state",
                fixed={"max_iter": 1000},
                columns="raw",
                space=Space(_HISTOGRAM),
                defaults=_HISTOGRAM_SETS[0],
                portfolio=_HISTOGRAM_SETS[1:],
                cost=Cost(0.14, 0.65, 0.4),
                most_rows=200_000,
                prior=0.8,
            ),
            "classification": Form(
                build=f"{_BOOSTING}:HistGradientBoostingClassifier",
                seed_argument="random_state",
                fixed={"max_iter": 1000},
                columns="raw",
                space=Space(_HISTOGRAM),
                defaults=_HISTOGRAM_SETS[0],
                portfolio=_HISTOGRAM_SETS[1:],
                cost=Cost(0.14, 0.65, 0.4),
                most_rows=200_000,
                prior=0.8,
            ),
        },
    ),
    ModelSpec(
        name="ada_boost",
        family="sklearn",
        summary="trees that follow the rows still wrong; noise misleads it",
        forms={
            "regression": Form(
                build=f"{_ADABOOST}:AdaBoostRegressor",
                seed_argument="random_state",
                space=Space(
                    {**_ADABOOST_SPACE, "loss": Choice(("linear", "square", "exponential"))}
                ),
                defaults={
                    "n_estimators": 50,
                    "learning_rate": 1.0,
                    "max_depth": 8,
                    "min_samples_leaf": 1,
                    "loss": "linear",
                },
                cost=Cost(0.34, 0.8, 0.7),
                most_rows=15_000,
                prior=0.2,
            ),
            "classification": Form(
                build=f"{_ADABOOST}:AdaBoostClassifier",
                seed_argument="random_state",
                space=Space(_ADABOOST_SPACE),
                defaults={
                    "n_estimators": 50,
                    "learning_rate": 1.0,
                    "max_depth": 3,
                    "min_samples_leaf": 1,
                },
                cost=Cost(0.21, 0.85, 0.8),
                most_rows=15_000,
                prior=0.2,
            ),
        },
    ),
)

# -- single trees --------------------------------------------------------------------------

# Rows arrive scaled so that `ccp_alpha`, which is in units of the target's variance, means the
# same on every data set. Depth: auto-sklearn caps it by the rows as well; leaves do that here.
_TREE: dict[str, Parameter] = {
    "max_depth": Int(1, 30),
    "min_samples_leaf": _LEAF,
    "max_features": Float(0.1, 1.0),
    "ccp_alpha": Float(1e-7, 0.1, log=True),
}
_TREE_DEFAULTS: dict[str, Any] = {
    "max_depth": 30,
    "min_samples_leaf": 5,
    "max_features": 1.0,
    "ccp_alpha": 1e-4,
}


def _single(build: str, space: dict[str, Parameter], more: dict[str, Any], cost: Cost) -> Form:
    return Form(
        build=f"sklearn.tree:{build}",
        seed_argument="random_state",
        columns="scaled",
        space=Space(space),
        defaults={**_TREE_DEFAULTS, **more},
        cost=cost,
        most_rows=200_000,
        joint=True,
        prior=0.1,
    )


_SINGLE = (
    ModelSpec(
        name="decision_tree",
        family="sklearn",
        summary="one tree: its rules can be read",
        forms={
            "regression": _single("DecisionTreeRegressor", _TREE, {}, Cost(0.006, 1.0, 0.7)),
            "classification": _single(
                "DecisionTreeClassifier",
                {**_TREE, "criterion": _IMPURITY},
                {"criterion": "gini"},
                Cost(0.006, 1.2, 0.9),
            ),
        },
    ),
    ModelSpec(
        name="extra_tree",
        family="sklearn",
        summary="one tree with random cuts: a reference",
        forms={
            "regression": _single("ExtraTreeRegressor", _TREE, {}, Cost(0.002, 0.8, 0.7)),
            "classification": _single(
                "ExtraTreeClassifier",
                {**_TREE, "criterion": _IMPURITY},
                {"criterion": "gini"},
                Cost(0.003, 0.8, 0.7),
            ),
        },
    ),
)

MODELS = (*_FORESTS, *_BOOSTED, _BAGGED, *_SINGLE)
