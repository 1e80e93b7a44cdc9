"""Regressors of scikit-learn: spaces and known-good defaults, as data.

Ranges follow what published tuners search (auto-sklearn, hyperopt-sklearn, TabRepo), widened
where their choices are no longer valid. Linear models and kernels see a standardised target,
so `alpha`, `epsilon` and `C` mean the same on every data set.
"""

from __future__ import annotations

from typing import Any

from engines.models.spec import ModelSpec
from engines.search.space import Choice, Derived, Float, Int, Parameter, Space

_FOREST: dict[str, Parameter] = {
    "n_estimators": Int(50, 500, log=True),
    "max_features": Float(0.1, 1.0),
    "min_samples_leaf": Int(1, 80, log=True, at_most="train_rows"),
    "max_depth": Choice((None, 4, 8, 16, 32)),
}
_FOREST_DEFAULTS: dict[str, Any] = {
    "n_estimators": 100,
    "max_features": 1.0,
    "min_samples_leaf": 1,
    "max_depth": None,
}

MODELS = (
    ModelSpec(
        name="ridge",
        family="sklearn",
        build="sklearn.linear_model:Ridge",
        summary="linear, squared penalty: a fast and strong reference",
        scale=True,
        space=Space({"alpha": Float(1e-6, 1e4, log=True), "fit_intercept": Choice((True, False))}),
        defaults={"alpha": 1.0, "fit_intercept": True},
    ),
    ModelSpec(
        name="lasso",
        family="sklearn",
        build="sklearn.linear_model:Lasso",
        summary="linear, absolute penalty: switches columns off",
        scale=True,
        seed_argument="random_state",
        fixed={"max_iter": 20_000},
        space=Space(
            {
                "alpha": Float(1e-5, 10.0, log=True),
                "selection": Choice(("cyclic", "random")),
            }
        ),
        defaults={"alpha": 0.01, "selection": "cyclic"},
    ),
    ModelSpec(
        name="elastic_net",
        family="sklearn",
        build="sklearn.linear_model:ElasticNet",
        summary="linear, a mix of both penalties",
        scale=True,
        seed_argument="random_state",
        fixed={"max_iter": 20_000},
        space=Space(
            {
                "alpha": Float(1e-5, 10.0, log=True),
                "l1_ratio": Float(0.01, 1.0),
                "selection": Choice(("cyclic", "random")),
            }
        ),
        defaults={"alpha": 0.01, "l1_ratio": 0.5, "selection": "cyclic"},
    ),
    ModelSpec(
        name="random_forest",
        family="sklearn",
        build="sklearn.ensemble:RandomForestRegressor",
        summary="bagged trees: robust, hard to get wrong",
        seed_argument="random_state",
        fixed={"n_jobs": 1},
        space=Space(_FOREST),
        defaults=_FOREST_DEFAULTS,
    ),
    ModelSpec(
        name="extra_trees",
        family="sklearn",
        build="sklearn.ensemble:ExtraTreesRegressor",
        summary="trees with random cuts: faster, smoother than a forest",
        seed_argument="random_state",
        fixed={"n_jobs": 1},
        space=Space(_FOREST),
        defaults=_FOREST_DEFAULTS,
    ),
    ModelSpec(
        name="hist_gradient_boosting",
        family="sklearn",
        build="sklearn.ensemble:HistGradientBoostingRegressor",
        summary="boosted trees on binned columns",
        seed_argument="random_state",
        fixed={"early_stopping": False},
        space=Space(
            {
                "learning_rate": Float(0.01, 0.5, log=True),
                "max_iter": Int(30, 500, log=True),
                "max_leaf_nodes": Int(4, 128, log=True),
                "min_samples_leaf": Int(2, 100, log=True, at_most="train_rows"),
                "l2_regularization": Float(1e-8, 100.0, log=True),
                "max_features": Float(0.3, 1.0),
            }
        ),
        defaults={
            "learning_rate": 0.1,
            "max_iter": 100,
            "max_leaf_nodes": 31,
            "min_samples_leaf": 20,
            "l2_regularization": 1e-8,
            "max_features": 1.0,
        },
    ),
    ModelSpec(
        name="svr",
        family="sklearn",
        build="sklearn.svm:SVR",
        summary="support vectors with a kernel: strong on small data, slow on large",
        scale=True,
        # A polynomial with a large gamma never converges: without the cap one fit of 280 rows
        # took 18 s. Kernels that fit anything need far fewer steps (1,500 to 80,000 measured).
        fixed={"cache_size": 200, "max_iter": 200_000},
        space=Space(
            {
                "kernel": Choice(("rbf", "linear", "poly", "sigmoid")),
                "C": Float(2**-5, 2**7, log=True),
                "epsilon": Float(1e-3, 1.0, log=True),
                "gamma": Float(2**-15, 8.0, log=True, when={"kernel": ("rbf", "poly", "sigmoid")}),
                "degree": Int(2, 4, when={"kernel": ("poly",)}),
                "coef0": Float(-1.0, 1.0, when={"kernel": ("poly", "sigmoid")}),
            }
        ),
        defaults={"kernel": "rbf", "C": 1.0, "epsilon": 0.1, "gamma": 0.1},
    ),
    ModelSpec(
        name="k_neighbors",
        family="sklearn",
        build="sklearn.neighbors:KNeighborsRegressor",
        summary="the mean of the nearest rows",
        scale=True,
        space=Space(
            {
                "n_neighbors": Int(1, 100, log=True, at_most="train_rows"),
                "weights": Choice(("uniform", "distance")),
                "p": Choice((1, 2)),
            }
        ),
        defaults={"n_neighbors": 5, "weights": "distance", "p": 2},
    ),
    ModelSpec(
        name="mlp_regressor",
        family="sklearn",
        build="sklearn.neural_network:MLPRegressor",
        summary="scikit-learn's small neural network",
        scale=True,
        seed_argument="random_state",
        # Stops by itself on an inner tenth of the training rows, never on the scored ones.
        fixed={"early_stopping": True, "max_iter": 300, "n_iter_no_change": 15},
        space=Space(
            {
                "width": Int(8, 256, log=True),
                "depth": Int(1, 3),
                "activation": Choice(("relu", "tanh")),
                "alpha": Float(1e-7, 1.0, log=True),
                "learning_rate_init": Float(1e-4, 3e-2, log=True),
                "batch_size": Int(16, 256, log=True, at_most="train_rows"),
            },
            derived={"hidden_layer_sizes": Derived("equal_layers", ("width", "depth"))},
        ),
        defaults={
            "width": 64,
            "depth": 2,
            "activation": "relu",
            "alpha": 1e-4,
            "learning_rate_init": 3e-3,
            "batch_size": 32,
        },
    ),
)
